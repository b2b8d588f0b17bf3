"""What has happened on a node, in numbers for whoever wants to show them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """What has happened since the start.

    Attributes:
        refused: how often each limit was met, by the name of its setting.
    """

    connections_opened: int = 0
    messages_received: int = 0
    messages_malformed: int = 0
    messages_limited: int = 0
    events_published: int = 0
    events_delivered: int = 0
    handlers_failed: int = 0
    heartbeats_missed: int = 0
    slow_readers_closed: int = 0
    writing_paused: int = 0
    events_replayed: int = 0
    events_dropped: int = 0
    gaps: int = 0
    events_redelivered: int = 0
    sessions_resumed: int = 0
    handshakes_refused: int = 0
    credentials_expired: int = 0
    credentials_revoked: int = 0
    bus_dropped: int = 0
    control_dropped: int = 0
    polls_answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, limit: str) -> None:
        """A limit was met."""
        self.refused[limit] = self.refused.get(limit, 0) + 1
