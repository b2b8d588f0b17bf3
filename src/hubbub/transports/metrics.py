"""What has happened on a node and what it has, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Final

from hubbub.hub.hub import Hub

KIND: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "hubbub_"
HELP: Final = {
    "connections_opened": "Connections that were let in.",
    "messages_received": "Messages of clients, calls over HTTP among them.",
    "polls_answered": "Long-polls that were answered.",
    "calls": "Messages that came over HTTP.",
    "messages_malformed": "Messages that could not be read.",
    "messages_limited": "Messages that were dropped because there were too many.",
    "events_published": "Events that have gone out to rooms here.",
    "events_delivered": "Events times those who got them.",
    "handled": "Handlers and hooks that have ended.",
    "handling_seconds": "How long these took.",
    "handlers_failed": "Exceptions of the application's.",
    "handlers_unavailable": "Commands for which a log could not be read or written.",
    "requests": "Requests over HTTP whose response has begun.",
    "request_seconds": "How long that took.",
    "requests_failed": "Those that were answered with 500 or more.",
    "heartbeats_missed": "Connections that were dropped because their peer was gone.",
    "slow_readers_closed": "Connections that were closed because their peer did not read.",
    "writing_paused": "Times that a peer read too slowly and was left to be caught up.",
    "events_replayed": "Events that were read again for those who came back.",
    "events_dropped": "Events that are not kept and were not delivered to slow readers.",
    "gaps": "Times that a log went on behind a hole.",
    "events_redelivered": "Confirmed events that were sent again.",
    "sessions_resumed": "Sessions that were taken up again.",
    "handshakes_refused": "Requests that were not let in.",
    "credentials_expired": "Connections that were closed because their credentials ended.",
    "credentials_revoked": "Connections that were closed because their credentials were revoked.",
    "bus_dropped": "Messages of other nodes' brokers that were not understood.",
    "control_dropped": "Questions and answers of other nodes that were not understood.",
}


def render(hub: Hub, version: str) -> str:
    """All figures of a node."""
    return "".join(f"{line}\n" for line in (*_counters(hub), *_gauges(hub, version)))


def _counters(hub: Hub) -> Iterator[str]:
    for item in fields(hub.counters):
        if item.name != "refused":
            value = getattr(hub.counters, item.name)
            yield from _metric(f"{item.name}_total", "counter", HELP.get(item.name, ""), [("", value)])
    refused = [(f'{{limit="{limit}"}}', count) for limit, count in sorted(hub.counters.refused.items())]
    yield from _metric("limits_met_total", "counter", "How often each limit was met, by its setting.", refused)


def _gauges(hub: Hub, version: str) -> Iterator[str]:
    rooms = [room for room in hub.rooms.values() if room.members]
    members = sum(len(room.members) for room in rooms)
    stalled = sum(connection.stalled for connection in hub.connections)
    labels = f'{{node="{hub.broker.node_id}",version="{version}"}}'
    yield from _metric("node_info", "gauge", "Which node this is.", [(labels, 1)])
    yield from _metric("connections", "gauge", "Open connections.", [("", len(hub.connections))])
    yield from _metric("connections_stalled", "gauge", "Those whose peer reads too slowly.", [("", stalled)])
    yield from _metric("rooms", "gauge", "Rooms that somebody here is in or listens to.", [("", len(rooms))])
    yield from _metric("members", "gauge", "Memberships and subscriptions of connections here.", [("", members)])
    yield from _metric("broker_ready", "gauge", "Whether events can be kept.", [("", int(hub.broker.ready))])
    yield from _metric("draining", "gauge", "Whether clients are sent away.", [("", int(hub.draining.begun))])


def _metric(name: str, kind: str, help: str, samples: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {help}"
    yield f"# TYPE {PREFIX}{name} {kind}"
    for labels, value in samples:
        yield f"{PREFIX}{name}{labels} {value}"
