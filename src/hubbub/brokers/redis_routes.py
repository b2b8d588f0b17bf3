"""Which server is responsible for a key, and how one connects to it: one server, or the master that Sentinels name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hubbub.brokers.redis_link import Call, Connect, Link, Patience, Script
from hubbub.brokers.redis_url import Address, Target
from hubbub.errors import BrokerError

CONNECT_ERRORS: Final = (RedisError, OSError, TimeoutError)


def connector(target: Target, patience: Patience, ca: str = "") -> Connect:
    """Makes connections to the server, or to the master that Sentinels name now."""

    async def connect() -> AbstractConnection:
        if target.kind == "sentinel":
            return await _connect_to_master(target, patience, ca)
        address = target.addresses[0] if target.addresses else None
        return await open_connection(target, address, patience, ca)

    return connect


async def open_connection(
    target: Target, address: Address | None, patience: Patience, ca: str = "", *, login: bool = True
) -> AbstractConnection:
    """A connection that is greeted; every read and write of it ends within `patience.timeout`."""
    connection = _make(target, address, patience, ca, login)
    try:
        async with asyncio.timeout(patience.connect):
            await connection.connect()  # type: ignore[no-untyped-call]
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def _make(target: Target, address: Address | None, patience: Patience, ca: str, login: bool) -> AbstractConnection:
    options: dict[str, Any] = {
        "db": target.db if login else 0,
        "username": target.user if login and target.user else None,
        "password": target.password if login and target.password else None,
        "socket_timeout": patience.timeout,
        "socket_connect_timeout": patience.connect,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "client_name": "hubbub",
    }
    if address is None:
        return UnixDomainSocketConnection(path=target.path, **options)
    options |= {"host": address[0], "port": address[1], "socket_keepalive": True}
    if target.tls:
        return SSLConnection(ssl_ca_certs=ca or None, ssl_min_version=ssl.TLSVersion.TLSv1_2, **options)
    return Connection(**options)


async def ask(connection: AbstractConnection, *command: bytes | str | int) -> Any:
    """The reply to one command."""
    await connection.send_command(*command, check_health=False)
    return await connection.read_response(disable_decoding=True)


async def _connect_to_master(target: Target, patience: Patience, ca: str) -> AbstractConnection:
    """Asks the Sentinels in turn; a server that is no master any more is not taken for one."""
    said: list[str] = []
    for sentinel in target.addresses:
        try:
            address = await _master_of(target, sentinel, patience, ca)
            if address is None:
                said.append(f"{sentinel[0]}:{sentinel[1]} knows no {target.service!r}")
                continue
            connection = await open_connection(target, address, patience, ca)
        except CONNECT_ERRORS as error:
            said.append(reason_of(error))
            continue
        try:
            if (await ask(connection, "ROLE"))[0] != b"master":
                raise BrokerError(f"{address[0]}:{address[1]} is no master")
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        connection.identity = f"{address[0]}:{address[1]}".encode()  # type: ignore[attr-defined]
        return connection
    raise BrokerError("; ".join(said))


async def _master_of(target: Target, sentinel: Address, patience: Patience, ca: str) -> Address | None:
    connection = await open_connection(target, sentinel, patience, ca, login=False)
    try:
        found = await ask(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)
    finally:
        await connection.disconnect(nowait=True)
    return (found[0].decode(), int(found[1])) if found else None


def reason_of(error: BaseException) -> str:
    """Why, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


async def fetch_secret(connect: Connect, key: bytes, candidate: bytes) -> bytes:
    """The secret that all nodes share: that which is stored, or ours where there is none.

    Raises:
        BrokerError: Redis cannot be asked.
    """
    try:
        connection = await connect()
    except CONNECT_ERRORS as error:
        raise BrokerError(reason_of(error)) from None
    try:
        stored = await ask(connection, "GET", key)
        if stored is None:
            await ask(connection, "SET", key, candidate, "NX")
            stored = await ask(connection, "GET", key)
    except CONNECT_ERRORS as error:
        raise BrokerError(reason_of(error)) from None
    finally:
        await connection.disconnect(nowait=True)
    if not isinstance(stored, bytes) or len(stored) != len(candidate):
        raise BrokerError("what it holds is not Hubbub's: choose another redis_prefix")
    return stored


class Routes:
    """One server for all keys; `redis_cluster.py` has those for several.

    Args:
        target: where it is.
        patience: how long is waited for it.
        ca: a file with the certificates that sign the server's; the system's by default.
    """

    publish: Final = b"PUBLISH"

    def __init__(self, target: Target, patience: Patience, ca: str = "") -> None:
        self.target = target
        self.patience = patience
        self.links: list[Link] = []
        self._ca = ca

    @property
    def ready(self) -> bool:
        """Whether every server is there and passes on what is said."""
        return all(link.ready for link in self.links)

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        echo: bytes,
        scripts: Iterable[Script],
        heard: Callable[[bytes, bytes], None],
        up: Callable[[Link], None],
        gone: Callable[[Link, BrokerError], None],
        changed: Callable[[], None],
    ) -> None:
        """Connects; `heard`, `up` and `gone` as of a `Link`; `changed` is for those whose keys move."""
        connect = connector(self.target, self.patience, self._ca)
        link = Link(loop, connect, str(self.target), echo, self.patience, heard, up, gone)
        self.links.append(link)
        link.begin(scripts)

    def link_of(self, key: bytes) -> Link:
        """The server that a key is on."""
        return self.links[0]

    def beat(self, call: Call) -> None:
        """Makes a call with every sign of life."""
        self.links[0].beat.append(call)

    async def end(self) -> None:
        """Sends what waits, and disconnects."""
        await asyncio.gather(*[link.end() for link in self.links])

    async def fetch_secret(self, key: bytes, candidate: bytes) -> bytes:
        """The secret that all nodes share; it needs no link.

        Raises:
            BrokerError: Redis cannot be asked.
        """
        return await fetch_secret(connector(self.target, self.patience, self._ca), key, candidate)
