"""The command line: what it prints, one line for each mistake of a user, and where settings come from."""

import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import hubbub
from hubbub.cli import main
from tests.support.chatter import chatting
from tests.support.server import ROOT
from tests.support.terminal import HUBBUB, Terminal, run, terminal, variables
from tests.support.viewer import viewing

URL = re.compile(r"Hubbub serves (\S+) at (http://127\.0\.0\.1:(\d+))")


@contextmanager
def serving(
    *arguments: str, folder: Path = ROOT, extra: dict[str, str] | None = None
) -> Iterator[tuple[Terminal, str, str]]:
    """`hubbub serve` on a free port: the program, what it serves, and its address."""
    with terminal(*HUBBUB, "serve", "--port", "0", *arguments, folder=folder, extra=extra) as program:
        line = program.line()
        printed = URL.fullmatch(line)
        assert printed is not None, line
        yield program, printed[1], printed[2].removeprefix("http://")


def refusal(*arguments: str, folder: Path = ROOT, extra: dict[str, str] | None = None) -> str:
    """The one line about a mistake."""
    done = run(*arguments, folder=folder, extra=extra)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("hubbub: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("hubbub: ").rstrip("\n")


Complaint = Callable[..., str]


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """The same in this process: `complaint(*arguments, **variables)`."""

    def complain(*arguments: str, **extra: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hubbub", *arguments])
        for name, value in extra.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
        output, line = capsys.readouterr()
        assert (ended.value.code, output, line[:8], line.find("\n")) == (2, "", "hubbub: ", len(line) - 1)
        return line[8:-1]

    return complain


# What there is


def test_help_lists_the_commands() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"serve", "chat"} <= set(re.findall(r"^  (\w+) ", done.stdout, re.MULTILINE))


def test_without_a_command_the_help_is_shown() -> None:
    done = run()
    assert "Commands:\n" in done.stdout + done.stderr
    assert "Usage: hubbub [OPTIONS] COMMAND [ARGS]...\n" in done.stdout + done.stderr


def test_the_help_of_serve_names_every_option_with_its_variable() -> None:
    done = run("serve", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option, variable in (("--rate-limit", "HUBBUB_RATE_LIMIT"), ("--broker", "HUBBUB_BROKER")):
        assert option in done.stdout
        assert variable in done.stdout


@pytest.mark.parametrize("command", [list(HUBBUB), [str(Path(sys.executable).parent / "hubbub")]])
def test_the_version_is_the_package_s(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == f"hubbub, version {hubbub.__version__}\n"


# serve


def test_serve_prints_where_it_serves_and_takes_connections_from_then_on() -> None:
    with serving() as (_, app, address):
        assert app == "hubbub.apps.default:app"
        with chatting(f"ws://{address}/ws") as ada:
            assert ada.join("lobby", "ada")["members"] == ["ada"]


def test_serve_has_a_page() -> None:
    with serving() as (_, _, address), urllib.request.urlopen(f"http://{address}/", timeout=10) as page:
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_serve_has_the_dashboard_s_values() -> None:
    with serving() as (_, _, address), viewing(f"ws://{address}", "/metrics-stream") as viewer:
        assert viewer.next("metrics")["data"]["activeUsers"] == 1


def test_serve_finds_applications_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text("from hubbub import Hubbub\nplay = Hubbub(path='/play')\n")
    with serving("game:play", folder=tmp_path) as (_, app, address), chatting(f"ws://{address}/play") as ada:
        assert app == "game:play"
        assert ada.nothing()


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_serve_ends_with_a_signal_and_says_nothing(signal: str) -> None:
    with serving() as (program, _, address), chatting(f"ws://{address}/ws") as ada:
        subprocess.run(["kill", f"-{signal}", str(program.process.pid)], check=True)
        assert (close := ada.end()).code == 1012
        assert close.reason == "after=500"
        assert program.end() == 0
        assert program.rest() == []


# Mistakes


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal("serve", "--port", str(port)) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_port_that_another_hubbub_has_is_one_line() -> None:
    with serving() as (_, _, address):
        line = refusal("serve", "--port", address.rpartition(":")[2])
        assert line == f"cannot listen on {address}: Address already in use"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["nope"], "nope"),
        (["serve", "--nope"], "--nope"),
        (["serve", "--port"], "--port"),
        (["serve", "--port", "abc"], "--port"),
        (["serve", "--port", "-1"], "--port"),
        (["serve", "--port", "65536"], "65536"),
        (["serve", "--rate-limit", "-1"], "--rate-limit"),
        (["serve", "--rate-limit", "nan"], "--rate-limit"),
        (["serve", "--host", "256.1.1.1"], "256.1.1.1"),
        (["serve", "--broker", "carrier-pigeon://"], "carrier-pigeon://"),
        (["serve", "--loop", "spiral"], "spiral"),
        (["serve", "one:app", "two:app"], "two:app"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(arguments: list[str], names: str) -> None:
    assert names in refusal(*arguments)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nope", "'nope' is not of the form module:app"),
        (":app", "':app' is not of the form module:app"),
        ("nope:", "'nope:' is not of the form module:app"),
        ("no.such.module:app", "cannot import no.such.module: ModuleNotFoundError: No module named 'no'"),
        ("fails:app", "cannot import fails: ValueError: a bug of three lines"),
        ("unreadable:app", "cannot import unreadable: SyntaxError: "),
        ("exits:app", "cannot import exits: SystemExit: 3"),
        ("empty:app", "module empty has no 'app'; it should be a Hubbub()"),
        ("number:app", "module number has another kind of 'app'; it should be a Hubbub()"),
    ],
)
def test_an_application_that_cannot_be_had_is_one_line(tmp_path: Path, target: str, says: str) -> None:
    (tmp_path / "fails.py").write_text("raise ValueError('a bug\\nof three\\nlines')")
    (tmp_path / "unreadable.py").write_text("def :")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)")
    (tmp_path / "empty.py").touch()
    (tmp_path / "number.py").write_text("app = 5")
    assert refusal("serve", target, folder=tmp_path).startswith(says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[server", "not TOML: "),
        ("[server]\nport = ", "not TOML: "),
        ("port = 8080", "port stands outside of a table such as [server]"),
        ("[server]\nprot = 8080", "there is no setting server.prot"),
        ("[limits]\nport = 8080", "there is no setting limits.port"),
        ("[sever]\nport = 8080", "there is no setting sever.port"),
        ("[server]\nport = 'abc'", "server.port: 'abc' is not a whole number"),
        ("[server]\nport = 80.5", "server.port: 80.5 is not a whole number"),
        ("[server]\nport = true", "server.port: True is not a whole number"),
        ("[server]\nhost = 5", "server.host: 5 is not a text"),
        ("[limits]\nrate_limit = -0.5", "limits.rate_limit: -0.5 is less than 0"),
        ("[websocket]\ndeflate = 'perhaps'", "websocket.deflate: 'perhaps' is not true or false"),
        ("[server]\nport = [1]", "server.port: [1] is not a whole number"),
        ("server = 5", "server stands outside of a table such as [server]"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_its_place(
    complaint: Complaint, tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text(content)
    assert complaint("serve", "--config", str(file)).startswith(f"{file}: {says}")


def test_a_file_that_is_not_utf_8_is_one_line(complaint: Complaint, tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_bytes(b"[server]\nhost = '\xff'")
    assert complaint("serve", "--config", str(file)).startswith(f"{file}: not TOML: ")


def test_a_file_that_cannot_be_read_is_one_line(complaint: Complaint, tmp_path: Path) -> None:
    assert complaint("serve", "--config", str(tmp_path)) == f"{tmp_path}: Is a directory"
    assert complaint("serve", "--config", f"{tmp_path}/no") == f"{tmp_path}/no: No such file or directory"
    assert complaint("serve", HUBBUB_CONFIG=f"{tmp_path}/no") == f"{tmp_path}/no: No such file or directory"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HUBBUB_PORT", "abc", "HUBBUB_PORT: 'abc' is not a whole number"),
        ("HUBBUB_PORT", "", "HUBBUB_PORT: '' is not a whole number"),
        ("HUBBUB_DEFLATE", "perhaps", "HUBBUB_DEFLATE: 'perhaps' is not true or false"),
        ("HUBBUB_RATE_LIMIT", "-1", "HUBBUB_RATE_LIMIT: -1.0 is less than 0"),
        (
            "HUBBUB_BROKER",
            "carrier-pigeon://",
            "broker 'carrier-pigeon://': known are sqlite:///file, memory:// and redis://host",
        ),
    ],
)
def test_a_bad_variable_is_one_line_that_names_it(complaint: Complaint, name: str, value: str, says: str) -> None:
    assert complaint("serve", **{name: value}) == says


# Precedence: what `connected` says of maxMessageBytes shows which one won

DEFAULT, FILE, VARIABLE, OPTION = 65_536, 10_001, 10_002, 10_003


@pytest.mark.parametrize("given", [DEFAULT, FILE, VARIABLE, OPTION])
def test_an_option_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path, given: int) -> None:
    file, arguments, extra = tmp_path / "hubbub.toml", [], {}
    if given != DEFAULT:
        file.write_text(f"[limits]\nmax_message_bytes = {FILE}\n")
        arguments += ["--config", str(file)]
    if given in (VARIABLE, OPTION):
        extra["HUBBUB_MAX_MESSAGE_BYTES"] = str(VARIABLE)
    if given == OPTION:
        arguments += ["--max-message-bytes", str(OPTION)]
    with serving(*arguments, extra=extra) as (_, _, address), chatting(f"ws://{address}/ws") as ada:
        assert ada.connected["maxMessageBytes"] == given


def test_a_switch_is_turned_off_by_its_no(tmp_path: Path) -> None:
    with serving("--no-deflate") as (_, _, address), chatting(f"ws://{address}/ws", deflate=True) as ada:
        assert ada.socket.response is not None
        assert "Sec-WebSocket-Extensions" not in ada.socket.response.headers


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text("[heartbeat]\nheartbeat_seconds = 12.5\n")
    with serving(extra={"HUBBUB_CONFIG": str(file)}) as (_, _, address), chatting(f"ws://{address}/ws") as ada:
        assert ada.connected["heartbeat"] == 12_500


def test_other_variables_do_not_matter() -> None:
    assert "PORT" not in variables()
    with serving(extra={"PORT": "abc"}) as (_, _, address):
        assert address.startswith("127.0.0.1:")
