"""`hubbub chat`, from a terminal that is a pair of pipes: joins, talks, listens, leaves, comes back."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.support.chatter import Chatter, chatting
from tests.support.server import FAST, Server, free_port, serve
from tests.support.terminal import HUBBUB, SECONDS, Terminal, run, terminal, variables


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers()


@pytest.fixture
def room() -> str:
    return f"room-{uuid4()}"


@pytest.fixture
def bob(server: Server, room: str) -> Iterator[Chatter]:
    """Somebody in the room already."""
    with chatting(f"{server.ws}/ws") as chatter:
        chatter.join(room, "bob")
        yield chatter


@contextmanager
def chat(url: str, room: str, name: str = "ada") -> Iterator[Terminal]:
    with terminal(*HUBBUB, "chat", url, room, "--name", name) as program:
        yield program


def test_it_joins_and_says_who_is_there(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        assert ada.line() == f"* {room}: 2 here: bob, ada"
        assert bob.next()["username"] == "ada"


@pytest.mark.parametrize("form", ["ws://{}/ws", "http://{}", "http://{}/", "{}"])
def test_a_url_may_be_given_as_people_type_it(server: Server, room: str, form: str) -> None:
    with chat(form.format(f"127.0.0.1:{server.port}"), room) as ada:
        assert ada.line() == f"* {room}: 1 here: ada"


def test_what_is_typed_is_said(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        for text in ("hello", "é 日本 🎉", '{"type":"leave"}'):
            ada.type(f"  {text} ")
            assert ada.line() == f"ada: {text}"
        assert bob.next()["type"] == "user_joined"
        assert [bob.next()["text"] for _ in range(3)] == ["hello", "é 日本 🎉", '{"type":"leave"}']


def test_empty_lines_are_not_said(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        ada.type("")
        ada.type("   ")
        ada.type("hello")
        assert (bob.next()["type"], bob.next()["text"]) == ("user_joined", "hello")


def test_what_others_do_is_printed(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        bob.send(type="message", text="hi")
        assert ada.line() == "bob: hi"
        with chatting(f"{server.ws}/ws") as eve:
            eve.join(room, "eve")
            assert ada.line() == "* eve joined (3 here)"
        assert ada.line() == "* eve left (2 here)"


def test_control_characters_of_others_do_not_reach_the_terminal(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        bob.send(type="message", text="a\x1b[2Jb\r\nc\u202ed\x9b")
        assert ada.line() == "bob: a�[2Jb��c�d�"


def test_a_refusal_is_printed(server: Server, room: str) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        ada.type("x" * 2001)
        assert ada.line() == "! A message has 1 to 2000 characters"


def test_it_leaves_at_the_end_of_input(server: Server, room: str, bob: Chatter) -> None:
    with chat(f"{server.ws}/ws", room) as ada:
        ada.line()
        assert bob.next()["type"] == "user_joined"
        assert ada.end() == 0
        assert ada.rest() == []
        assert bob.next()["type"] == "user_left"


def test_lines_that_are_there_before_the_connection_are_said(server: Server, room: str, bob: Chatter) -> None:
    done = subprocess.run(
        [*HUBBUB, "chat", f"{server.ws}/ws", room, "--name", "ada"],
        input="one\ntwo\nthree\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=variables(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    heard = [bob.next() for _ in range(5)]
    assert [event["type"] for event in heard] == ["user_joined", "message", "message", "message", "user_left"]
    assert [event["text"] for event in heard[1:4]] == ["one", "two", "three"]


def test_it_comes_back_after_the_server_restarts(tmp_path: Path) -> None:
    port = free_port()
    with serve(tmp_path, port=port) as first, chat(f"{first.ws}/ws", "lobby") as ada:
        assert ada.line() == "* lobby: 1 here: ada"
        first.stop()
        assert re.fullmatch(r"! 1012 after=500; next try in [01] s", ada.line())
        with serve(tmp_path, port=port):
            while (line := ada.line()).startswith("! "):
                assert re.fullmatch(r"! .*; next try in \d+ s", line)
            assert line == "* lobby: 1 here: ada"
            assert ada.line() == "! Some messages may be missing here"
            ada.type("I am back")
            assert ada.line() == "ada: I am back"
            assert ada.end() == 0


def skip_tries(ada: Terminal) -> str:
    """The next line that is not about a try to connect."""
    while "next try in" in (line := ada.line()):
        pass
    return line


def test_what_was_said_without_it_is_printed_in_order_when_it_is_back(tmp_path: Path) -> None:
    kept = ("--broker", f"sqlite:///{tmp_path / 'chat.db'}")
    with serve(tmp_path, FAST, *kept) as first, chat(f"{first.ws}/ws", "lobby") as ada:
        ada.line()
        ada.type("before")
        assert ada.line() == "ada: before"
        first.stop(signal.SIGKILL)
        assert "next try in" in ada.line()
        with serve(tmp_path, FAST, *kept, port=first.port), chatting(f"{first.ws}/ws") as bob:
            bob.join("lobby", "bob")
            for text in ("one", "two"):
                bob.send(type="message", text=text)
            assert skip_tries(ada).startswith("* lobby: ")
            assert [ada.line(), ada.line()] == ["bob: one", "bob: two"]


def test_what_is_typed_without_a_server_is_said_once_when_it_is_back(tmp_path: Path) -> None:
    kept = ("--broker", f"sqlite:///{tmp_path / 'chat.db'}")
    with serve(tmp_path, FAST, *kept) as first, chat(f"{first.ws}/ws", "lobby") as ada:
        ada.line()
        first.stop(signal.SIGKILL)
        assert "next try in" in ada.line()
        for text in ("one", "two"):
            ada.type(text)
        with serve(tmp_path, FAST, *kept, port=first.port), chatting(f"{first.ws}/ws") as bob:
            assert ada.end() == 0
            said = bob.ask(type="join", room="lobby", username="bob", history=9)["messages"]
            assert [event["text"] for event in said] == ["one", "two"]


def test_it_waits_for_a_server_that_is_not_there_yet() -> None:
    with chat(f"ws://127.0.0.1:{free_port()}/ws", "lobby") as ada:
        assert re.fullmatch(r"! .*; next try in 1 s", ada.line())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/",
        "http://",
        "ws://",
        "http://localhost:99999/",
        "ws://localhost:port/",
        "ws://[::1/ws",
        ":::",
        "",
    ],
)
def test_a_bad_url_is_one_line(url: str) -> None:
    done = run("chat", url, "lobby", "--name", "ada")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hubbub: ")
    assert done.stderr.count("\n") == 1


def test_a_path_where_nobody_chats_is_one_line(server: Server) -> None:
    done = run("chat", f"{server.ws}/nowhere", "lobby", "--name", "ada")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hubbub: the server refused: 404 Not Found\n"


def test_a_refusal_ends_it_while_input_goes_on(server: Server) -> None:
    with chat(f"{server.ws}/nowhere", "lobby") as ada:
        assert ada.rest() == ["hubbub: the server refused: 404 Not Found"]
        assert ada.process.wait(SECONDS) == 2


@pytest.mark.parametrize(("room", "name"), [("", "ada"), ("  ", "ada"), ("lobby", ""), ("{lobby}", "ada")])
def test_names_that_the_server_refuses_are_one_line(server: Server, room: str, name: str) -> None:
    done = run("chat", f"{server.ws}/ws", room, "--name", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("hubbub: ")
    assert done.stderr.count("\n") == 1


def test_a_missing_argument_is_one_line() -> None:
    done = run("chat", "ws://localhost/ws")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "hubbub: Missing argument 'ROOM'.\n")
