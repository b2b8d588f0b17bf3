"""A chat in the terminal: `hubbub.client` with a keyboard, and everything in plain lines."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from hubbub.client import Ended, Event, Hub, Lost, QueueFull, Refused, Room, Status, connect
from hubbub.errors import ConfigError

READ_BYTES: Final = 1 << 16
MISSING: Final = "! Some messages may be missing here"
# A connection that was ended, not refused.
FIRST_CLOSE_CODE: Final = 1000


def describe(event: Event) -> str | None:
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
    """One person in one room.

    Args:
        show: prints a line.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._online = False
        self._unanswered: set[asyncio.Task[None]] = set()

    def status(self, status: Status) -> None:
        """The connection came, or went."""
        self._online = status.online
        if not status.online:
            self._show(f"! {status.why}; next try in {status.retry_seconds:.0f} s")

    async def run(self, hub: Hub, room: Room, lines: asyncio.StreamReader) -> None:
        """Talks until the lines end or the server says that it is over."""
        warnings = asyncio.create_task(self._listen_to_others(hub))
        tasks = [asyncio.create_task(self._type(room, lines)), asyncio.create_task(self._listen(room))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (warnings, *tasks, *self._unanswered):
                task.cancel()
            await asyncio.gather(warnings, *tasks, *self._unanswered, return_exceptions=True)

    async def _listen(self, room: Room) -> None:
        async for event in room:
            self._tell(event)

    async def _listen_to_others(self, hub: Hub) -> None:
        async for event in hub.events():
            self._tell(event)

    def _tell(self, event: Event) -> None:
        line = describe(event)
        if line is not None:
            self._show(line)

    async def _type(self, room: Room, lines: asyncio.StreamReader) -> None:
        await room.ready()  # what is piped in is there before the connection is
        while True:
            try:
                line = await lines.readline()
            except ValueError:
                self._show("! that line is too long")
                continue
            if not line:
                break
            if text := line.decode(errors="replace").strip():
                self._say(room, text)
        while self._unanswered:
            await asyncio.wait(self._unanswered)

    def _say(self, room: Room, text: str) -> None:
        if not self._online:
            self._show("! not connected; it is sent later")
        task = asyncio.create_task(self._send(room, text))
        self._unanswered.add(task)
        task.add_done_callback(self._unanswered.discard)

    async def _send(self, room: Room, text: str) -> None:
        try:
            await room.send(text)
        except (Refused, Lost, QueueFull) as error:
            self._tell({"type": "error", "message": str(error)})
        except Ended:  # the room's end is told as well
            return


async def chat(url: str, room: str, username: str, token: str = "") -> None:
    """Joins a room from the terminal; standard input is what is said.

    Raises:
        ConfigError: the URL is none, or the server refuses for good.
    """
    lines = asyncio.StreamReader()
    threading.Thread(target=_pump, args=(asyncio.get_running_loop(), lines), daemon=True).start()
    talk = TerminalChat(partial(print, flush=True))
    hub = connect(url, token, on_status=talk.status)
    try:
        async with hub:
            await talk.run(hub, hub.join(room, username), lines)
    except Refused as error:
        raise ConfigError(error.message) from error
    except Ended as ended:
        if ended.code < FIRST_CLOSE_CODE:
            raise ConfigError(str(ended)) from ended


def _pump(loop: asyncio.AbstractEventLoop, lines: asyncio.StreamReader) -> None:
    """Standard input to the loop, line by line, on a thread of its own: it may be a terminal, a pipe or a file."""
    with contextlib.suppress(RuntimeError):  # the chat is over
        # Unbuffered: a thread that waits inside of a buffered reader holds a lock that the interpreter's end needs.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as keys:
            while data := keys.read(READ_BYTES):
                loop.call_soon_threadsafe(lines.feed_data, data)
        loop.call_soon_threadsafe(lines.feed_eof)
