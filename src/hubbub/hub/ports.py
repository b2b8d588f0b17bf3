"""What the hub needs from the world and may rely on: the promises of a transport, a broker, a runtime."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hubbub.wire.codec import Batch, Item

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection


class Position(NamedTuple):
    """A place in a room's log.

    Attributes:
        epoch: names the log's life; positions of different epochs cannot be compared.
        seq: the last event at or before the place; 0 before the first.
    """

    epoch: str
    seq: int


class Runtime(Protocol):
    """The event loop, the clocks and the source of randomness."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def unix_ms(self) -> int:
        """The time of day, Unix milliseconds."""
        ...

    def new_id(self) -> str:
        """A random UUID (version 4) that nobody can guess."""
        ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Calls back in the loop's next turn, never from inside this call."""
        ...

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Runs a coroutine that handles its own errors; it is awaited or cancelled before the node stops."""
        ...


class Transport(Protocol):
    """Carries one connection. No call here calls back into the hub before it returns, and none raises."""

    def deliver(self, batch: Batch) -> None:
        """Writes the batch's items in order; nothing once the connection is closing."""
        ...

    def send(self, item: Item) -> None:
        """Writes one item, after all that was delivered or sent before."""
        ...

    def ping(self) -> None:
        """Asks the peer for a sign of life; the answer arrives as `Hub.pong`."""
        ...

    def pause_reading(self) -> None:
        """Takes no more bytes from the peer; messages that have arrived may still be received."""
        ...

    def resume_reading(self) -> None:
        """Ends the pause."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begins the closing handshake behind what was written; `Hub.lost` follows within a bounded time."""
        ...

    def abort(self) -> None:
        """Drops the connection at once, without a handshake; `Hub.lost` follows."""
        ...


class Endpoint(Protocol):
    """What a path speaks: it gets a connection's messages and makes sense of them."""

    @property
    def path(self) -> str:
        """The path of its connections."""
        ...

    @property
    def announced(self) -> bool:
        """Whether rooms tell of the coming and going of its connections."""
        ...

    @property
    def msgpack(self) -> bool:
        """Whether events travel as MessagePack."""
        ...

    def opened(self, connection: Connection) -> None:
        """The first call for a connection."""
        ...

    def receive(self, connection: Connection, opcode: int, payload: bytes) -> None:
        """A message, TEXT or BINARY."""
        ...

    def limited(self, connection: Connection, payload: bytes, wait_ms: int, first: bool) -> None:
        """A message that is dropped because there are too many; `first` of a series."""
        ...

    def closed(self, connection: Connection) -> None:
        """The last call for a connection."""
        ...


class Broker(Protocol):
    """Keeps the events of rooms: one log a room, a dense sequence of entries.

    Order: entries of one room get consecutive numbers in the order of `append`; rooms are independent.
    Atomicity: the entries of one call are kept together or not at all.
    Durability: each broker says what "kept" survives; memory:// survives nothing.
    """

    def subscribe(self, room: str) -> None:
        """The room has members on this node; its log stays."""
        ...

    def unsubscribe(self, room: str) -> None:
        """The room's last member on this node is gone; its log stays as long as the broker has space."""
        ...

    def position(self, room: str) -> Position:
        """The end of the room's log."""
        ...

    def append(self, room: str, entries: Sequence[bytes], kept: Callable[[int], None]) -> None:
        """Numbers and keeps the entries, then calls `kept` with the first one's seq, on the loop's thread.

        Calls of one room come back in the order of their appends, possibly before this returns.
        """
        ...

    def read(self, room: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` entries with a seq greater than `after`, in order, of those still held."""
        ...
