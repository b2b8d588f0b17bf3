"""hub.revocations: what counts no more counts no more at once, and after a restart as well."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hubbub.app import Hubbub
from hubbub.config import Auth, Config, Server
from hubbub.errors import BrokerError, HandshakeError
from hubbub.hub import revocations
from hubbub.hub.connection import Connection
from hubbub.hub.hub import Hub
from hubbub.hub.identity import Identity
from hubbub.hub.ports import Answer, Draft, Kept
from hubbub.hub.revocations import ROOM, Kind
from hubbub.node import Node
from tests.unit.fakes import Bench, LateBroker
from tests.unit.hub.people import NOW, closes, enter, known, unlimited, within
from tests.unit.hub.rooms import BrokenReads, LateReads, ask, client, joined, speaking, token, types

REVOKED = (4401, "the credentials have been revoked")


@pytest.fixture
def bench() -> Bench:
    return speaking(unlimited())


def refused(hub: Hub, identity: Identity) -> bool:
    """Whether the hub lets nobody in with these."""
    try:
        hub.admit("", identity)
    except HandshakeError as error:
        return (error.status, error.reason) == (401, "the credentials have been revoked")
    return False


def session_id(connection: Connection) -> str:
    assert connection.session is not None
    return connection.session.id


def loaded(bench: Bench) -> list[BrokerError | None]:
    answers: list[BrokerError | None] = []
    bench.hub.standing.revocations.load(answers.append)
    return answers


def reborn(bench: Bench) -> Bench:
    """Another life of the node, with the same broker, that has read its log."""
    bench.runtime.settle()
    bench.hub = Hub(bench.runtime, bench.broker, bench.hub.config, bench.policies)
    assert loaded(bench) == [None]
    return bench


# By token, user and session


def test_a_token_ends_where_it_is_used_and_lets_nobody_in_again(bench: Bench) -> None:
    mine, other = enter(bench, known(token="a")), enter(bench, known(token="b"))
    bench.hub.standing.revoke("token", "a")
    assert (closes(mine), other.open, bench.hub.counters.credentials_revoked) == ([REVOKED], True, 1)
    assert (refused(bench.hub, known(token="a")), refused(bench.hub, known(token="b"))) == (True, False)


def test_a_user_ends_on_all_devices(bench: Bench) -> None:
    devices = [enter(bench, known("ada", token=name)) for name in ("a", "b", "")]
    bob = enter(bench, known("bob"))
    bench.hub.standing.revoke("user", "ada")
    assert [closes(device) for device in devices] == [[REVOKED]] * 3
    assert bob.open


@pytest.mark.parametrize(("issued", "ends"), [(0.0, True), (NOW - 1, True), (NOW + 30, True), (NOW + 31, False)])
def test_what_a_user_was_given_before_ends_and_what_came_later_counts(bench: Bench, issued: float, ends: bool) -> None:
    bench.hub.standing.revoke("user", "ada")
    assert refused(bench.hub, known("ada", issued=issued)) is ends


def test_a_second_time_ends_what_was_given_in_between(bench: Bench) -> None:
    bench.hub.standing.revoke("user", "ada")
    bench.tick(10)
    bench.hub.standing.revoke("user", "ada")
    assert refused(bench.hub, known("ada", issued=NOW + 5))


def test_the_others_see_who_is_revoked_leave(bench: Bench) -> None:
    within(bench, known("ada"), "")
    (bob,) = joined(bench, "bob")
    bench.hub.standing.revoke("user", "ada")
    bench.runtime.settle()
    assert types(bob) == ["user_left"]


def test_a_session_ends_and_its_token_is_answered_with_another(bench: Bench) -> None:
    ada, other = client(bench, ""), client(bench, "")
    bench.hub.standing.revoke("session", session_id(ada))
    assert (closes(ada), other.open) == ([REVOKED], True)
    assert token(client(bench, token(ada))) != token(ada)
    bench.hub.lost(other)
    assert token(client(bench, token(other))) == token(other)


def test_a_session_that_is_waited_for_is_over_at_once(bench: Bench) -> None:
    (ada,), (bob,) = joined(bench, "ada", session=""), joined(bench, "bob")
    bench.hub.lost(ada)
    bench.hub.standing.revoke("session", session_id(ada))
    bench.runtime.settle()
    assert (types(bob), bench.hub.room("lobby").count) == (["user_left"], 1)


def test_an_anonymous_one_has_neither_token_nor_user(bench: Bench) -> None:
    nobody = client(bench)
    for kind in ("token", "user", "session"):
        bench.hub.standing.revoke(kind, "")
    assert nobody.open


def test_kinds_are_apart(bench: Bench) -> None:
    bench.hub.standing.revoke("token", "ada")
    bench.hub.standing.revoke("session", "ada")
    assert not refused(bench.hub, known("ada"))


def test_resuming_a_session_that_is_over_makes_a_new_one(bench: Bench) -> None:
    ada = client(bench, "")
    bench.hub.standing.revoke("session", session_id(ada))
    answer = ask(bench, back := client(bench), "resume", rooms={}, session=token(ada))
    assert (answer["session"], answer["session"] != token(ada)) == (token(back), True)


# In the log


KINDS: list[tuple[Kind, Identity]] = [("token", known("ada", token="x")), ("user", known("x"))]


@pytest.mark.parametrize(("kind", "identity"), KINDS)
def test_it_counts_after_a_restart(bench: Bench, kind: Kind, identity: Identity) -> None:
    bench.hub.standing.revoke(kind, "x")
    reborn(bench)
    assert (refused(bench.hub, identity), refused(bench.hub, known("other"))) == (True, False)


def test_a_session_of_another_life_is_over_too(bench: Bench) -> None:
    ada = client(bench, "")
    bench.hub.standing.revoke("session", session_id(ada))
    assert token(client(reborn(bench), token(ada))) != token(ada)


def test_it_is_in_force_before_it_is_kept_and_the_answer_says_when_that_is() -> None:
    bench = speaking(unlimited(), broker=LateBroker)
    ada = enter(bench, known("ada"))
    answers: list[object] = []
    bench.hub.standing.revoke("user", "ada").when_settled(lambda publication: answers.append(publication.seq))
    bench.runtime.settle()
    assert (closes(ada), refused(bench.hub, known("ada")), answers) == ([REVOKED], True, [])
    assert isinstance(bench.broker, LateBroker)
    bench.broker.answer()
    bench.runtime.settle()
    assert answers == [1]


def test_a_log_that_cannot_be_written_says_so_and_it_is_in_force_all_the_same() -> None:
    class Full(LateBroker):
        def append(self, room: str, time: int, drafts: Sequence[Draft], kept: Answer[Kept]) -> None:
            kept(BrokerError("disk full"))

    bench = speaking(unlimited(), broker=Full)
    errors: list[object] = []
    bench.hub.standing.revoke("user", "ada").when_settled(lambda publication: errors.append(str(publication.error)))
    bench.runtime.settle()
    assert (errors, refused(bench.hub, known("ada"))) == (["disk full"], True)


def test_no_client_can_look_into_it(bench: Bench) -> None:
    bench.hub.standing.revoke("user", "ada")
    connection = client(bench)
    codes = {ask(bench, connection, kind, room=ROOM)["code"] for kind in ("subscribe", "history", "presence")}
    codes.add(ask(bench, connection, "join", room=ROOM, username="eve")["code"])
    assert codes == {"invalid_name"}


# Reading it


def test_it_is_read_once_for_all_who_wait() -> None:
    bench = speaking(unlimited(), broker=LateReads)
    assert isinstance(bench.broker, LateReads)
    answers = [loaded(bench), loaded(bench)]
    assert (answers, bench.hub.standing.revocations.loaded) == ([[], []], False)
    bench.broker.answer()
    assert (answers, bench.hub.standing.revocations.loaded) == ([[None], [None]], True)
    assert loaded(bench) == [None]


def test_a_log_that_cannot_be_read_is_an_error_and_is_asked_again() -> None:
    bench = speaking(unlimited(), broker=BrokenReads)
    bench.hub.standing.revoke("user", "ada")
    bench.runtime.settle()
    bench.hub = Hub(bench.runtime, bench.broker, bench.hub.config, bench.policies)
    vars(bench.broker)["broken"] = True
    (error,) = loaded(bench)
    assert (str(error), bench.hub.standing.revocations.loaded) == ("revocations cannot be read: disk gone", False)
    vars(bench.broker)["broken"] = False
    assert (loaded(bench), refused(bench.hub, known("ada"))) == ([None], True)


def test_an_entry_that_is_none_is_an_error(bench: Bench) -> None:
    bench.hub.room(ROOM).publish({"type": "said", "text": "x"})
    bench.runtime.settle()
    bench.hub = Hub(bench.runtime, bench.broker, bench.hub.config, bench.policies)
    (error,) = loaded(bench)
    assert isinstance(error, BrokerError)


def test_what_was_revoked_before_it_was_read_is_not_taken_back() -> None:
    bench = speaking(unlimited(), broker=LateReads)
    assert isinstance(bench.broker, LateReads)
    bench.hub.standing.revoke("user", "ada")
    for _ in range(3):
        bench.broker.answer()
        bench.runtime.settle()
    bench.hub = Hub(bench.runtime, bench.broker, bench.hub.config, bench.policies)
    answers = loaded(bench)
    bench.broker.answer()  # the log is open, and its first entry on its way
    bench.tick(10)
    bench.hub.standing.revoke("user", "ada")
    while not answers:
        bench.broker.answer()
    assert refused(bench.hub, known("ada", issued=NOW + 5))


# Bounds


def test_old_ones_go(bench: Bench) -> None:
    bench = speaking(unlimited(revocation_seconds=100))
    bench.hub.standing.revoke("token", "old")
    bench.tick(60)
    bench.hub.standing.revoke("token", "middle")
    bench.tick(60)
    bench.hub.standing.revoke("token", "new")
    found = [refused(bench.hub, known(token=name)) for name in ("old", "middle", "new")]
    assert found == [False, True, True]


def test_old_ones_go_when_the_log_is_read(bench: Bench) -> None:
    bench = speaking(unlimited(revocation_seconds=100))
    bench.hub.standing.revoke("token", "old")
    bench.tick(101)
    assert reborn(bench).hub.standing.revocations._at == {}


def test_there_are_so_many_at_most_and_the_first_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "MOST", 3)
    for name in "abcad":
        bench.hub.standing.revoke("token", name)
    found = [refused(bench.hub, known(token=name)) for name in "abcd"]
    assert found == [True, False, True, True]


# A node


def scope(host: str = "localhost") -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": "/ws",
        "headers": [(b"host", host.encode())],
        "query_string": b"",
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8080),
        "subprotocols": [],
    }


def node(folder: Path, app: Hubbub | None = None) -> Node:
    server = Server(broker=f"sqlite:///{folder / 'rooms.db'}")
    return Node(app or Hubbub(), Config(server=server, auth=Auth()))


async def kept(app: Hubbub, **subject: str) -> int | None:
    done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    app.revoke(**subject).when_settled(lambda publication: done.set_result(publication.seq))
    return await done


def test_a_file_keeps_them_over_a_restart(tmp_path: Path) -> None:
    async def live(subject: dict[str, str]) -> bool:
        app = Hubbub()
        one = node(tmp_path, app)
        async with one.lifespan():
            assert one.hub is not None
            assert one._gate is not None
            if subject:
                await kept(app, **subject)
                return True
            await one._gate.admit(scope())
            return refused(one.hub, known("ada", token="t"))

    assert asyncio.run(live({"token": "t"}))
    assert asyncio.run(live({}))


def test_nobody_is_let_in_while_they_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def knock() -> HandshakeError:
        one = node(tmp_path)
        async with one.lifespan():
            assert one.hub is not None
            assert one._gate is not None
            monkeypatch.setattr(one.hub.broker, "read", lambda *arguments: arguments[-1](BrokerError("disk gone")))
            monkeypatch.setattr(one.hub.broker, "open", lambda room, opened: opened(BrokerError("disk gone")))
            with pytest.raises(HandshakeError) as caught:
                await one._gate.admit(scope())
            return caught.value

    error = asyncio.run(knock())
    assert (error.status, dict(error.headers)) == (503, {b"retry-after": b"5"})
