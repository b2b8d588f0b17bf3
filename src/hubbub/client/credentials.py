"""The token that a client shows: given once, or asked for whenever a new one is needed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from math import inf

from hubbub.client.urls import checked_token

TokenSource = str | Callable[[], str | Awaitable[str]]
"""A token, or what is called for a new one; empty for none."""


class Credentials:
    """The present token.

    Attributes:
        renewable: whether there may be another one.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token = checked_token(source) if isinstance(source, str) else ""
        self._fresh = False
        self.renewable = not isinstance(source, str)

    async def token(self, now: float, expires_at: float = inf) -> str:
        """The token to show; a new one where the last counts no more.

        Raises:
            ConfigError: it is none.
        """
        if self.renewable and (not self._token or now >= expires_at):
            return await self.renewed()
        return self._token

    async def renewed(self) -> str:
        """A new token."""
        assert not isinstance(self._source, str)
        given = self._source()
        self._token = checked_token(await given if inspect.isawaitable(given) else given)
        self._fresh = True
        return self._token

    def accepted(self) -> None:
        """The server has taken it."""
        self._fresh = False

    def refused(self) -> bool:
        """The server does not take it; whether another one may help."""
        helps = self.renewable and not self._fresh
        self._token = "" if self.renewable else self._token
        return helps
