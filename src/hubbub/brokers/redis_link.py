"""Connections to one Redis server: a pipeline of calls, a subscriber, and what becomes of both when it goes away.

Knows nothing of rooms. No await on a connection is cancelled unless the connection is closed with it: a reply that
nobody has read would answer the next question (CVE-2023-28858).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from hubbub.errors import BrokerError

logger: Final = logging.getLogger("hubbub")
MAX_PIPELINE_CALLS: Final = 500
MAX_PIPELINE_BYTES: Final = 4 << 20
MAX_WAITING: Final = 100_000
"""Calls that wait for the server; beyond them each fails at once."""
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 0.5
"""Between attempts to connect; a server that comes back is found within it."""
CHANNELS_AT_ONCE: Final = 500
KEYS: Final = 8
IDENTITY: Final = 3 + KEYS + 2
"""Where the server's identity stands in a call of a script; `place.lua` says what the keys and arguments are."""
MOVED_AWAY: Final = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN")

Reply = Any
Connect = Callable[[], Awaitable[AbstractConnection]]


class Patience(NamedTuple):
    """How long is waited, in seconds.

    Attributes:
        connect: for a connection.
        timeout: for a reply.
        wait: for a server that has gone away.
    """

    connect: float = 2.0
    timeout: float = 3.0
    wait: float = 1.0

    @property
    def beat(self) -> float:
        """Between two signs of life."""
        return self.timeout / 3


class Script:
    """A Lua script of ours; those that are about a room's log are `placed`: they begin with `place.lua`."""

    def __init__(self, name: str, *, placed: bool = True) -> None:
        folder = files("hubbub.brokers") / "scripts"
        self.name = name
        self.placed = placed
        parts = ("place.lua", f"{name}.lua") if placed else (f"{name}.lua",)
        self.text = b"\n".join((folder / part).read_bytes() for part in parts)
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Call:
    """A command that is under way, and who waits for its reply."""

    __slots__ = ("done", "parts", "script", "size", "slot", "tries")

    def __init__(
        self,
        parts: list[bytes | int],
        done: Callable[[Reply | BrokerError], None] | None,
        script: Script | None = None,
        slot: bytes = b"",
    ) -> None:
        self.parts = parts
        self.done = done
        self.script = script
        self.slot = slot
        self.tries = 0
        self.size = sum(len(part) for part in parts if isinstance(part, bytes))

    def answer(self, reply: Reply | BrokerError) -> None:
        """Tells who waits; their mistake must not take others along."""
        if self.done is not None:
            try:
                self.done(reply)
            except Exception:
                logger.exception("a reply of Redis was not taken")


class Link:
    """One server. Calls are answered in their order; those that were under way when it went away are sent again.

    Args:
        loop: on which all of it runs.
        connect: makes a connection; it gives up by itself within a bounded time.
        title: what it is in messages.
        echo: a channel of this node alone; what is said there must be heard.
        patience: how long calls wait for a server that is gone, and when one that is silent is dead.
        heard: called with each message of a channel.
        up: called when both connections are there again and every channel is subscribed.
        gone: called when it is not back in time; calls fail from then on.
        moved: takes calls that this server is not responsible for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Connect,
        title: str,
        echo: bytes,
        patience: Patience,
        heard: Callable[[bytes, bytes], None],
        up: Callable[[Link], None],
        gone: Callable[[Link, BrokerError], None],
        moved: Callable[[Call], None] | None = None,
    ) -> None:
        self.title = title
        self.identity = b""
        self.beat: list[Call] = []
        """What is called with every echo."""
        self._loop = loop
        self._connect = connect
        self._echo = echo
        self._wait, self._timeout, self._beat = patience.wait, patience.timeout, patience.beat
        self._heard = heard
        self._up = up
        self._gone = gone
        self._moved = moved
        self._queue: deque[Call] = deque()
        self._flying: list[Call] = []
        self._work = asyncio.Event()
        self._calls: AbstractConnection | None = None
        self._bus: AbstractConnection | None = None
        self._channels: dict[bytes, list[Callable[[BrokerError | None], None]]] = {}
        self._subscribed: set[bytes] = set()
        self._unconfirmed: set[bytes] = set()
        self._to_subscribe: dict[bytes, bool] = {}
        self._sharded = False
        self._scripts: dict[str, Script] = {}
        self._unloaded = True
        self._down_since: float | None = loop.time()
        self._deaf_since: float | None = loop.time()
        self._expiry: asyncio.TimerHandle | None = None
        self._heard_at = -math.inf
        self._up_now = self._once_up = self._ending = False
        self._end = asyncio.Event()
        self._error = BrokerError(f"{title}: not connected yet")
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, scripts: Iterable[Script], sharded: bool = False) -> None:
        """Connects, and goes on trying."""
        self._sharded = sharded
        self._scripts = {script.name: script for script in scripts}
        self._expire_later()
        self._tasks = [self._loop.create_task(work()) for work in (self._run_calls, self._run_bus, self._run_beat)]

    @property
    def ready(self) -> bool:
        """Whether it is connected and has heard itself."""
        return self.connected and self._loop.time() - self._heard_at < self._timeout

    @property
    def connected(self) -> bool:
        """Whether calls and messages can go both ways."""
        return self._calls is not None and self._bus is not None

    # Calls

    def call(self, call: Call, *, bounded: bool = True) -> None:
        """Sends a command with the next pipeline; its answer comes later, or at once where there is none to expect.

        Args:
            bounded: it fails when too many wait already.
        """
        if self._ending:
            call.answer(BrokerError(f"{self.title}: the broker has stopped"))
        elif self._hopeless(self._down_since):
            call.answer(self._error)
        elif bounded and len(self._queue) >= MAX_WAITING:
            call.answer(BrokerError(f"{self.title}: {MAX_WAITING} calls wait already"))
        else:
            self._queue.append(call)
            self._work.set()

    def hand_over(self) -> list[Call]:
        """Calls that this server will not get, because others have what they are about."""
        waiting = [call for call in self._queue if call.slot and call.done is not None]
        self._queue.clear()
        return waiting

    def _hopeless(self, since: float | None) -> bool:
        return since is not None and self._loop.time() >= self._until(since)

    def _until(self, since: float) -> float:
        """When calls fail that wait since the server went away; the first connection has more time."""
        return since + (self._wait if self._once_up else max(self._wait, self._timeout))

    async def _run_calls(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._ending:
            try:
                connection = await self._connect()
            except (RedisError, OSError, TimeoutError, BrokerError) as error:
                self._lost(error)
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            self.identity = getattr(connection, "identity", b"")
            self._unloaded = True
            self._calls = connection
            self._down_since = None
            self._rise()
            try:
                await self._pipelines(connection)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
            finally:
                self._calls = None
                await _close(connection)

    async def _pause(self, seconds: float) -> None:
        """Waits, but not when it is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end.wait()

    async def _pipelines(self, connection: AbstractConnection) -> None:
        """One pipeline after the other: what came while one was under way goes out together."""
        while True:
            if self._to_subscribe and self._bus is not None:
                await self._change_channels(self._bus)
            if not self._queue:
                if self._ending:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            await self._pipeline(connection, self._take())

    def _take(self) -> list[Call]:
        size, calls = 0, self._flying
        while self._queue and len(calls) < MAX_PIPELINE_CALLS and size < MAX_PIPELINE_BYTES:
            calls.append(self._queue.popleft())
            size += calls[-1].size
        return calls

    async def _pipeline(self, connection: AbstractConnection, calls: list[Call]) -> None:
        for call in calls:
            if call.script is not None and call.script.placed:  # it may be sent again, to another server
                call.parts[IDENTITY] = self.identity
        commands: list[Sequence[bytes | int]] = [call.parts for call in calls]
        loads = [(b"SCRIPT", b"LOAD", script.text) for script in self._scripts.values()] if self._unloaded else []
        self._unloaded = False
        await connection.send_packed_command(connection.pack_commands([*loads, *commands]), check_health=False)
        for _ in loads:
            await self._reply(connection)
        again: list[Call] = []
        done = 0
        try:
            for call in calls:
                reply = await self._reply(connection)
                done += 1
                if isinstance(reply, NoScriptError):
                    again.append(call)
                elif isinstance(reply, ResponseError):
                    self._refused(call, reply)
                else:
                    call.answer(reply)
        finally:
            self._flying = [*again, *calls[done:]]
            if again:  # somebody has flushed the scripts; no call behind them was carried out out of its turn
                self._unloaded = True
                self._back()

    async def _reply(self, connection: AbstractConnection) -> Reply:
        try:
            return await connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error

    def _refused(self, call: Call, error: ResponseError) -> None:
        text = str(error)
        name = type(error).__name__
        moved = text.startswith(MOVED_AWAY) or name in ("MovedError", "AskError", "ClusterDownError", "TryAgainError")
        if moved and self._moved is not None and call.slot:
            self._moved(call)
            return
        call.answer(BrokerError(f"{self.title}: {text or name}"))
        if name == "ReadOnlyError" and self.identity:  # the master is another one now
            raise RedisError("it is a replica now")

    def _back(self) -> None:
        """Puts what is not answered in front of the queue."""
        self._queue.extendleft(reversed(self._flying))
        self._flying = []

    # Going down and coming back

    def _lost(self, error: BaseException) -> None:
        """The pipeline is gone: what waits is sent again, or fails when its time is up."""
        self._flying = [call for call in self._flying if call.done is not None]
        self._back()
        if self._ending:
            return
        self._up_now = False
        self._note(error)
        if self._down_since is None:
            self._down_since = self._loop.time()
            logger.warning("redis is not there: %s", self._error)
        self._expire_later()

    def _deaf(self, error: BaseException) -> None:
        """The bus is gone; what is said meanwhile is read once it is there again."""
        self._up_now = False
        if self._deaf_since is None:
            logger.warning("the bus of redis is gone: %s: %s", self.title, error)
            self._note(error)
            self._deaf_since = self._loop.time()
        self._expire_later()

    def _note(self, error: BaseException) -> None:
        self._error = BrokerError(f"{self.title}: {' '.join(str(error).split()) or type(error).__name__}")

    def _expire_later(self) -> None:
        ends = [self._until(since) for since in (self._down_since, self._deaf_since) if since is not None]
        if ends and self._expiry is None:
            self._expiry = self._loop.call_at(min(ends), self._expire)

    def _expire(self) -> None:
        """Fails what has waited long enough; while it stays down, all that comes fails at once."""
        self._expiry = None
        if self._hopeless(self._down_since):
            self._fail_calls(self._error)
            self._gone(self, self._error)
        if self._hopeless(self._deaf_since):
            self._fail_channels(self._error)
        since = [at for at in (self._down_since, self._deaf_since) if at is not None and not self._hopeless(at)]
        if since:
            self._expiry = self._loop.call_at(min(map(self._until, since)), self._expire)

    def _fail_calls(self, error: BrokerError) -> None:
        failed, self._queue = self._queue, deque()
        for call in failed:
            call.answer(error)

    def _fail_channels(self, error: BrokerError) -> None:
        for channel in [channel for channel, waiting in self._channels.items() if waiting]:
            self._confirm(channel, error)

    def _rise(self) -> None:
        """Says that all is there again, once both connections are and every channel is subscribed."""
        if not self.connected or self._unconfirmed or self._up_now:
            return
        self._deaf_since = None
        self._up_now = self._once_up = True
        logger.info("redis is there: %s", self.title)
        self._say()
        self._up(self)

    # The bus

    def subscribe(self, channel: bytes, done: Callable[[BrokerError | None], None]) -> None:
        """Hears a channel; calls back once it does. Those of one turn are one command."""
        waiting = self._channels.setdefault(channel, [])
        if self._ending or self._hopeless(self._deaf_since):
            done(self._error)
        elif channel in self._subscribed:
            self._to_subscribe.pop(channel, None)
            done(None)
        else:
            waiting.append(done)
            self._to_subscribe[channel] = True
            self._work.set()

    def unsubscribe(self, channel: bytes) -> None:
        """Hears it no more."""
        if self._channels.pop(channel, None) is not None:
            self._to_subscribe[channel] = False
            self._work.set()

    async def _change_channels(self, bus: AbstractConnection) -> None:
        changes, self._to_subscribe = self._to_subscribe, {}
        added = [name for name, wanted in changes.items() if wanted and name not in self._subscribed]
        gone = [name for name, wanted in changes.items() if not wanted and name in self._subscribed]
        self._unconfirmed.update(added)
        self._subscribed.difference_update(gone)
        verb = b"SSUBSCRIBE" if self._sharded else b"SUBSCRIBE"
        try:
            await self._send_channels(bus, verb, added)
            await self._send_channels(bus, verb.replace(b"SUB", b"UNSUB"), gone)
        except (RedisError, OSError, TimeoutError) as error:
            logger.debug("the bus is gone: %s", error)  # its reader notices, and subscribes to all anew

    async def _send_channels(self, bus: AbstractConnection, verb: bytes, names: list[bytes]) -> None:
        by_slot: dict[bytes, list[bytes]] = {}
        for name in names:  # of a Cluster, one command may have channels of one slot only
            by_slot.setdefault(name if self._sharded else b"", []).append(name)
        commands = [
            (verb, *group[start : start + CHANNELS_AT_ONCE])
            for group in by_slot.values()
            for start in range(0, len(group), CHANNELS_AT_ONCE)
        ]
        if commands:
            await bus.send_packed_command(bus.pack_commands(commands), check_health=False)

    async def _run_bus(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._ending:
            try:
                bus = await self._connect()
            except (RedisError, OSError, TimeoutError, BrokerError) as error:
                self._deaf(error)
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            try:
                await self._listen(bus)
            except (RedisError, OSError, TimeoutError) as error:
                self._bus = None
                if not self._ending:
                    self._deaf(error)
            finally:
                self._bus = None
                await _close(bus)

    async def _listen(self, bus: AbstractConnection) -> None:
        self._subscribed = set()
        self._unconfirmed = {self._echo, *self._channels}
        self._to_subscribe = {}
        await bus.send_packed_command(bus.pack_commands([(b"SUBSCRIBE", self._echo)]), check_health=False)
        verb = b"SSUBSCRIBE" if self._sharded else b"SUBSCRIBE"
        await self._send_channels(bus, verb, list(self._channels))
        self._bus = bus
        self._work.set()
        begun = self._loop.time()
        while True:
            self._receive(await bus.read_response(disable_decoding=True))
            silent = self._loop.time() - max(self._heard_at, begun)
            if silent > self._timeout and self._calls is not None:
                raise RedisError("it does not pass on what is said")

    def _receive(self, message: Reply) -> None:
        if not isinstance(message, list) or len(message) < 3:
            if isinstance(message, ResponseError):
                raise message
            return
        kind, channel, data = message[:3]
        if kind in (b"message", b"smessage"):
            if channel == self._echo:
                self._heard_at = self._loop.time()
                return
            try:
                self._heard(channel, data)
            except Exception:
                logger.exception("a message of the bus was not taken")
        elif kind in (b"subscribe", b"ssubscribe"):
            self._unconfirmed.discard(channel)
            if channel in self._channels:
                self._subscribed.add(channel)
                self._confirm(channel, None)
            elif channel != self._echo:
                self._subscribed.add(channel)
                self._to_subscribe[channel] = False
                self._work.set()
            self._rise()
        elif kind == b"sunsubscribe" and channel in self._subscribed and channel in self._channels:
            raise RedisError("a slot has moved away")

    def _confirm(self, channel: bytes, error: BrokerError | None) -> None:
        waiting = self._channels.get(channel)
        if waiting:
            self._channels[channel] = []
            for done in waiting:
                try:
                    done(error)
                except Exception:
                    logger.exception("who waits for a channel failed")

    # Whether it is alive

    async def _run_beat(self) -> None:
        while not self._ending:
            if self._calls is not None:
                self._say()
            await self._pause(self._beat)

    def _say(self) -> None:
        """Says something that must be heard."""
        if not any(call.parts[1] == self._echo for call in self._queue if call.parts[0] == b"PUBLISH"):
            self._queue.append(Call([b"PUBLISH", self._echo, b""], None))
            self._queue.extend(Call(call.parts, call.done, call.script, call.slot) for call in self.beat)
            self._work.set()

    # The end

    async def end(self) -> None:
        """Sends and answers what waits, as far as the server is there, and closes the connections."""
        self._ending = True
        self._work.set()
        self._end.set()
        calls, *others = self._tasks
        await asyncio.wait([calls], timeout=self._timeout)
        if self._bus is not None:
            await _close(self._bus)
        _, late = await asyncio.wait([calls, *others], timeout=self._timeout)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._expiry is not None:
            self._expiry.cancel()
        error = BrokerError(f"{self.title}: the broker has stopped")
        self._back()
        self._fail_calls(error)
        self._fail_channels(error)


async def _close(connection: AbstractConnection) -> None:
    with suppress(RedisError, OSError, TimeoutError):
        await connection.disconnect(nowait=True)
