"""What has happened on a node, in numbers for whoever wants to show them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has done since its start: two of these, a second apart, tell of that second.

    Attributes:
        node: the node's id, the `node` of its clients' `connected`; another after a restart.
        connections: open now.
        messages: received over connections, those that were no command included; calls over HTTP are requests.
        requests: over HTTP, when their response begins or they are handed to a connection.
        handled: commands, messages, hooks and requests that have ended.
        handling_seconds: how long these took: a handler until it ends, coroutines with all that they wait for; a
            request until its response begins.
        failed: of these, those that failed through no fault of the client's: an exception that is no CommandError, a
            log that cannot be used, a status of 500 or more.
    """

    node: str
    connections: int
    messages: int
    requests: int
    handled: int
    handling_seconds: float
    failed: int


@dataclass(slots=True)
class Counters:
    """What has happened since the start.

    Attributes:
        handled: handlers and hooks that have ended; `handling_seconds`, how long they took, with what they waited for.
        handlers_failed: of handlers and hooks, those with an exception that is nobody's refusal.
        handlers_unavailable: of commands, those for which the log could not be read or written.
        calls: those of the messages that came over HTTP, and are requests as well.
        requests: over HTTP, whose response has begun; `request_seconds`, how long that took; `requests_failed` those
            that were answered with 500 or more.
        refused: how often each limit was met, by the name of its setting.
    """

    connections_opened: int = 0
    messages_received: int = 0
    calls: int = 0
    messages_malformed: int = 0
    messages_limited: int = 0
    events_published: int = 0
    events_delivered: int = 0
    handled: int = 0
    handling_seconds: float = 0.0
    handlers_failed: int = 0
    handlers_unavailable: int = 0
    requests: int = 0
    request_seconds: float = 0.0
    requests_failed: int = 0
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

    def stats(self, node: str, connections: int) -> Stats:
        """What the node `node` has done, with so many open connections."""
        return Stats(
            node=node,
            connections=connections,
            messages=self.messages_received - self.calls,
            requests=self.requests,
            handled=self.handled + self.requests,
            handling_seconds=self.handling_seconds + self.request_seconds,
            failed=self.handlers_failed + self.handlers_unavailable + self.requests_failed,
        )

    def refuse(self, limit: str) -> None:
        """A limit was met."""
        self.refused[limit] = self.refused.get(limit, 0) + 1
