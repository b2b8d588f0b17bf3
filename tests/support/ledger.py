"""What all clients of a test know together: which event stands at each place, and what was acknowledged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Place = tuple[str, str, int]
"""Room, epoch, seq."""

LONGEST_ID = 64


@dataclass(eq=False, slots=True)
class Sent:
    """A command, and whether its messageId had been used before."""

    command: Message
    repeated: bool = False

    @property
    def message_id(self) -> str:
        """The client's own messageId; empty where it gave none that is valid."""
        given = self.command.get("messageId")
        return given if isinstance(given, str) and 0 < len(given) <= LONGEST_ID else ""


class Ledger:
    """One truth for all clients.

    Attributes:
        violations: what was against the rules, a sentence each.
        events: what stands at each place, as whoever saw it first saw it.
        heads: the highest seq that anybody knows of, by room and epoch.
        acknowledged: who was told first that what they sent stands at a place.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.events: dict[Place, Message] = {}
        self.heads: dict[str, dict[str, int]] = defaultdict(dict)
        self.acknowledged: dict[Place, tuple[str, Sent]] = {}
        self._senders: dict[str, set[str]] = defaultdict(set)
        self._seqs: dict[tuple[str, str, str], set[int]] = defaultdict(set)
        self._replies: dict[tuple[str, str, str, str], int] = {}

    def send(self, sender: str, command: Message) -> Sent:
        """Somebody sends a command; remembers who used its messageId."""
        sent = Sent(command)
        if sent.message_id:
            sent.repeated = sent.message_id in self._senders
            self._senders[sent.message_id].add(sender)
        return sent

    def saw(self, who: str, place: Place, event: Message) -> None:
        """Somebody was shown an event at a place."""
        if event.get("redelivered"):
            event = {name: value for name, value in event.items() if name != "redelivered"}
        first = self.events.setdefault(place, event)
        if first is not event:
            if first != event:
                self._violated(who, place, f"is {event}, and somebody else was shown {first}")
            return
        self._know(place)
        self._count(who, place, event.get("messageId"))
        if place in self.acknowledged:
            self._compare(place, event)

    def acknowledge(self, who: str, sender: str, place: Place, sent: Sent) -> None:
        """Somebody was told that what they published stands at a place."""
        self._know(place)
        _, first = self.acknowledged.setdefault(place, (who, sent))
        message_id = sent.message_id
        if first is not sent and (not message_id or first.message_id != message_id):
            self._violated(who, place, f"was given to two: {first.command} and {sent.command}")
        elif place in self.events:
            self._compare(place, self.events[place])
        if message_id:
            seq = self._replies.setdefault((sender, *place[:2], message_id), place[2])
            if seq != place[2]:
                self._violated(who, place, f"is told of messageId {message_id!r}, which has seq {seq}")

    def _know(self, place: Place) -> None:
        room, epoch, seq = place
        heads = self.heads[room]
        heads[epoch] = max(seq, heads.get(epoch, 0))

    def _count(self, who: str, place: Place, message_id: object) -> None:
        """An event for each sender that used the id: clients without a session may use one again."""
        if not isinstance(message_id, str):
            return
        seqs = self._seqs[(*place[:2], message_id)]
        seqs.add(place[2])
        if len(seqs) > max(1, len(self._senders.get(message_id, ()))):
            self._violated(who, place, f"messageId {message_id!r} was published more than once: {sorted(seqs)}")

    def _compare(self, place: Place, event: Message) -> None:
        """What was acknowledged is what is shown."""
        who, sent = self.acknowledged[place]
        message_id, text = sent.message_id, str(sent.command.get("text"))
        is_message = sent.command.get("type") == event.get("type") == "message"
        if (message_id and event.get("messageId") != message_id) or (is_message and event["text"] != text.strip()):
            self._violated(who, place, f"was acknowledged for {sent.command} and lost: it is {event}")

    def _violated(self, who: str, place: Place, what: str) -> None:
        room, epoch, seq = place
        self.violations.append(f"{who}, room {room!r}, seq {seq} of epoch {epoch}: {what}")
