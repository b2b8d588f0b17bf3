"""What a client is to do and to tell, given what comes from its server, the time and chance: no I/O, no clock.

          opened                connected              room_info, ok
away ----------------> greeting ----------> entering ----------------> in its rooms
 ^                        |                    |                           |
 +------------------------+------ lost --------+---------------------------+
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Any, Final

from hubbub.client.backoff import OURS_TO_BLAME, return_delay
from hubbub.client.entry import Entry, seq_of
from hubbub.client.lane import MANY, Call, Event, Lane, Outcome
from hubbub.client.outcomes import Lost, QueueFull, Refused
from hubbub.codes import FORBIDDEN, NOT_IN_ROOM, RATE_LIMITED, TOKEN_EXPIRES

ENTERING_AT_ONCE: Final = 8
"""Fewer than the server lets through at once (`rate_burst`)."""
ACK_SECONDS: Final = 1.0
"""Between two acknowledgements of a room: each is a message that counts, and says all that those before it said."""
# What an answer says to whoever asks nothing in particular of it.
_ENVELOPE: Final = frozenset(("type", "id"))


class Machine:
    """A client's side of the protocol, over all its connections.

    Attributes:
        entries: the rooms that the user wants to be in, by name.
        session: the token that the server gave; empty before.
        user: who the server takes the client for; None where it has not said who it is.
        greeted: the present connection has begun.
        attempt: how many tries or connections have failed one after the other.
        longest: how many bytes a command may have.
        expires_at: when the credentials end.
        resumes: the present connection can enter many rooms in one go; else they are joined, all at once.

    Args:
        tell: called with each event that belongs to no room.
        expiring: called when new credentials are needed soon.
        failed: called with a room that the server does not let the client into, and why.
        most: how many commands may wait.
    """

    def __init__(
        self,
        tell: Callable[[Event], None],
        expiring: Callable[[], None],
        failed: Callable[[Entry, Refused], None],
        *,
        session: str = "",
        most: int = 1000,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.session = session
        self.user: Event | None = None
        self.greeted = False
        self.attempt = 0
        self.longest = 1 << 16
        self.expires_at = inf
        self.resumes = True
        self._tell = tell
        self._expiring = expiring
        self._failed = failed
        self._most = most
        self._calls = 0
        self._waiting = 0
        self._awaited = 0
        self._entering = Lane(ENTERING_AT_ONCE)
        self._others = Lane(MANY)
        self._flying: dict[int, Lane] = {}
        self._held_until = 0.0
        self._return_at: float | None = None

    # What the user wants

    def enter(self, entry: Entry) -> None:
        """The client is to be in a room from now on."""
        self.entries[entry.room] = entry
        if self.greeted:
            self._enter(entry)

    def leave(self, entry: Entry, done: Callable[[Outcome], None]) -> None:
        """And not any more; what was not said there is not said."""
        if self.entries.get(entry.room) is not entry:
            done({})
            return
        self._forget(entry, Refused(NOT_IN_ROOM, "Left the room"))
        if self.greeted:
            self.ask({"type": "unsubscribe" if entry.username is None else "leave", "room": entry.room}, done)
        else:
            done({})

    def say(self, entry: Entry, command: Event, done: Callable[[Outcome], None], **options: bool) -> Call:
        """A command that keeps its place among those of the room.

        Raises:
            QueueFull: too many wait.
        """
        return self._add(entry.speech, command, done, **options)

    def ask(self, command: Event, done: Callable[[Outcome], None], entry: Entry | None = None, **options: bool) -> Call:
        """A command whose order does not matter.

        Raises:
            QueueFull: too many wait.
        """
        return self._add(entry.questions if entry else self._others, command, done, **options)

    def _add(self, lane: Lane, command: Event, done: Callable[[Outcome], None], **options: bool) -> Call:
        if self._waiting >= self._most:
            raise QueueFull(f"{self._most} commands wait for the connection (queue)")
        call = Call(self._next(), command, partial(self._settled, done, options.get("awaited", False)), **options)
        self._waiting += 1
        self._awaited += call.awaited
        lane.waiting.append(call)
        return call

    def withdraw(self, call: Call) -> None:
        """Nobody waits for the reply any more; what was not sent is not."""
        call.settle(Lost("nobody waits for the reply"))
        for lane in self._lanes():
            if call in lane.waiting:
                lane.waiting.remove(call)

    def _settled(self, done: Callable[[Outcome], None], awaited: bool, outcome: Outcome) -> None:
        self._waiting -= 1
        self._awaited -= awaited
        done(outcome)

    def _next(self) -> int:
        self._calls += 1
        return self._calls

    @property
    def awaits(self) -> bool:
        """Whether somebody waits for a reply."""
        return self._awaited > 0

    @property
    def unsettled(self) -> int:
        """How many commands have no reply."""
        return self._waiting

    # What goes out

    def output(self, now: float) -> list[Event]:
        """The commands that are to be sent now."""
        if not self.greeted or now < self._held_until:
            return []
        for entry in self.entries.values():
            self._acknowledge(entry, now)
        return [call.command for lane in self._lanes(open=True) for call in self._start(lane, now)]

    def _lanes(self, *, open: bool = False) -> Iterator[Lane]:
        yield self._entering
        yield self._others
        for entry in self.entries.values():
            if not open or (entry.entered and not entry.proving):
                yield entry.speech
                yield entry.questions

    def _start(self, lane: Lane, now: float) -> Iterator[Call]:
        for call in lane.ready(now):
            self._flying[call.id] = lane
            yield call

    def _acknowledge(self, entry: Entry, now: float) -> None:
        if entry.entered and entry.taken > entry.acked and now >= entry.ack_at:
            entry.acked, entry.ack_at = entry.taken, now + ACK_SECONDS
            command = {"type": "ack", "room": entry.room, "seq": entry.taken}
            entry.questions.waiting.append(Call(self._next(), command, lambda outcome: None))

    def wake_at(self) -> float:
        """When there may be something to send though nothing has come; infinity for never."""
        if not self.greeted:
            return inf
        times = [lane.held_until for lane in self._lanes(open=True) if lane.waiting]
        times += [entry.ack_at for entry in self.entries.values() if entry.entered and entry.taken > entry.acked]
        return max(min(times, default=inf), self._held_until)

    # What comes in

    def receive(self, event: Event, now: float) -> None:
        """An event of the server."""
        match event:
            case {"type": "connected"}:
                self._connected(event, now)
            case {"type": "room_info", "room": str(room)}:
                self._room_info(room, event)
            case {"type": "ok" | "error", "id": int(id)} if id in self._flying:
                self._reply(id, event, now)
            case {"type": "reconnect", "after": int(after)}:
                self.put_off(now + after / 1000)
            case {"type": "warning", "code": code}:
                self._warned(code, event, now)
            case {"room": str(room)} if event.get("type") not in ("ok", "error"):
                self._take(room, event)
            case {"type": "ok"}:
                pass
            case _:
                self._tell(event)

    def _connected(self, event: Event, now: float) -> None:
        session = str(event.get("session", ""))
        same, self.session = bool(session) and session == self.session, session
        if "timestamp" in event:  # else the server said the session and nothing else
            self._introduced(event, now)
        for entry in self.entries.values():
            if not same and not entry.entered:
                # Ids of messages are the user's or the session's: another session's would be other messages.
                entry.proving = self.user is None and any(call.tried for call in entry.speech.waiting)
        if not self.greeted:
            self.greeted = True
            self._return(resume=same and self.resumes)

    def _introduced(self, event: Event, now: float) -> None:
        self.user = event.get("user")
        self.longest = int(event.get("maxMessageBytes", self.longest))
        expires = (self.user or {}).get("expires")
        self.expires_at = now + (expires - event["timestamp"]) / 1000 if expires else inf

    def _return(self, *, resume: bool) -> None:
        """Enters all rooms: those where the session was in one go, the others one by one."""
        known = {room: entry.place for room, entry in self.entries.items() if entry.epoch} if resume else {}
        self._entering.width = ENTERING_AT_ONCE if self.resumes else inf
        if known:
            command = {"type": "resume", "rooms": known}
            self._entering.waiting.append(Call(self._next(), command, self._resumed))
        for room, entry in self.entries.items():
            if room not in known:
                self._enter(entry)
        if not self.entries:
            self.attempt = 0

    def _resumed(self, outcome: Outcome) -> None:
        if isinstance(outcome, Lost):
            return
        for entry in self.entries.values():
            if not entry.entered and entry.epoch:
                self._enter(entry)

    def _enter(self, entry: Entry, *, plain: bool = False) -> None:
        command = entry.command(plain=plain)
        call = Call(self._next(), command, partial(self._not_entered, entry, plain), repeat=False)
        self._entering.waiting.append(call)

    def _not_entered(self, entry: Entry, plain: bool, outcome: Outcome) -> None:
        """Without the right to what was said before, a client comes back without asking for it."""
        if not isinstance(outcome, Refused) or self.entries.get(entry.room) is not entry:
            return
        if outcome.code == FORBIDDEN and entry.epoch and not plain:
            self._enter(entry, plain=True)
            return
        self._forget(entry, outcome)
        self._failed(entry, outcome)

    def _forget(self, entry: Entry, why: Exception) -> None:
        del self.entries[entry.room]
        entry.entered = False
        for lane in (entry.speech, entry.questions):
            for id in lane.flying:
                self._flying.pop(id, None)
            lane.fail(why)

    def _room_info(self, room: str, info: Event) -> None:
        """The answer to `join` or `subscribe`, whose name the server may have cut, or to a part of `resume`."""
        id = info.get("id")
        if type(id) is int and self._flying.pop(id, None) is not None:
            call = self._entering.flying.pop(id)
            asked = call.command["room"]
            call.settle(info)
            if asked != room and asked in self.entries and room not in self.entries:
                self.entries[room] = self.entries.pop(asked)
        entry = self.entries.get(room)
        if entry is None:
            self._others.waiting.append(Call(self._next(), {"type": "leave", "room": room}, lambda outcome: None))
            return
        self.attempt = 0
        if entry.proving and info.get("recovered") is False:
            self._disprove(entry)
        entry.enter(info)
        for event in info.get("messages", ()):
            self._prove(entry, event)
        self._proved(entry)

    def _take(self, room: str, event: Event) -> None:
        entry = self.entries.get(room)
        if entry is None:
            return
        entry.take(event)
        if event.get("redelivered") and entry.taken >= 0 and event.get("seq", inf) <= entry.taken:
            entry.acked = min(entry.acked, entry.taken - 1)
        if entry.proving:
            if event.get("type") == "gap":
                self._disprove(entry)
            self._prove(entry, event)
            self._proved(entry)

    def _prove(self, entry: Entry, event: Event) -> None:
        """What was sent on a connection that was lost, and is in the log, was kept."""
        if not entry.proving or seq_of(event) is None:
            return
        for call in entry.speech.waiting:
            if call.tried and call.command.get("messageId") == event.get("messageId"):
                call.settle({"messageId": event.get("messageId"), "seq": event["seq"]})

    def _proved(self, entry: Entry) -> None:
        """All that was missed has come: what is not in it was not kept."""
        if entry.entered and entry.seq >= entry.head:
            entry.proving = False

    def _disprove(self, entry: Entry) -> None:
        """Nobody knows whether what was under way was kept."""
        entry.proving = False
        for call in entry.speech.waiting:
            if call.tried:
                call.settle(Lost("the server does not know the client any more; it may have been carried out"))

    def _reply(self, id: int, event: Event, now: float) -> None:
        lane = self._flying.pop(id)
        call = lane.flying.pop(id)
        after = event.get("retryAfter")
        if event["type"] == "ok":
            call.settle({name: value for name, value in event.items() if name not in _ENVELOPE})
        elif after is not None and call.retry and not call.settled:
            lane.put_back(call)
            if event.get("code") == RATE_LIMITED:
                self._held_until = max(self._held_until, now + after / 1000)
            lane.held_until = now + after / 1000
        else:
            call.settle(Refused.of(event))

    def _warned(self, code: Any, event: Event, now: float) -> None:
        if code == TOKEN_EXPIRES:
            self._expiring()
        if code == RATE_LIMITED:
            self._held_until = max(self._held_until, now + event.get("retryAfter", 0) / 1000)
        self._tell(event)

    def renewed(self, answer: Event) -> None:
        """The server has taken new credentials, which end later; the client is out of rooms that they do not allow."""
        user = answer.get("user") or {}
        if self.user is not None and "expires" in user and "expires" in self.user:
            self.expires_at += (user["expires"] - self.user["expires"]) / 1000
        self.user = user or self.user
        for room in answer.get("missing", ()):
            if (entry := self.entries.get(room)) is not None:
                error = Refused(FORBIDDEN, "The new credentials do not allow the room")
                self._forget(entry, error)
                self._failed(entry, error)

    def put_off(self, until: float) -> None:
        """The server has said when it wants to see the client again."""
        self._return_at = until

    # The end of a connection

    def lose(self, code: int, reason: str, now: float, jitter: float) -> float | None:
        """The connection has ended, or could not be opened.

        Args:
            code, reason: of the close frame; LOST where there was none.
            jitter: random, 0 to 1.

        Returns:
            In how many seconds to try again; None for never.
        """
        told, self._return_at = self._return_at, None
        left = None if told is None else max(told - now, 0.0)
        delay = return_delay(code, reason, self.attempt, jitter, left)
        self.attempt += 1
        self.interrupt(repeat=code not in OURS_TO_BLAME)
        return delay

    def interrupt(self, *, repeat: bool = True) -> None:
        """The connection is gone, and the next one comes at once.

        Args:
            repeat: whether what was under way may be sent again.
        """
        self.greeted = False
        self._held_until = 0.0
        self._flying.clear()
        for entry in self.entries.values():
            entry.entered = entry.proving = False
            entry.speech.lose(repeat)
            entry.questions.lose(repeat)
            entry.acked = -1
        self._others.lose(repeat)
        self._entering.fail(Lost("the connection was lost"))

    def end(self, error: Exception) -> None:
        """It does not come back: nothing will be answered."""
        for lane in self._lanes():
            lane.fail(error)
        self.interrupt()
