"""The client: one connection after the other, the rooms and commands of its user, and what is between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, NoReturn, Self
from unicodedata import normalize

import msgspec

from hubbub.client.backoff import LOST
from hubbub.client.credentials import Credentials, TokenSource
from hubbub.client.entry import Entry, Place
from hubbub.client.inbox import Inbox
from hubbub.client.lane import Call, Event, Outcome
from hubbub.client.link import Link, checked_kinds
from hubbub.client.machine import Machine
from hubbub.client.outcomes import Ended, Lost, Refused
from hubbub.client.room import Room
from hubbub.client.transport import Blocked, Closed, Opening, Transport
from hubbub.client.urls import socket_url
from hubbub.codes import INVALID_DATA, INVALID_MESSAGE, UNAUTHENTICATED
from hubbub.errors import ConfigError, HandshakeError, LocalError, PeerError

log: Final = logging.getLogger("hubbub.client")

QUEUE: Final = 1000
"""Commands that wait at most; a person types far fewer in the time in which anybody comes back."""
BUFFER: Final = 1024
"""Events of a room that its reader may be behind, about a reply to `join`; beyond it the server keeps them."""
LONGEST_ROOM: Final = 50
TOKEN_MARGIN_SECONDS: Final = 5.0
"""A token that ends sooner is not worth a connection."""
LOOK_SECONDS: Final = 1.0
"""So long a connection stays what it is at least, whatever better kind gets through."""
# Statuses that say of this client, or of this path, what the next try would hear as well.
_FINAL_STATUSES: Final = frozenset((400, 401, 403, 404, 405, 413, 414, 426, 431))


@dataclass(frozen=True, slots=True)
class Status:
    """What has become of the connection.

    Args:
        online: whether there is one.
        transport: which kind.
        why: how the last one ended.
        retry_seconds: when the next try is made.
    """

    online: bool
    transport: str = ""
    why: str = ""
    retry_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be chosen; `connect` says what each is."""

    session: str
    transports: Sequence[str]
    attempts: int | None
    queue: int
    buffer: int
    pipeline: int
    msgpack: bool
    deflate: bool
    tls: ssl.SSLContext | None
    headers: Sequence[tuple[str, str]]
    on_status: Callable[[Status], None] | None


class Hub:
    """A client of a server, over all its connections; `connect` makes one."""

    def __init__(self, url: str, token: TokenSource, options: Options) -> None:
        self._url = socket_url(url)
        self._options = options
        self._credentials = Credentials(token)
        self._link = Link(self._url, checked_kinds(options.transports))
        self._machine = Machine(
            self._tell, self._expiring, self._not_entered, session=options.session, most=options.queue
        )
        self._others = Inbox(options.buffer, self._resume_reading)
        self._rooms: dict[Entry, tuple[Room, Inbox]] = {}
        self._transport: Transport | None = None
        self._prefix = os.urandom(8).hex()
        self._messages = 0
        self._greeted: asyncio.Event = asyncio.Event()
        self._readable = asyncio.Event()
        self._run: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ended: Ended | None = None
        self._switching = False
        self._proven = False

    # From its beginning to its end

    async def __aenter__(self) -> Self:
        if self._run is not None:
            raise LocalError("a client is used once; connect again for another one")
        self._run = asyncio.create_task(self._live(), name="hubbub client")
        greeted = asyncio.create_task(self._greeted.wait())
        try:
            await asyncio.wait((greeted, self._run), return_when=asyncio.FIRST_COMPLETED)
            if self._run.done():
                self._run.result()
            if self._ended is not None:
                raise self._ended
        except BaseException:
            await self.close()
            raise
        finally:
            greeted.cancel()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves all rooms and the server. What was not answered is `Ended`."""
        self._finish(Ended(0, "the client was closed"), quiet=True)
        transport, self._transport = self._transport, None
        tasks = [task for task in (self._run, *self._chores) if task is not None]
        try:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if transport is not None:
                await transport.close()
        finally:
            if transport is not None:
                await transport.abort()

    @property
    def session(self) -> str:
        """The token of the session, for a later client that goes on with it; a secret. Empty before there is one."""
        return self._machine.session

    @property
    def user(self) -> Event | None:
        """Who the server takes the client for: `id`, `name`, `expires`; None where it has not said who it is."""
        return self._machine.user

    @property
    def transport(self) -> str:
        """The kind of the connection; empty while there is none."""
        return self._link.kind if self._transport is not None else ""

    # Rooms

    def join(
        self, room: str, username: str = "", *, since: Place | None = None, history: int = 0, acknowledge: bool = False
    ) -> Room:
        """Enters a room, now or as soon as there is a connection, and stays in it: `async for event in hub.join(...)`.

        Args:
            username: as what; the name in the credentials for those who have some.
            since: where to go on: a position, a time, or "acked".
            history: how many of the last events to ask for where nothing is to be recovered, at most 1,000.
            acknowledge: events are acknowledged when the next one is asked for.

        Raises:
            LocalError: the client is in the room already.
        """
        return self._enter(room, username, since, history, acknowledge)

    def subscribe(self, room: str, *, since: Place | None = None, history: int = 0, acknowledge: bool = False) -> Room:
        """Gets a room's events without being there; else as `join`."""
        return self._enter(room, None, since, history, acknowledge)

    def _enter(self, name: str, username: str | None, since: Place | None, history: int, acknowledges: bool) -> Room:
        name = normalize("NFC", name.strip())[:LONGEST_ROOM]
        if name in self._machine.entries:
            raise LocalError(f"the client is in {name!r} already")
        if self._ended is not None:
            raise self._ended
        entry = Entry(name, username, since=since, history=history, width=self._options.pipeline)
        inbox = Inbox(self._options.buffer, self._resume_reading, name)
        room = Room(self, entry, inbox, acknowledges=acknowledges)
        entry.deliver = room.deliver
        self._rooms[entry] = (room, inbox)
        self._machine.enter(entry)
        self.flush()
        return room

    async def leave(self, entry: Entry) -> None:
        """Leaves a room; `Room.leave` does the same."""
        self._close_room(entry, None)
        if self._ended is not None:
            return
        with contextlib.suppress(Refused, Lost, Ended):  # then it is left anyway
            await self._answer(partial(self._machine.leave, entry))

    def _close_room(self, entry: Entry, error: Exception | None) -> None:
        room, _ = self._rooms.pop(entry, (None, None))
        if room is not None:
            room.finish(error)
            self._resume_reading()

    def _not_entered(self, entry: Entry, error: Refused) -> None:
        self._close_room(entry, error)

    async def events(self) -> AsyncIterator[Event]:
        """What the server says that belongs to no room: warnings, errors, an application's own events for one."""
        while True:
            try:
                yield await self._others.get()
            except StopAsyncIteration:
                return

    def _tell(self, event: Event) -> None:
        if event.get("type") in ("error", "warning"):
            log.warning("the server says: %s", event.get("message"))
        self._others.put(event)

    # Commands

    async def say(self, entry: Entry, command: Event, *, repeat: bool, retry: bool) -> Event:
        """Sends a command in its turn among those of a room, and waits for the reply."""
        if len(msgspec.json.encode(command)) > self._machine.longest - 64:  # its id comes along
            raise Refused(INVALID_MESSAGE, f"A command has at most {self._machine.longest} bytes (max_message_bytes)")
        return await self._answer(
            lambda done: self._machine.say(entry, command, done, repeat=repeat, retry=retry, awaited=True)
        )

    async def ask(self, command: Event, entry: Entry | None = None, *, repeat: bool = True) -> Event:
        """Sends a command whose order does not matter, such as one for no room, and waits for the reply."""
        return await self._answer(
            lambda done: self._machine.ask(command, done, entry, repeat=repeat, awaited=True), entry
        )

    async def ping(self) -> Event:
        """Waits for a round trip; the reply, with the server's `timestamp`."""
        return await self.ask({"type": "ping"})

    async def _answer(
        self, begin: Callable[[Callable[[Outcome], None]], Call | None], entry: Entry | None = None
    ) -> Event:
        """Begins a command, and waits; who is cancelled takes back what was not sent."""
        if self._ended is not None:
            raise self._ended
        if entry is not None and entry not in self._rooms:
            raise LocalError(f"the client is not in {entry.room!r}")
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        call = begin(partial(_resolve, future))
        self.flush()
        self._resume_reading()
        try:
            return await future
        except asyncio.CancelledError:
            if call is not None:
                self._machine.withdraw(call)
            raise

    def new_message_id(self) -> str:
        """An id that no other message has."""
        self._messages += 1
        return f"{self._prefix}-{self._messages}"

    def flush(self) -> None:
        """Sends what there is to send by now."""
        if self._transport is None:
            return
        loop = asyncio.get_running_loop()
        for command in self._machine.output(loop.time()):
            self._transport.send(command)
        if self._timer is not None:
            self._timer.cancel()
        at = self._machine.wake_at()
        self._timer = loop.call_at(at, self.flush) if at < float("inf") else None

    # Connections

    async def _live(self) -> None:
        """One connection after the other, until the server or the user ends it."""
        try:
            while True:
                code, reason = await self._connection()
                delay = self._machine.lose(code, reason, self._now(), random.random())  # noqa: S311 -- spreads clients
                if self._switching:
                    self._switching = False
                    continue
                if delay is None:
                    raise Ended(code, reason)
                if self._options.attempts is not None and self._machine.attempt >= self._options.attempts:
                    raise Ended(code, f"{reason}; given up after {self._options.attempts} tries")
                self._show(Status(online=False, why=_why(code, reason), retry_seconds=delay))
                await asyncio.sleep(delay)
        except Ended as ended:
            self._finish(ended)
        except Exception as error:  # an own mistake, or one of what the user has it call
            self._finish(Ended(0, str(error) or type(error).__name__))
            raise
        finally:
            self._greeted.set()

    async def _connection(self) -> tuple[int, str]:
        """One connection from its opening to its end; the code and the reason, or what stood in the way.

        Raises:
            Ended: trying again would not help.
        """
        while True:
            try:
                await self._talk()
                self._machine.interrupt()
            except Closed as closed:
                return self._closed(closed)
            except HandshakeError as error:
                if (seconds := error.retry_seconds) is not None:
                    self._machine.put_off(self._now() + seconds)
                return self._refused(error.status, error.reason)
            except Blocked as blocked:
                return self._refused(blocked.status, str(blocked))
            except ssl.SSLCertVerificationError as error:
                raise ConfigError(f"{self._url}: {error.verify_message}; SSL_CERT_FILE names the trusted") from error
            except (OSError, PeerError) as error:
                return LOST, str(error) or type(error).__name__

    async def _talk(self) -> None:
        """Connects, and carries what comes and goes; returns where another kind of connection is to be tried at once.

        Raises:
            Closed, Blocked, HandshakeError, OSError, PeerError: it has ended.
        """
        transport, events = await self._link.open(self._opening(await self._token()))
        self._transport = transport
        self._machine.resumes = transport.resumes
        self._show(Status(online=True, transport=self._link.kind))
        better = asyncio.create_task(self._look_for_better(transport), name="hubbub client: a better connection")
        try:
            await self._converse(transport, events)
        except Blocked:
            if not self._link.blocked():
                raise
        finally:
            better.cancel()
            await asyncio.gather(better, return_exceptions=True)
            if self._transport is transport:  # else who closes the client says goodbye over it
                self._transport = None
                await transport.abort()

    async def _token(self) -> str:
        """The token to show.

        Raises:
            OSError: whoever is asked for it fails, though there was one before; it may not tomorrow.
        """
        try:
            return await self._credentials.token(self._now(), self._machine.expires_at - TOKEN_MARGIN_SECONDS)
        except Exception as error:
            if not self._proven:
                raise
            raise OSError(f"no token: {error}") from error

    def _opening(self, token: str) -> Opening:
        chosen = self._options
        session = self._machine.session
        return Opening(self._url, session, token, chosen.headers, chosen.tls, chosen.msgpack, chosen.deflate)

    def _refused(self, status: int, reason: str) -> tuple[int, str]:
        if status == 401 and self._renews():
            return LOST, reason
        if status in _FINAL_STATUSES and (status in (401, 403) or not self._proven):
            raise Ended(status, reason)
        return LOST, reason

    def _closed(self, closed: Closed) -> tuple[int, str]:
        if closed.code == UNAUTHENTICATED and not self._renews():
            raise Ended(closed.code, closed.reason)
        return closed.code, closed.reason

    def _renews(self) -> bool:
        """The token does not count; whether to ask for another: who was let in once may, again and again."""
        helps = self._credentials.refused()
        return helps or (self._credentials.renewable and self._proven)

    async def _converse(self, transport: Transport, events: list[Event]) -> NoReturn:
        proven = False
        while True:
            try:
                for event in events:
                    self._machine.receive(event, self._now())
            except (KeyError, TypeError, ValueError) as error:
                raise PeerError(INVALID_DATA, f"an event of the server is not what it should be: {error!r}") from error
            if transport.proven and not proven:
                proven = self._proven = True
                self._link.works()
                self._credentials.accepted()
            self._greeted.set()
            self.flush()
            await self._until_readable()
            events = await transport.receive()

    async def _look_for_better(self, transport: Transport) -> None:
        """Looks now and then whether a better kind of connection gets through, and changes to it."""
        while not self._link.is_best:
            await asyncio.sleep(max(LOOK_SECONDS, self._link.better_at - self._now()))
            if transport.proven and await self._link.improves(self._opening(await self._token())):
                self._switching = True
                await transport.abort()
                return

    async def _until_readable(self) -> None:
        """Waits while a reader is so far behind that what comes next is better kept by the server."""
        while not self._machine.awaits and any(inbox.full for _, inbox in self._rooms.values()):
            self._readable.clear()
            await self._readable.wait()

    def _resume_reading(self) -> None:
        self._readable.set()

    def _show(self, status: Status) -> None:
        if not status.online:
            log.info("%s; next try in %.1f s", status.why, status.retry_seconds)
        if self._options.on_status is not None:
            self._options.on_status(status)

    def _finish(self, ended: Ended, *, quiet: bool = False) -> None:
        """There will be no further connection."""
        if self._ended is not None:
            return
        self._ended = ended
        self._machine.end(ended)
        for room, _ in self._rooms.values():
            room.finish(None if quiet else ended)
        self._rooms.clear()
        self._others.finish(None)
        if self._timer is not None:
            self._timer.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # Credentials that end

    def _expiring(self) -> None:
        if self._credentials.renewable:
            chore = asyncio.create_task(self._refresh(), name="hubbub client: new credentials")
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def _refresh(self) -> None:
        """Shows new credentials; where there are none the server ends the connection, and they are asked for again."""
        try:
            answer = await self.ask({"type": "refresh", "token": await self._credentials.renewed()}, repeat=False)
        except Exception as error:
            log.warning("no new credentials: %s", error)
            return
        self._machine.renewed(answer)


def _resolve(future: asyncio.Future[Event], outcome: Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _why(code: int, reason: str) -> str:
    return reason if code == LOST and reason else f"{code} {reason}".rstrip()
