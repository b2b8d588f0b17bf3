"""What the hub needs from the world and may rely on: the promises of a transport, a broker, a runtime."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import msgspec

from hubbub.errors import BrokerError
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

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back once so much time has passed."""
        ...

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Runs a coroutine that handles its own errors; it is awaited or cancelled before the node stops."""
        ...


class Transport(Protocol):
    """Carries one connection. No call here raises, and none but `deliver` and `send` calls back before it returns.

    Backpressure: when more than `max_buffered_bytes` wait to be written, the transport takes no more bytes from the
    peer and calls `Hub.writing_paused`, before `deliver` or `send` returns; when most of it is written, it reads again
    and calls `Hub.writing_resumed`, never from inside a call of the hub's.
    """

    def deliver(self, batch: Batch) -> None:
        """Writes the batch's items in order; nothing once the connection is closing."""
        ...

    def send(self, item: Item) -> None:
        """Writes one item, after all that was delivered or sent before, also while writing is paused."""
        ...

    def waiting(self) -> int:
        """How many bytes wait to be written."""
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

    def resume(self, connection: Connection) -> None:
        """The connection is read again, or has ended: carries out what has waited."""
        ...

    def limited(self, connection: Connection, payload: bytes, limit: str, wait_ms: int, first: bool) -> None:
        """A message that is dropped because there are too many; `first` of a series. The limit is a setting's name."""
        ...

    def closed(self, connection: Connection) -> None:
        """The last call for a connection."""
        ...


class Once(NamedTuple):
    """What makes a repeated publish known: sent again after a lost reply, it is not published again.

    Attributes:
        sender: whose it is; ids of different senders have nothing to do with each other.
        id: the `messageId` that the sender gave.
        fingerprint: tells whether the content is the same; less than 2**63.
    """

    sender: str
    id: str
    fingerprint: int


class Draft(msgspec.Struct, eq=False):
    """An event to be kept.

    Attributes:
        payload: the event as JSON, without its room and seq.
        key: in a latest-only room, what it replaces the value of.
        once: set when it may be a repeat.
    """

    payload: bytes
    key: str = ""
    once: Once | None = None


class Entry(NamedTuple):
    """An event that a log holds.

    Attributes:
        seq: its number.
        time: when it was kept, Unix milliseconds; never less than that of the entry before.
        payload: as it was appended.
    """

    seq: int
    time: int
    payload: bytes


class Kept(msgspec.Struct, frozen=True):  # made once a room and turn, four times as fast as a tuple
    """What became of the drafts of one append.

    Attributes:
        first: the seq of the first draft that is no repeat; the others follow it one by one.
        repeats: by its index in the append, a repeat and the seq of what it repeats; CONFLICT where the content is
            another.
    """

    first: int
    repeats: Mapping[int, int]


CONFLICT: Final = 0


class Portion(NamedTuple):
    """A part of a log.

    Attributes:
        entries: in order.
        whole: nothing is missing between the place from which was read and the first entry, or the log's end; what was
            replaced by a newer value of its key is not missing.
    """

    entries: Sequence[Entry]
    whole: bool


class Retention(NamedTuple):
    """How much of a room's log is held; 0 for no bound.

    Attributes:
        count: events; the oldest go first.
        bytes: of all payloads; the newest event is held however large it is.
        seconds: since the event was kept. What is older is not read any more; it may be removed later.
        latest_only: of each key only the newest event is held, so that numbers may be missing in between;
            `count`, `bytes` and `seconds` bound the keys.
    """

    count: int  # type: ignore[assignment]
    bytes: int
    seconds: float
    latest_only: bool = False


class Present(NamedTuple):
    """A member of a room, as nodes tell each other.

    Attributes:
        id: who it is, across connections and nodes: a session, a connection or a user.
        since: when it came, Unix milliseconds.
        quiet: rooms do not tell of its coming and going.
    """

    id: str
    username: str
    since: int
    quiet: bool


T = TypeVar("T")
Answer = Callable[[T | BrokerError], None]
"""Called on the loop's thread with the result, or with why there is none; possibly before the call returns."""


class Listener(Protocol):
    """What a broker tells the hub, beside its answers, about rooms that are open here. Called on the loop's thread."""

    def arrived(self, room: str, entries: Sequence[Entry]) -> None:
        """Other nodes have kept these.

        Together with the answers of `append` they come in the order of seq, without a hole: the first one follows the
        last entry that this node was told of. In a latest-only room what was replaced by a newer value may be left out.
        """
        ...

    def moved(self, room: str, position: Position) -> None:
        """The log goes on behind `position`.

        What is between the last entry told and it is not held any more, or the log was lost and this is a new epoch.
        """
        ...

    def told(self, room: str, payloads: Sequence[bytes]) -> None:
        """Other nodes have passed on something that is not kept (`Broker.tell`)."""
        ...

    def came(self, room: str, node: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        """On another node these have entered, and these ids have left; or that node has died, and they with it."""
        ...

    def dropped(self) -> None:
        """Something was said that is no message of this version, and nothing was made of it."""
        ...

    def everybody(self, room: str, others: Mapping[str, Sequence[Present]]) -> None:
        """Who is on the other nodes, by the node: before a room's `open` is answered, and whenever some of it was
        missed."""
        ...


class Broker(Protocol):
    """Keeps the events of rooms: one log a room, a dense sequence of entries.

    Order: entries of one room get consecutive numbers from 1 in the order of `append`; rooms are independent.
    Atomicity: the new drafts of one call are kept together or not at all.
    Durability: each broker says what "kept" survives; memory:// survives nothing, sqlite:// the end of the process,
    redis:// what that Redis is set up to survive.
    Position: a seq together with the log's epoch. While the epoch is the same, a seq that was given to a client names
    the same event for ever; a log that cannot promise that begins a new epoch.
    Threads: every method is called, and every answer given, on the event loop's thread.
    """

    secret: bytes
    """32 random bytes that live as long as the logs; whoever knows them can make session tokens."""
    node_id: str
    """Names this node's life among all that share the logs: 12 hexadecimal digits, others after a restart."""

    @property
    def shared(self) -> bool:
        """Whether other nodes have the same logs."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can keep events now."""
        ...

    def listen(self, listener: Listener) -> None:
        """Who is told what other nodes do; called once, before any room is opened."""
        ...

    def open(self, room: str, opened: Answer[Position]) -> None:
        """The room comes into use on this node; answers with the end of its log. Every other call is for an open room.

        Opening an open room is allowed and answers again; it is closed once.
        """
        ...

    def close(self, room: str) -> None:
        """The room is not in use any more; its log stays as retention and the broker's space allow."""
        ...

    def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
        """Numbers and keeps the drafts, then answers; `time` is now, in Unix milliseconds.

        Deduplicates: a draft whose sender and id were appended to this room in the last five minutes or longer is a
        repeat, also within one call and while the first is not answered yet.
        Answers of one room come in the order of their appends. When one fails, nothing of it is kept, and what was
        appended behind it fails as well, if it was numbered already.
        """
        ...

    def come(self, room: str, entered: Sequence[Present], left: Sequence[str]) -> None:
        """Has the other nodes know who has entered an open room here, and who has left it, in this order of calls.

        It is known for as long as this node lives, whatever becomes of others; who leaves behind a crash is told by one
        of those that live. It never raises.
        """
        ...

    def tell(self, room: str, payloads: Sequence[bytes]) -> None:
        """Passes what is not kept to the other nodes where the room is open.

        In order with the appends as far as may be. They may be lost, and it never raises.
        """
        ...

    def nodes(self, done: Answer[Sequence[str]]) -> None:
        """Answers with the `node_id` of each node that lives, this one among them.

        Who died without a word is among them for some seconds.
        """
        ...

    def read(self, room: str, after: int, limit: int, max_bytes: int, done: Answer[Portion]) -> None:
        """Answers with the entries behind `after`: at most `limit`, and no more than `max_bytes` but at least one.

        Only entries are read whose append was answered. `after` may be any integer: one beyond the end finds nothing,
        and is not whole.
        """
        ...

    def refresh(self, room: str, done: Answer[None]) -> None:
        """Answers once this node has been told of all that other nodes had kept before the call."""
        ...

    def seek(self, room: str, time: int, done: Answer[int]) -> None:
        """Answers with the seq of the last held entry before a time (Unix milliseconds), 0 when there is none."""
        ...

    def acknowledge(self, room: str, reader: str, name: str, seq: int, done: Answer[int]) -> None:
        """Stores that a reader has received all up to `seq`, never less than before; answers with what is stored.

        It is stored at least as durably as an event, and as long as the log is, but not for ever: of a room the newest
        10,000 readers are kept, and none need be that moved before the oldest event that is held (`Retention.seconds`).
        A negative seq changes nothing.

        Args:
            reader: who it is, across connections.
            name: under which others know the reader; an empty one leaves the name that is stored.
        """
        ...

    def acknowledged(self, room: str, reader: str, done: Answer[int | None]) -> None:
        """Answers with the seq that a reader has acknowledged, or None when it never did."""
        ...

    def readers(self, room: str, limit: int, done: Answer[Sequence[tuple[str, str, int]]]) -> None:
        """Answers with reader, name and acknowledged seq of those who acknowledged last, the last one first."""
        ...

    def note(self, key: str, value: bytes, seconds: float) -> None:
        """Has every node find a value for so long. It may be lost, and it never raises."""
        ...

    def noted(self, key: str, done: Answer[bytes]) -> None:
        """Answers with what was noted last, empty where there is nothing."""
        ...

    def take(self, key: str, done: Answer[bytes]) -> None:
        """As `noted`, and notes nothing in its place: of all nodes that ask, one gets the value."""
        ...

    async def stop(self) -> None:
        """Keeps and answers what was appended, and lets go of what the broker holds open. Nothing is called after."""
        ...
