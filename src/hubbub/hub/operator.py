"""What an operator may do on all nodes, from any of them: see who is connected, put out, lock out, publish."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubbub.codes import REMOVED
from hubbub.errors import BrokerError, LocalError
from hubbub.hub.control import (
    MOST_FOUND,
    Answer,
    ConnectionPage,
    Describe,
    Disconnect,
    Disconnected,
    Find,
    FindRooms,
    NodeInfo,
    Question,
    RoomPage,
    page_of,
    rooms_of,
    sum_of,
)
from hubbub.hub.publication import Publication
from hubbub.hub.revocations import Kind

if TYPE_CHECKING:
    from hubbub.hub.hub import Hub


class Operator:
    """Asks all nodes.

    Args:
        hub: that of one of them; without one nothing can be asked.
    """

    def __init__(self, hub: Hub | None) -> None:
        self._hub = hub

    def revoke(self, *, token: str = "", user: str = "", session: str = "") -> Publication:
        """As `Hubbub.revoke`.

        Raises:
            LocalError: not exactly one of them is given.
        """
        subjects: list[tuple[Kind, str]] = [("token", token), ("user", user), ("session", session)]
        chosen = [(kind, subject) for kind, subject in subjects if subject]
        if len(chosen) != 1 or self._hub is None:
            raise LocalError("revoke one of token, user and session, of an application that is served")
        kind, subject = chosen[0]
        return self._hub.standing.revoke(kind, subject)

    async def disconnect(
        self, *, user: str = "", session: str = "", connection: str = "", code: int = REMOVED, reason: str = "removed"
    ) -> Disconnected:
        """As `Hubbub.disconnect`.

        Raises:
            LocalError: not exactly one of them is given, or the code may not be sent.
            BrokerError: the other nodes cannot be asked.
        """
        if len([given for given in (user, session, connection) if given]) != 1:
            raise LocalError("disconnect one of user, session and connection")
        return sum_of(*await self._ask(Disconnect(user, session, connection, code, reason)))

    async def connections(self, *, user: str = "", room: str = "", after: str = "", limit: int = 100) -> ConnectionPage:
        """As `Hubbub.connections`.

        Raises:
            LocalError: the limit is none.
            BrokerError: the other nodes cannot be asked.
        """
        _check(limit)
        return page_of(limit, *await self._ask(Find(user, room, after, limit)))

    async def rooms(self, *, after: str = "", limit: int = 100) -> RoomPage:
        """The rooms that somebody is in: a page in the order of the names.

        Raises:
            LocalError: the limit is none.
            BrokerError: the other nodes cannot be asked.
        """
        _check(limit)
        return rooms_of(limit, *await self._ask(FindRooms(after, limit)))

    async def nodes(self) -> tuple[list[NodeInfo], tuple[str, ...]]:
        """The nodes, and the ids of those that have not answered.

        Raises:
            BrokerError: the other nodes cannot be asked.
        """
        answers, silent = await self._ask(Describe())
        return [answer for answer in answers if isinstance(answer, NodeInfo)], silent

    async def _ask(self, question: Question) -> tuple[Sequence[Answer], tuple[str, ...]]:
        """The answers of all nodes, and those that have not answered."""
        if self._hub is None:
            raise LocalError("nobody is connected before the application is served")
        asked: asyncio.Future[tuple[Sequence[Answer], tuple[str, ...]]] = asyncio.get_running_loop().create_future()

        def done(answers: Sequence[Answer] | BrokerError, silent: tuple[str, ...]) -> None:
            if asked.done():  # nobody waits any more
                return
            if isinstance(answers, BrokerError):
                asked.set_exception(answers)
            else:
                asked.set_result((answers, silent))

        self._hub.nodes.ask(question, done)
        return await asked


def _check(limit: int) -> None:
    if not 1 <= limit <= MOST_FOUND:
        raise LocalError(f"limit {limit}: 1 to {MOST_FOUND}")
