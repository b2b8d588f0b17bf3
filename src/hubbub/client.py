"""A chat in the terminal, on the client side of `wire`: reconnects with backoff, says everything in plain lines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import re
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from hubbub.codes import (
    GOING_AWAY,
    INVALID_DATA,
    MALFORMED,
    NORMAL,
    REMOVED,
    REPLACED,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
)
from hubbub.errors import ConfigError, HandshakeError, PeerError
from hubbub.wire.codec import JSON_SUBPROTOCOL
from hubbub.wire.handshake import encode_request, read_accept
from hubbub.wire.websocket import CLOSE, PING, PONG, TEXT, WebSocket, parse_close

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 30.0
JITTER: Final = 0.3
CONNECT_SECONDS: Final = 10.0
LONGEST_EVENT_BYTES: Final = 1 << 24
READ_BYTES: Final = 1 << 16
HISTORY: Final = 50
LOST: Final = 1006
FINAL_CODES: Final = frozenset((NORMAL, GOING_AWAY, MALFORMED, REMOVED, REPLACED))


_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]*")  # RFC 6750, section 2.1
_AFTER: Final = re.compile(r"after=(\d{1,7})")
MISSING: Final = "! Some messages may be missing here"


class Closed(Exception):
    """The server ended the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


def reconnect_delay(attempt: int, jitter: float) -> float:
    """Seconds to wait before a try: 1 s doubling to 30 s, and up to 30 % more so that clients spread.

    Args:
        attempt: 0 for the first.
        jitter: random, 0 to 1.
    """
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 30), LONGEST_DELAY_SECONDS) * (1 + JITTER * jitter)


def restart_delay(closed: Closed, attempt: int, jitter: float, told: float | None = None) -> float:
    """Seconds to wait after the server has ended a connection: as long as it says, where it restarts.

    Args:
        attempt, jitter: as in `reconnect_delay`.
        told: what is left of the time that an event `reconnect` gave.
    """
    delay = reconnect_delay(attempt, jitter)
    found = _AFTER.fullmatch(closed.reason) if closed.code == SERVICE_RESTART else None
    after = int(found[1]) / 1000 if found else told if closed.code == LOST else None
    if after is None:
        return delay
    return max(after * (1 + JITTER * jitter), delay if attempt else 0.0)


def socket_url(url: str) -> str:
    """The WebSocket's URL for what people type: http becomes ws, and no path becomes /ws.

    Raises:
        ConfigError: it is not such a URL.
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if (
        not url.isascii()
        or not url.isprintable()
        or " " in url
        or scheme not in ("ws", "wss")
        or not parts.hostname
        or port == 0
    ):
        raise ConfigError(f"{url!r} is not a URL such as ws://localhost:8080/ws")
    path = parts.path if parts.path not in ("", "/") else "/ws"
    return parts._replace(scheme=scheme, path=path, fragment="").geturl()


def with_session(url: str, session: str) -> str:
    """The WebSocket's URL for a session; an empty one asks for a new one."""
    return f"{url}{'&' if urlsplit(url).query else '?'}session={quote(session)}"


class ClientSocket:
    """An open WebSocket to a Hubbub server, in JSON."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._wire = WebSocket(LONGEST_EVENT_BYTES, new_mask=lambda: os.urandom(4))

    @classmethod
    async def connect(cls, url: str, token: str = "") -> ClientSocket:
        """Connects and shakes hands, with a bearer token where there is one.

        Raises:
            OSError: the server cannot be reached.
            HandshakeError: it refuses.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        context = ssl.create_default_context() if secure else None
        port = parts.port or (443 if secure else 80)
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
            key = base64.b64encode(os.urandom(16))
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            writer.write(encode_request(parts.netloc.rpartition("@")[2], target, key, (JSON_SUBPROTOCOL,), "", token))
            try:
                read_accept(await reader.readuntil(b"\r\n\r\n"), key)
            except (HandshakeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                writer.close()
                raise error if isinstance(error, HandshakeError) else HandshakeError(502, "no answer") from error
        return cls(reader, writer)

    def send(self, command: dict[str, Any]) -> None:
        """Sends a command."""
        self._writer.write(self._wire.send_message(TEXT, msgspec.json.encode(command)))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the server sends, until it ends.

        Raises:
            Closed: with the server's code, or 1006 when the connection was lost.
            PeerError: the server violates the protocol.
        """
        while data := await self._reader.read(READ_BYTES):
            for opcode, payload in self._wire.receive_data(data):
                if opcode == TEXT:
                    yield _decode(payload)
                elif opcode == PING:
                    self._writer.write(self._wire.send_message(PONG, payload))
                elif opcode == CLOSE:
                    code, reason = parse_close(payload)
                    self._writer.write(self._wire.send_close(code, reason))
                    raise Closed(code, reason)
        raise Closed(LOST, "connection lost")

    async def close(self) -> None:
        """Says goodbye."""
        self._writer.write(self._wire.send_close(NORMAL))
        self._writer.close()
        with contextlib.suppress(OSError):  # it was gone already
            await self._writer.wait_closed()


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise PeerError(INVALID_DATA, "the server's event is not a JSON object") from error


def describe(event: dict[str, Any]) -> str | None:
    """An event as a line for the terminal; None for what is not shown. Control characters do not reach the terminal."""
    match event:
        case {"type": "message", "username": name, "text": text}:
            line = f"{name}: {text}"
        case {"type": "room_info", "room": room, "count": count, "members": members}:
            line = f"* {room}: {count} here: {', '.join(members)}"
        case {"type": "user_joined", "username": name, "memberCount": count}:
            line = f"* {name} joined ({count} here)"
        case {"type": "user_left", "username": name, "memberCount": count}:
            line = f"* {name} left ({count} here)"
        case {"type": "error" | "warning", "message": message}:
            line = f"! {message}"
        case {"type": "gap"}:
            line = MISSING
        case _:
            return None
    return "".join(character if character.isprintable() else "�" for character in line)


class TerminalChat:
    """One person in one room, across connections.

    Args:
        url: the server's WebSocket.
        show: prints a line.
        token: says who that is, where the server wants to know; empty for none.
    """

    def __init__(self, url: str, room: str, username: str, show: Callable[[str], None], token: str = "") -> None:
        self._url = url
        self._room = room
        self._username = username
        self._show = show
        self._token = token
        self._socket: ClientSocket | None = None
        self._attempt = 0
        self._joined = asyncio.Event()
        self._session = ""
        self._since: dict[str, Any] | None = None
        self._prefix = os.urandom(8).hex()
        self._said = 0
        self._unanswered: dict[int, str] = {}
        self._answered = asyncio.Event()
        self._return_at: float | None = None

    async def run(self, lines: asyncio.StreamReader) -> None:
        """Talks until the lines end or the server says that it is over."""
        typing = asyncio.create_task(self._type(lines))
        listening = asyncio.create_task(self._listen())
        done, pending = await asyncio.wait((typing, listening), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    async def _type(self, lines: asyncio.StreamReader) -> None:
        await self._joined.wait()  # what is piped in is there before the connection is
        while True:
            try:
                line = await lines.readline()
            except ValueError:
                self._show("! that line is too long")
                continue
            if not line:
                break
            text = line.decode(errors="replace").strip()
            if not text:
                continue
            self._said += 1
            self._unanswered[self._said] = text
            if self._socket is None:
                self._show("! not connected; it is sent later")
            else:
                self._say(self._socket, self._said)
        while self._unanswered:
            self._answered.clear()
            await self._answered.wait()

    def _say(self, socket: ClientSocket, number: int) -> None:
        """Sends a message, perhaps again: the server knows it by its messageId."""
        message_id = f"{self._prefix}-{number}"
        socket.send({"type": "message", "id": number, "messageId": message_id, "text": self._unanswered[number]})

    async def _listen(self) -> None:
        while True:
            ended: Closed | None = None
            try:
                await self._converse()
            except HandshakeError as error:
                if error.status < 500 and error.status != 429:
                    raise ConfigError(str(error)) from error
                why = str(error)
            except Closed as closed:
                if closed.code in FINAL_CODES:
                    return
                ended, why = closed, str(closed)
            except ssl.SSLCertVerificationError as error:
                raise ConfigError(f"{self._url}: {error.verify_message}; SSL_CERT_FILE names the trusted") from error
            except (OSError, TimeoutError, PeerError) as error:
                why = str(error) or type(error).__name__
            delay = self._delay(ended)
            self._attempt += 1
            self._show(f"! {why}; next try in {delay:.0f} s")
            await asyncio.sleep(delay)

    def _delay(self, ended: Closed | None) -> float:
        """Seconds until the next try."""
        jitter = random.random()  # noqa: S311 -- spreads clients, guards nothing
        told, self._return_at = self._return_at, None
        left = None if told is None else max(told - asyncio.get_running_loop().time(), 0.0)
        return restart_delay(ended or Closed(LOST, ""), self._attempt, jitter, left)

    async def _converse(self) -> None:
        socket = await ClientSocket.connect(with_session(self._url, self._session), self._token)
        # Who comes for the first time sees what is said from now on.
        place = {"since": self._since, "history": HISTORY} if self._since else {}
        socket.send({"type": "join", "room": self._room, "username": self._username, **place})
        try:
            async for event in socket.events():
                self._take(socket, event)
        finally:
            self._socket = None
            await socket.close()

    def _take(self, socket: ClientSocket, event: dict[str, Any]) -> None:
        line = describe(event)
        if line is not None and (self._socket or event.get("type") != "error"):
            self._show(line)
        match event:
            case {"type": "connected", "session": session}:
                self._session = session
            case {"type": "reconnect", "after": after}:
                self._return_at = asyncio.get_running_loop().time() + after / 1000
            case {"type": "room_info", "epoch": epoch, "seq": seq}:
                self._enter(socket, event)
                self._since = {"epoch": epoch, "seq": seq}
            case {"type": "error", "message": message, "retryAfter": _} if self._socket is None:
                raise Closed(TRY_AGAIN_LATER, message)
            case {"type": "error", "message": message} if self._socket is None:
                raise ConfigError(message)
            case {"type": "ok" | "error", "id": number}:
                self._unanswered.pop(number, None)
                self._answered.set()
            case {"type": "gap", "epoch": epoch, "seq": seq}:
                self._since = {"epoch": epoch, "seq": seq}
            case {"type": "message", "seq": seq} if self._since:
                self._since["seq"] = seq

    def _enter(self, socket: ClientSocket, info: dict[str, Any]) -> None:
        """Shows what was missed, and says what had no answer."""
        self._socket, self._attempt = socket, 0
        self._joined.set()
        if info.get("recovered") is False:
            self._show(MISSING)
        for event in info.get("messages", ()):
            self._take(socket, event)
        for number in self._unanswered:
            self._say(socket, number)


async def chat(url: str, room: str, username: str, token: str = "") -> None:
    """Joins a room from the terminal; standard input is what is said.

    Raises:
        ConfigError: the URL is none, or the server refuses for good.
    """
    if not _TOKEN.fullmatch(token):
        raise ConfigError("the token is none: it has letters, digits and -._~+/= only")
    lines = asyncio.StreamReader()
    threading.Thread(target=_pump, args=(asyncio.get_running_loop(), lines), daemon=True).start()
    show = partial(print, flush=True)
    await TerminalChat(socket_url(url), room, username, show, token).run(lines)


def _pump(loop: asyncio.AbstractEventLoop, lines: asyncio.StreamReader) -> None:
    """Standard input to the loop, line by line, on a thread of its own: it may be a terminal, a pipe or a file."""
    with contextlib.suppress(RuntimeError):  # the chat is over
        # Unbuffered: a thread that waits inside of a buffered reader holds a lock that the interpreter's end needs.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as keys:
            while data := keys.read(READ_BYTES):
                loop.call_soon_threadsafe(lines.feed_data, data)
        loop.call_soon_threadsafe(lines.feed_eof)
