"""The gate: who knocks, from where, and whether they may come in; for every connection and every ticket."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

import msgspec

from hubbub.auth.claims import clean_name
from hubbub.auth.credentials import read_credentials
from hubbub.auth.headers import HeaderValues, values_of
from hubbub.auth.origin import Origins
from hubbub.auth.proxies import Proxies
from hubbub.auth.tickets import Tickets
from hubbub.errors import HandshakeError
from hubbub.hub.identity import ANONYMOUS, CHALLENGE, Credentials, Grants, Identity

log = logging.getLogger("hubbub")
Scope = MutableMapping[str, Any]
LONGEST_TEXT_BYTES = 1024
LAST_SECOND = 2.0**43
"""Beyond it a time in milliseconds is no whole number any more."""
Hook = Callable[[Credentials], Awaitable[Identity | None]]


class Authenticator(Protocol):
    """One way to say who one is.

    Attributes:
        uses_cookies: browsers send its credentials by themselves, for whichever page asks.
    """

    uses_cookies: bool

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who shows these credentials; None when there is nothing in them for this way.

        Raises:
            HandshakeError: 401: they are wrong; 503: nobody can say now.
        """
        ...

    async def close(self) -> None:
        """Ends what is under way."""
        ...


class Anonymous:
    """Everybody may come in, and is nobody.

    Args:
        grants: what those may do who say nothing; None for everything.
    """

    uses_cookies = False

    def __init__(self, grants: Grants | None = None) -> None:
        self._identity = ANONYMOUS if grants is None else Identity(grants=grants)

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        return self._identity

    async def close(self) -> None:
        """Nothing is under way."""


class Application:
    """The application says who somebody is.

    Args:
        now: Unix seconds: when the credentials were made, where the application does not say.
    """

    uses_cookies = True

    def __init__(self, hook: Hook, now: Callable[[], float]) -> None:
        self._hook = hook
        self._now = now

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        try:
            identity = await self._hook(credentials)
            if identity is not None:
                identity = self._presentable(identity)
        except HandshakeError:
            raise
        except Exception:
            log.exception("the application could not say who somebody is")
            raise HandshakeError(503, "nobody can say who you are now", ((b"retry-after", b"5"),)) from None
        return identity

    def _presentable(self, identity: Identity) -> Identity:
        _check(identity)
        if not identity.user:
            return identity
        name = clean_name(identity.name) or clean_name(identity.user)
        if not name:
            raise HandshakeError(401, "the user has no name that can be shown", CHALLENGE)
        return msgspec.structs.replace(identity, name=name, issued=identity.issued or self._now())

    async def close(self) -> None:
        """The application ends its own work."""


class Visitor(NamedTuple):
    """Somebody who may come in.

    Attributes:
        address: of the client, behind trusted proxies too; empty where it is not known.
        remote: the address with its port, 0 behind a proxy; None where it is not known.
        subprotocols: what it offers to speak.
    """

    identity: Identity
    address: str
    remote: tuple[str, int] | None
    subprotocols: tuple[str, ...]


class Gate:
    """Looks at origin, address and credentials.

    Args:
        ways: asked in this order; the first that knows the client counts.
        local: nobody has chosen who may come in: it is only for clients on this machine.
        knock: counts a handshake of an address; raises HandshakeError when there are too many.
        ready: returns once what has been revoked is known.
    """

    def __init__(
        self,
        ways: Sequence[Authenticator],
        origins: Origins,
        proxies: Proxies,
        tickets: Tickets,
        *,
        local: bool,
        token_in_query: bool,
        knock: Callable[[str], None],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self.origins = origins
        self.tickets = tickets
        self._ways = ways
        self._cookies = any(way.uses_cookies for way in ways)
        self._proxies = proxies
        self._local = local
        self._token_in_query = token_in_query
        self._knock = knock
        self._ready = ready

    async def admit(self, scope: Scope, *, ticket: bool = False) -> Visitor:
        """Who asks for a connection or a ticket.

        Args:
            ticket: whether one is as good as other credentials, as it always is for a WebSocket.

        Raises:
            HandshakeError: 400, 401, 403, 429 or 503.
        """
        headers = HeaderValues(scope["headers"])
        peer = scope.get("client")
        address = self._proxies.client(peer[0] if peer else None, headers)
        self._knock(address)
        if self._local and not is_local(scope, address, headers):
            raise HandshakeError(403, "who may come in from elsewhere has not been chosen (auth)")
        credentials, subprotocols = read_credentials(
            scope, headers, remote=address, token_in_query=self._token_in_query, ticket=ticket
        )
        if credentials.token or credentials.ticket:  # a browser sends its cookies by itself: they are not meant
            credentials = without_cookies(credentials)
        cookie = self._cookies and bool(credentials.cookies) and not is_read_by_own_page(scope, headers)
        self.origins.check(headers, cookie=cookie)
        await self._ready()
        identity = await self.identify(credentials)
        remote = (address, peer[1] if peer and address == peer[0] else 0) if address else None
        return Visitor(identity, address, remote, subprotocols)

    def is_local(self, scope: Scope) -> bool:
        """Whether somebody on this machine asks, with nobody between."""
        headers = HeaderValues(scope["headers"])
        peer = scope.get("client")
        return is_local(scope, self._proxies.client(peer[0] if peer else None, headers), headers)

    async def close(self) -> None:
        """Ends what is under way."""
        for way in self._ways:
            await way.close()

    async def identify(self, credentials: Credentials) -> Identity:
        """Whose credentials these are.

        Raises:
            HandshakeError: 401: nobody's; 503: nobody can say now.
        """
        if credentials.ticket:
            return await self.tickets.take(credentials.ticket)
        for way in self._ways:
            identity = await way.authenticate(credentials)
            if identity is not None:
                return identity
        raise HandshakeError(401, "credentials are required", CHALLENGE)


def _check(identity: Identity) -> None:
    """An identity is only as good as the application that makes it, and nothing looks at its types.

    Raises:
        TypeError, ValueError: a field is not what it should be.
    """
    for text in (identity.user, identity.name, identity.token):
        if len(text.encode()) > LONGEST_TEXT_BYTES:
            raise ValueError("a user, name or token of an identity is too long")
    for moment in (identity.issued, identity.expires or 0.0):
        if not 0 <= moment < LAST_SECOND:
            raise ValueError("an identity was issued, or expires, at no time")
    if not isinstance(identity.grants, Grants | None):
        raise TypeError("an identity has other grants than Grants")


def without_cookies(credentials: Credentials) -> Credentials:
    """The same without what a browser adds."""
    headers = {name: value for name, value in credentials.headers.items() if name != "cookie"}
    return msgspec.structs.replace(credentials, cookies={}, headers=headers)


def is_local(scope: Scope, address: str, headers: HeaderValues) -> bool:
    """Whether both ends are on this machine, and nobody stands between.

    A page elsewhere may have its own name point here, and a proxy here speaks for the whole internet: so the client
    must say that it wants this machine, and no proxy that it speaks for another.

    Args:
        address: the client's.
    """
    server = scope.get("server")
    hosts = values_of(headers, b"host")
    return (
        server is not None
        and _is_loopback(str(server[0]))
        and _is_loopback(address)
        and len(hosts) == 1
        and _is_loopback(_name_of(hosts[0].decode("latin-1")))
        and _FORWARDED.isdisjoint(headers)
        and not any(name.startswith(b"x-forwarded-") for name in headers)
    )


def is_read_by_own_page(scope: Scope, headers: HeaderValues) -> bool:
    """Whether a browser says that a page of this very origin asks, and changes nothing by it.

    It sends no Origin then. No page can say so in its place: the name of the header is reserved (Fetch, section 2.2.2).
    """
    reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return reads and values_of(headers, b"sec-fetch-site") == [b"same-origin"]


_FORWARDED = frozenset((b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"))


def _name_of(host: str) -> str:
    """The name or address in a Host header; empty where it is none."""
    if host.startswith("["):
        name, bracket, _ = host[1:].partition("]")
        return name if bracket else ""
    return host.partition(":")[0].lower()


@lru_cache(maxsize=128)
def _is_loopback(name: str) -> bool:
    """Whether a name or address is this machine's."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False
