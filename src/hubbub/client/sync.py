"""The client for scripts without asyncio: `with connect(url) as hub: for event in hub.join("lobby", username="ada")`.

The client runs in a thread of its own; whatever is called here waits for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from hubbub import client
from hubbub.client import Event, Place, TokenSource

Result = TypeVar("Result")


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hubbub client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Waits for something that the loop does; what interrupts the waiting ends it there as well."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(url: str, token: TokenSource = "", **options: Any) -> Hub:
    """A client to be entered with `with`; the arguments are those of `hubbub.client.connect`."""
    return Hub(client.connect(url, token, **options))


class Hub:
    """`hubbub.client.Hub`, waiting for what that awaits."""

    _loop: _Loop

    def __init__(self, hub: client.Hub) -> None:
        self._hub = hub

    def __enter__(self) -> Self:
        self._loop = _Loop()
        try:
            self._loop.run(self._hub.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        try:
            self._loop.run(self._hub.close())
        finally:
            self._loop.stop()

    @property
    def session(self) -> str:
        """As `hubbub.client.Hub.session`."""
        return self._hub.session

    @property
    def user(self) -> Event | None:
        """As `hubbub.client.Hub.user`."""
        return self._hub.user

    @property
    def transport(self) -> str:
        """As `hubbub.client.Hub.transport`."""
        return self._hub.transport

    def join(
        self, room: str, username: str = "", *, since: Place | None = None, history: int = 0, acknowledge: bool = False
    ) -> Room:
        """Enters a room, and waits until the client is in; the arguments are those of `hubbub.client.Hub.join`."""

        async def enter() -> client.Room:
            entered = self._hub.join(room, username, since=since, history=history, acknowledge=acknowledge)
            await entered.ready()
            return entered

        return Room(self._loop, self._loop.run(enter()))

    def subscribe(self, room: str, *, since: Place | None = None, history: int = 0, acknowledge: bool = False) -> Room:
        """Gets a room's events without being there; else as `join`."""

        async def enter() -> client.Room:
            entered = self._hub.subscribe(room, since=since, history=history, acknowledge=acknowledge)
            await entered.ready()
            return entered

        return Room(self._loop, self._loop.run(enter()))

    def ping(self) -> Event:
        """Waits for a round trip."""
        return self._loop.run(self._hub.ping())


class Room:
    """`hubbub.client.Room`, waiting for what that awaits.

    Iterating waits for the next event, and ends with the room.
    """

    def __init__(self, loop: _Loop, room: client.Room) -> None:
        self._loop = loop
        self._room = room

    @property
    def name(self) -> str:
        """As the server spells it."""
        return self._room.name

    @property
    def info(self) -> Event:
        """The last `room_info`."""
        return self._room.info

    @property
    def position(self) -> dict[str, Any] | None:
        """Up to where events have been read, to be given as `since` another time."""
        return self._room.position

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next()) is not None:
            yield event

    def next(self, timeout_seconds: float | None = None) -> Event | None:
        """The next event; None once there will be none.

        Raises:
            TimeoutError: none came in time.
        """

        async def take() -> Event | None:
            async with asyncio.timeout(timeout_seconds):  # there nothing is lost that comes just then
                return await anext(self._room, None)

        return self._loop.run(take())

    def send(self, text: str, **options: Any) -> Event:
        """As `hubbub.client.Room.send`."""
        return self._loop.run(self._room.send(text, **options))

    def publish(self, event: Mapping[str, Any], **options: Any) -> Event:
        """As `hubbub.client.Room.publish`."""
        return self._loop.run(self._room.publish(event, **options))

    def command(self, type: str, **fields: Any) -> Event:
        """As `hubbub.client.Room.command`."""
        return self._loop.run(self._room.command(type, **fields))

    def typing(self) -> None:
        """As `hubbub.client.Room.typing`."""
        self._loop.run(self._room.typing())

    def ack(self, seq: int | None = None) -> Event:
        """As `hubbub.client.Room.ack`."""
        return self._loop.run(self._room.ack(seq))

    def history(self, **options: int | None) -> Event:
        """As `hubbub.client.Room.history`."""
        return self._loop.run(self._room.history(**options))  # type: ignore[arg-type]

    def presence(self, **options: int) -> Event:
        """As `hubbub.client.Room.presence`."""
        return self._loop.run(self._room.presence(**options))

    def receipts(self, seq: int | None = None) -> Event:
        """As `hubbub.client.Room.receipts`."""
        return self._loop.run(self._room.receipts(seq))

    def leave(self) -> None:
        """Leaves the room."""
        self._loop.run(self._room.leave())
