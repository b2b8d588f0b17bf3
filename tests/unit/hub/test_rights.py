"""hub.authorization: rights decide before anything is looked up, so that a refusal tells nothing of a room."""

from typing import Any

import pytest

from hubbub.hub.commands import BUILT_IN, VERBS
from hubbub.hub.connection import Connection
from hubbub.hub.dispatch import CommandEndpoint
from hubbub.hub.identity import VERBS as VERB_NAMES
from hubbub.hub.identity import Grants, Identity
from hubbub.hub.room import Room
from tests.unit.fakes import Bench, RecordingTransport, tape
from tests.unit.hub.rooms import Say, ask, say, speaking

ALL = frozenset(VERB_NAMES)
MESSAGES: dict[str, dict[str, Any]] = {
    "join": {"username": "eve"},
    "subscribe": {},
    "publish": {"event": {"type": "said", "text": "hi"}},
    "history": {},
    "presence": {},
    "receipts": {},
    "ack": {"seq": 1},
}


class Lookups(list[str]):
    """What is looked up of rooms: in the hub, and in the broker."""

    def of(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, names in (
            (bench.hub, ("room",)),
            (bench.broker, ("open", "read", "seek", "readers", "acknowledged")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._noting(getattr(owner, name), name))
        monkeypatch.setattr(Room, "__init__", self._noting(Room.__init__, "Room"))

    def _noting(self, original: Any, name: str) -> Any:
        def noted(*arguments: Any) -> Any:
            self.append(name)
            return original(*arguments)

        return noted


def client_with(bench: Bench, **grants: frozenset[str]) -> Connection:
    """A connection with these verbs by pattern; `_` stands for `-` in it, `rest` for `*`."""
    transport = RecordingTransport()
    allowed = Grants(tuple((name.replace("_", "-").replace("rest", "*"), verbs) for name, verbs in grants.items()))
    identity = Identity(user="eve", name="eve", grants=allowed)
    connection = bench.hub.open(bench.endpoint, transport, None, None, identity)
    connection.data["tape"] = transport
    return connection


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("exists", [True, False])
def test_row_29_nothing_of_a_room_is_looked_up_for_who_has_no_right(
    kind: str, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, lookups = speaking(), Lookups()
    if exists:
        bench.join("secret", "ada")
    eve = client_with(bench, open=ALL)
    lookups.of(bench, monkeypatch)
    reply = ask(bench, eve, kind, room="secret", **MESSAGES[kind])
    assert reply == {"type": "error", "message": "Not allowed", "code": "forbidden", "id": "asked"}
    assert lookups == []


@pytest.mark.parametrize("kind", ["join", "subscribe"])
@pytest.mark.parametrize("past", [{"since": {"time": 0}}, {"history": 5}, {"since": "acked"}], ids=str)
def test_row_29_the_past_of_a_room_needs_a_right_of_its_own(
    kind: str, past: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, lookups = speaking(), Lookups()
    eve = client_with(bench, open=ALL - {"history"})
    lookups.of(bench, monkeypatch)
    assert ask(bench, eve, kind, room="open", **MESSAGES[kind], **past)["code"] == "forbidden"
    assert lookups == []


def test_what_is_seen_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would see nothing for another reason."""
    bench, lookups = speaking(), Lookups()
    eve = client_with(bench, open=ALL)
    lookups.of(bench, monkeypatch)
    assert ask(bench, eve, "subscribe", room="open", history=5)["type"] == "room_info"
    assert {"room", "Room", "open"} <= set(lookups)


def test_row_29_a_message_that_names_no_room_needs_the_right_in_the_room_that_it_goes_to() -> None:
    """A message goes to the room joined last; that the client may publish in one subscribed to later does not count."""
    bench = Bench(
        endpoint=lambda hub: CommandEndpoint(hub, "/ws", {**BUILT_IN, Say: say}, verbs={**VERBS, Say: "publish"})
    )
    (ada,) = bench.join("quiet", "ada")
    eve = client_with(bench, quiet=frozenset({"join"}), loud=ALL)
    ask(bench, eve, "join", room="quiet", username="eve")
    ask(bench, eve, "subscribe", room="loud")
    tape(ada).forget()
    assert ask(bench, eve, "say", text="hi")["code"] == "forbidden"
    assert tape(ada).events == []
