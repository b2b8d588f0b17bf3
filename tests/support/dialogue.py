"""Runs a dialogue of protocol/dialogues against a server; the README there says what its steps mean."""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from hubbub.wire.codec import MSGPACK_SUBPROTOCOL
from hubbub.wire.handshake import encode_request
from hubbub.wire.websocket import BINARY, CLOSE, FIN, PING, TEXT, parse_close
from tests.support.peer import Peer, frame, text

PLACEHOLDER = re.compile(r"<(uuid|ms|int|text|any|room|token)(?::([a-z0-9]+))?>")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
EARLIEST_MS = 1_600_000_000_000
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
ACTIONS = ("connect", "post", "send", "sendText", "sendBinary", "expect", "expectClose", "close", "drop")

Step = dict[str, Any]


def is_a(kind: str, value: object) -> bool:
    """Whether a value is what a placeholder of this kind stands for."""
    match kind:
        case "uuid":
            return isinstance(value, str) and UUID.fullmatch(value) is not None
        case "ms":
            return type(value) is int and value > EARLIEST_MS
        case "int":
            return type(value) is int
        case "text":
            return isinstance(value, str)
        case _:
            return True


def options_of(settings: Mapping[str, object], folder: Path) -> tuple[str, ...]:
    """A dialogue's settings as options of the command line; a secret, which has none, in a file of the folder."""
    options: list[str] = []
    for name, value in settings.items():
        option, shown = f"--{name.replace('_', '-')}", str(value)
        if name.endswith("_secret"):
            file = folder / name
            file.write_text(shown)
            option, shown = f"{option}-file", str(file)
        options += (option, shown)
    return tuple(options)


def signed(claims: Mapping[str, object], secret: str) -> str:
    """A token with these claims (RFC 7515, HS256); `exp` is in seconds from now."""
    claims = {**claims, "exp": time.time() + float(str(claims["exp"]))}
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, claims))
    content = b".".join(map(_base64url, parts))
    return (content + b"." + _base64url(hmac.digest(secret.encode(), content, "sha256"))).decode()


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


class Stage:
    """The people of one dialogue, each at a connection of their own.

    Args:
        port: where the server listens.
        tokens: the claims of each token that the dialogue names.
        secret: with which they are signed.
    """

    def __init__(self, port: int, tokens: Mapping[str, Mapping[str, object]] | None = None, secret: str = "") -> None:
        self._port = port
        self._tokens = tokens or {}
        self._secret = secret
        self._peers: dict[str, Peer] = {}
        self._msgpack: set[str] = set()
        self._known: dict[str, object] = {}

    def run(self, steps: list[Step]) -> None:
        """Takes the steps in order.

        Raises:
            AssertionError: the server did something else; says at which step.
        """
        with ExitStack() as stack:
            for number, step in enumerate(steps, 1):
                action = next(name for name in ACTIONS if name in step)
                for _ in range(step.get("times", 1)):
                    try:
                        self._take(step["client"], action, step, stack)
                    except (AssertionError, EOFError, OSError) as error:
                        raise AssertionError(f"step {number}, {step}: {error!r}") from error

    def _take(self, client: str, action: str, step: Step, stack: ExitStack) -> None:
        match action:
            case "connect":
                self._connect(client, step["connect"], stack)
            case "post":
                self._post(step["post"])
            case "send" | "sendText" | "sendBinary" | "close":
                self._peers[client].send(self._frames(client, step))
            case "expect":
                self._expect(client, step["expect"], step.get("exact", False))
            case "expectClose":
                self._expect_close(client, step["expectClose"])
            case _:
                self._peers[client].socket.close()

    def _connect(self, client: str, request: Step, stack: ExitStack) -> None:
        headers = self._headers(request)
        peer = self._peers[client] = stack.enter_context(Peer(self._port, headers=headers))
        path, offered = (
            str(self._filled(request.get("path", "/ws"))),
            tuple(self._filled(request.get("subprotocols", []))),
        )
        if "status" in request:
            asked = encode_request("127.0.0.1", path, KEY, offered)
            status, _ = peer.http(asked[:-2] + "".join(f"{line}\r\n" for line in headers).encode() + b"\r\n")
            self._compare(request["status"], status, exact=True)
            return
        peer.open(path, offered)
        self._msgpack.discard(client)
        if offered[:1] == (MSGPACK_SUBPROTOCOL,):
            self._msgpack.add(client)

    def _headers(self, request: Step) -> list[str]:
        return [f"{name}: {self._filled(value)}" for name, value in request.get("headers", {}).items()]

    def _post(self, request: Step) -> None:
        lines = [f"POST {request['path']} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0", "Connection: close"]
        with Peer(self._port) as peer:
            status, answer = peer.http("\r\n".join([*lines, *self._headers(request), "", ""]).encode())
        self._compare(request["status"], status, exact=True)
        self._compare(request["answer"], json.loads(answer.partition(b"\r\n\r\n")[2]), exact=False)

    def _frames(self, client: str, step: Step) -> bytes:
        """All that is sent in one step, for one write."""
        frames = b""
        if "send" in step:
            commands = step["send"] if isinstance(step["send"], list) else [step["send"]]
            frames += b"".join(self._command(client, self._filled(command)) for command in commands)
        if "sendText" in step:
            frames += text(step["sendText"])
        if "sendBinary" in step:
            frames += frame(FIN | BINARY, bytes.fromhex(step["sendBinary"]))
        if "close" in step:
            frames += self._peers[client].wire.send_close(step["close"]["code"], step["close"].get("reason", ""))
        return frames

    def _command(self, client: str, command: Any) -> bytes:
        if client in self._msgpack:
            return frame(FIN | BINARY, msgspec.msgpack.encode(command))
        return text(json.dumps(command))

    def _expect(self, client: str, expected: Any, exact: bool) -> None:
        for event in expected if isinstance(expected, list) else [expected]:
            opcode, payload = self._next(client)
            if opcode == CLOSE:
                raise AssertionError(f"closed with {parse_close(payload)}")
            binary = client in self._msgpack
            assert opcode == (BINARY if binary else TEXT), f"opcode {opcode}"
            self._compare(event, msgspec.msgpack.decode(payload) if binary else json.loads(payload), exact)

    def _expect_close(self, client: str, expected: Step) -> None:
        opcode, payload = self._next(client)
        assert opcode == CLOSE, f"not a close frame but {payload!r}"
        code, reason = parse_close(payload)
        self._compare(expected, {"code": code, "reason": reason}, exact=False)
        self._peers[client].send(self._peers[client].wire.send_close(code))
        self._peers[client].read_to_end()
        self._peers[client].socket.close()

    def _next(self, client: str) -> tuple[int, bytes]:
        while (message := self._peers[client].next())[0] == PING:
            pass
        return message

    def _filled(self, value: Any) -> Any:
        """A value to send, with what placeholders stand for in their place."""
        match value:
            case str() if PLACEHOLDER.fullmatch(value):
                return self._value(value)
            case str():
                return PLACEHOLDER.sub(lambda found: str(self._value(found[0])), value)
            case dict():
                return {str(self._filled(name)): self._filled(item) for name, item in value.items()}
            case list():
                return [self._filled(item) for item in value]
            case _:
                return value

    def _value(self, placeholder: str) -> object:
        """What a placeholder stands for: a room's name, or what it was when it occurred first."""
        if placeholder.startswith("<room:"):
            return self._known.setdefault(placeholder, f"room {uuid4().hex}")
        if placeholder.startswith("<token:") and placeholder not in self._known:
            claims = self._filled(self._tokens[placeholder[len("<token:") : -1]])
            self._known[placeholder] = signed(claims, self._secret)
        assert placeholder in self._known, f"{placeholder} has not occurred yet"
        return self._known[placeholder]

    def _compare(self, expected: Any, got: Any, exact: bool) -> None:
        match expected:
            case dict():
                assert isinstance(got, dict), f"{got!r} is no object"
                missing = expected.keys() - got.keys()
                unexpected = got.keys() - expected.keys() if exact else set()
                assert not missing | unexpected, f"{missing or unexpected}: {got!r}"
                for name, value in expected.items():
                    self._compare(value, got[name], exact)
            case list():
                assert isinstance(got, list), f"{got!r} is no list"
                assert len(expected) == len(got), f"{got!r}"
                for value, item in zip(expected, got, strict=True):
                    self._compare(value, item, exact)
            case str() if found := PLACEHOLDER.fullmatch(expected):
                self._compare_placeholder(expected, found[1], found[2], got)
            case _:
                assert type(got) is type(expected), f"{got!r}"
                assert got == expected, f"{got!r}"

    def _compare_placeholder(self, placeholder: str, kind: str, name: str | None, got: object) -> None:
        assert is_a(kind, got), f"{got!r} is not {placeholder}"
        if kind == "room":
            assert got == self._value(placeholder), f"{got!r} is not {placeholder}"
        elif name is not None:
            assert self._known.setdefault(placeholder, got) == got, f"{got!r} is not {placeholder}"
