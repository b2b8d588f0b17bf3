"""The log behind the rooms: confirmed events, latest values, slow readers and restarts, over every way of hosting."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.conftest import Connect
from tests.support.chatter import Chatter, Event
from tests.support.history import History
from tests.support.peer import Peer, command
from tests.support.redis import RedisServer
from tests.support.server import FAST, FAST_REDIS, OWN_HOSTS, Server, serve

BIG = "x" * 60_000
# 7 MB: more than the kernel's buffers of a connection (4 MB) and the server's (256 KB) together.
FLOOD = range(120)


class Visitor(Peer):
    """A client whose connection can be lost, with a session if it has a token or an empty one."""

    def enter(self, room: str, session: str | None = None, username: str = "bob", **fields: Any) -> Event:
        """Opens, joins, and returns the room_info; `token` is then the session's."""
        self.open("/ws" if session is None else f"/ws?session={session}")
        self.token: str = self.event("connected").get("session", "")
        self.send(command(type="join", room=room, username=username, **fields))
        return self.event("room_info")

    def ask(self, **fields: Any) -> Event:
        """Sends a command and returns its reply; other events are passed over."""
        self.send(command(id="asked", **fields))
        while (event := self.event()).get("id") != "asked":
            pass
        return event

    def states(self, text: str) -> int:
        """Publishes, and returns the seq."""
        seq: int = self.ask(type="state", text=text)["seq"]
        return seq


def place(info: Event, seq: int) -> Event:
    """A position in the log of a room_info."""
    return {"epoch": info["epoch"], "seq": seq}


def texts(events: list[Event]) -> list[str]:
    return [event["text"] for event in events]


@pytest.fixture
def visit(server: Server) -> Iterator[Callable[[], Visitor]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Visitor(server.port))


Visit = Callable[[], Visitor]

# Confirmed events


def test_a_confirmed_event_says_so(enter: Connect) -> None:
    ada = enter("ada")
    ada.send(type="announce", text="leave the house")
    announced = ada.next()
    assert (announced["type"], announced["confirm"], announced["seq"]) == ("stated", True, 1)
    assert "redelivered" not in announced


def test_what_was_not_acknowledged_comes_again_on_the_sessions_next_connection(
    enter: Connect, visit: Visit, room: str
) -> None:
    ada, bob = enter("ada"), visit()
    info = bob.enter(room, session="")
    ada.send(type="announce", text="leave the house")
    first = bob.event("stated")
    bob.socket.close()
    again = visit()
    assert again.enter(room, session=bob.token, since=place(info, 1))["messages"] == []
    assert again.event() == first | {"redelivered": True}


def test_what_was_acknowledged_does_not_come_again(enter: Connect, visit: Visit, room: str) -> None:
    ada, bob = enter("ada"), visit()
    info = bob.enter(room, session="")
    ada.send(type="announce", text="leave the house")
    assert bob.event("stated")["seq"] == 1
    assert bob.ask(type="ack", room=room, seq=1)["unread"] == 0
    bob.socket.close()
    again = visit()
    again.enter(room, session=bob.token, since=place(info, 1))
    again.send(command(type="ping", id=1))
    assert again.event()["type"] == "ok"


def test_what_was_missed_comes_once_in_the_room_info(enter: Connect, visit: Visit, room: str) -> None:
    ada, bob = enter("ada"), visit()
    info = bob.enter(room, session="")
    bob.socket.close()
    assert ada.ask(type="announce", text="leave the house", id=1)["type"] in ("ok", "user_joined")
    again = visit()
    missed = again.enter(room, session=bob.token, since=place(info, 0))["messages"]
    assert [(event["text"], event.get("redelivered")) for event in missed] == [("leave the house", None)]
    again.send(command(type="ping", id=1))
    assert again.event()["type"] == "ok"


def test_receipts_tell_who_has_received_a_confirmed_event(enter: Connect, visit: Visit, room: str) -> None:
    ada, bob = enter("ada"), visit()
    bob.enter(room, session="")
    assert ada.until("user_joined")
    ada.send(type="announce", text="leave the house")
    assert bob.event("stated")["seq"] == ada.next()["seq"] == 1
    before = ada.ask(type="receipts", room=room, seq=1, id=1)
    assert (before["received"], sorted(before["waiting"])) == ([], ["ada", "bob"])
    bob.ask(type="ack", room=room, seq=1)
    assert ada.until("seen")["seq"] == 1
    after = ada.ask(type="receipts", room=room, seq=1, id=2)
    assert (after["received"], after["waiting"]) == (["bob"], ["ada"])
    assert {"username": "bob", "seq": 1} in after["readers"]


# Latest values


def quotes(ada: Chatter, *pairs: str) -> None:
    for pair in pairs:
        key, _, value = pair.partition(" ")
        assert ada.ask(type="quote", key=key, text=value)["text"] == pair


def test_who_joins_a_latest_only_room_gets_the_value_of_each_key(enter: Connect, room: str, history: History) -> None:
    history.latest.add(f"ticker-{room}")
    ada, bob = enter(), enter()
    ada.join(f"ticker-{room}", "ada")
    quotes(ada, "a 1", "b 1", "a 2", "c 1", "a 3")
    info = bob.join(f"ticker-{room}", "bob")
    assert [(event["text"], event["seq"]) for event in info["messages"]] == [("b 1", 2), ("c 1", 4), ("a 3", 5)]
    assert (info["seq"], info["head"], info["recovered"]) == (5, 5, None)


def test_who_comes_back_to_a_latest_only_room_gets_what_changed(enter: Connect, room: str, history: History) -> None:
    history.latest.add(f"ticker-{room}")
    ada, bob = enter(), enter()
    epoch = ada.join(f"ticker-{room}", "ada")["epoch"]
    quotes(ada, "a 1", "b 1", "a 2", "a 3")
    info = bob.join(f"ticker-{room}", "bob", since={"epoch": epoch, "seq": 2})
    assert (texts(info["messages"]), info["recovered"]) == (["a 3"], True)


# Coming back


def test_who_joins_with_a_position_while_others_publish_misses_nothing(visit: Visit, room: str) -> None:
    ada, bob = visit(), visit()
    info = ada.enter(room, username="ada")
    for number in range(1, 4):
        ada.states(str(number))
    ada.send(b"".join(command(type="state", text=str(number)) for number in range(4, 101)))
    missed = bob.enter(room, since=place(info, 1))
    seqs = [event["seq"] for event in missed["messages"]]
    seqs += [bob.event("stated")["seq"] for _ in range(100 - missed["seq"])]
    assert seqs == list(range(2, 101))


def test_more_than_a_reply_holds_follows_in_order(visit: Visit, room: str) -> None:
    ada, bob = visit(), visit()
    info = ada.enter(room, username="ada")
    for number in range(30):
        ada.states(f"{number} {BIG}")
    missed = bob.enter(room, since=place(info, 0))
    assert 0 < missed["seq"] < missed["head"] == 30
    assert [event["seq"] for event in missed["messages"]] == list(range(1, missed["seq"] + 1))
    assert [bob.event("stated")["seq"] for _ in range(30 - missed["seq"])] == list(range(missed["seq"] + 1, 31))


def test_what_is_no_longer_held_is_not_recovered(visit: Visit, room: str) -> None:
    ada, bob = visit(), visit()
    info = ada.enter(f"short-{room}", username="ada")
    for number in range(1, 21):
        ada.states(str(number))
    missed = bob.enter(f"short-{room}", since=place(info, 1), history=2)
    assert (missed["recovered"], texts(missed["messages"])) == (False, ["19", "20"])


# Slow readers


class Sleeper(Visitor):
    """A client that can leave unread what it is sent; its kernel takes little of it."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


def flood(port: int, room: str) -> None:
    """Publishes a lot, and a last small event; each is kept before the next is sent."""
    with Visitor(port) as ada:
        ada.enter(room, username="ada")
        for number in FLOOD:
            ada.states(f"{number} {BIG}")
        ada.states("last")


def flooded(server: Server, room: str) -> tuple[Sleeper, str]:
    """Somebody who has not read anything since they joined, and the room's epoch."""
    sleeper = Sleeper(server.port)
    epoch: str = sleeper.enter(room)["epoch"]
    flood(server.port, room)
    return sleeper, epoch


def test_a_slow_reader_that_missed_what_is_no_longer_held_is_told_so(server: Server, room: str) -> None:
    sleeper, epoch = flooded(server, f"short-{room}")
    with sleeper:
        gap = sleeper.event("gap")
        assert (gap["room"], gap["epoch"]) == (f"short-{room}", epoch)
        seqs = [sleeper.event("stated")["seq"] for _ in range(len(FLOOD) + 1 - gap["seq"])]
        assert seqs == list(range(gap["seq"] + 1, len(FLOOD) + 2))


def test_a_slow_reader_of_a_latest_only_room_gets_the_last_values(server: Server, room: str, history: History) -> None:
    history.latest.add(f"ticker-{room}")
    with Sleeper(server.port) as sleeper, Visitor(server.port) as ada:
        sleeper.enter(f"ticker-{room}")
        ada.enter(f"ticker-{room}", username="ada")
        for number in FLOOD:
            ada.ask(type="quote", key=str(number % 2), text=f"{number} {BIG}")
        heard = [sleeper.event("stated")["seq"]]
        while heard[-1] < len(FLOOD):
            heard.append(sleeper.event("stated")["seq"])
        assert (heard == sorted(heard), heard[-2:]) == (True, [len(FLOOD) - 1, len(FLOOD)])
        assert len(heard) < len(FLOOD)
        assert not any(b'"gap"' in payload for _, payload in sleeper.received)


def test_where_only_the_latest_counts_a_slow_reader_skips_the_rest(server: Server, room: str) -> None:
    sleeper, _ = flooded(server, f"newest-{room}")
    with sleeper:
        assert sleeper.event("gap")["seq"] == len(FLOOD)
        assert sleeper.event("stated")["text"] == "last"


def test_where_nobody_waits_for_slow_readers_they_are_closed(server: Server, room: str) -> None:
    sleeper, _ = flooded(server, f"impatient-{room}")
    with sleeper:
        assert sleeper.close_code() == 4408


# Restarts


Start = Callable[[], AbstractContextManager[Server]]


@pytest.fixture(params=[*OWN_HOSTS, FAST_REDIS])
def start(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Start:
    """Starts a server on the test's file, or on the test's rooms in Redis."""
    if request.param != FAST_REDIS:
        return lambda: serve(tmp_path, request.param, "--broker", f"sqlite:///{tmp_path / 'rooms.db'}")
    options = ("--broker", redis_server.url, "--redis-prefix", f"{uuid4()}:")
    return lambda: serve(tmp_path, FAST_REDIS, *options)


def test_what_was_kept_is_there_after_a_kill(start: Start, room: str) -> None:
    with start() as server, Visitor(server.port) as ada:
        before = ada.enter(room)
        assert [ada.states(text) for text in "abc"] == [1, 2, 3]
        server.stop(signal.SIGKILL)
    with start() as server, Visitor(server.port) as ada:
        info = ada.enter(room, since=place(before, 1))
        assert (info["epoch"], info["recovered"], texts(info["messages"])) == (before["epoch"], True, ["b", "c"])
        assert ada.states("d") == 4


def test_a_session_is_known_after_a_kill(start: Start, room: str) -> None:
    with start() as server, Visitor(server.port) as ada:
        ada.enter(room, session="")
        ada.states("a")
        ada.ask(type="ack", room=room, seq=1)
        assert ada.ask(type="message", text="once", messageId="m")["seq"] == 2
        server.stop(signal.SIGKILL)
    with start() as server, Visitor(server.port) as again:
        info = again.enter(room, session=ada.token, since="acked")
        assert (again.token, info["acked"], texts(info["messages"])) == (ada.token, 1, ["once"])
        assert again.ask(type="message", text="once", messageId="m")["seq"] == 2
        assert again.states("b") == 3


def test_the_memberships_of_a_session_are_gone_after_a_kill(start: Start, room: str) -> None:
    with start() as server, Visitor(server.port) as ada:
        info = ada.enter(room, session="")
        server.stop(signal.SIGKILL)
    with start() as server, Visitor(server.port) as again:
        again.open(f"/ws?session={ada.token}")
        assert again.ask(type="resume", rooms={room: place(info, 0)})["missing"] == [room]


def test_a_confirmed_event_comes_again_after_a_kill(start: Start, room: str) -> None:
    with start() as server, Visitor(server.port) as ada:
        info = ada.enter(room, session="")
        ada.ask(type="announce", text="leave the house")
        ada.ask(type="receipts", room=room)  # answered behind what was to be written before
        server.stop(signal.SIGKILL)
    with start() as server, Visitor(server.port) as again:
        again.enter(room, session=ada.token, since=place(info, 1))
        assert again.event()["redelivered"] is True


def test_in_memory_nothing_outlives_the_server(tmp_path: Path, room: str) -> None:
    with serve(tmp_path, FAST) as server, Visitor(server.port) as ada:
        before = ada.enter(room, session="")
        ada.states("a")
        server.stop(signal.SIGKILL)
    with serve(tmp_path, FAST) as server, Visitor(server.port) as again:
        info = again.enter(room, session=ada.token, since=place(before, 0))
        assert (info["recovered"], info["head"], again.token != ada.token) == (False, 0, True)
        assert info["epoch"] != before["epoch"]


def test_a_file_has_one_process(tmp_path: Path) -> None:
    options = (FAST, "--broker", f"sqlite:///{tmp_path / 'rooms.db'}")
    refused = pytest.raises(RuntimeError, match="another process or another")
    with serve(tmp_path, *options), refused, serve(tmp_path, *options):
        pass
