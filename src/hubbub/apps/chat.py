"""The chat: messages, typing, and a page. Joining, leaving and who is here come with the protocol."""

from pathlib import Path

from starlette.staticfiles import StaticFiles

from hubbub import Command, CommandError, Connection, Event, Hubbub, Publication

LONGEST_TEXT = 2000

app = Hubbub()
app.mount("/", StaticFiles(directory=Path(__file__).parent / "chat_page", html=True))


class Say(Command, tag="message"):
    """Somebody says something to the room."""

    text: str = ""


class Said(Event, tag="message"):
    """Somebody said something; to all, the sender included."""

    username: str
    text: str
    message_id: str
    timestamp: int


class StartTyping(Command, tag="typing"):
    """Somebody presses keys."""


class Typing(Event, tag="typing"):
    """Somebody presses keys; to the others."""

    username: str


@app.on(Say)
def say(conn: Connection, command: Say) -> Publication:
    """Keeps the text and sends it to all; texts that are empty or too long are refused."""
    room = conn.room
    text = command.text.strip()
    if not text or len(text) > LONGEST_TEXT:
        raise CommandError("invalid_message", f"A message has 1 to {LONGEST_TEXT} characters")
    return room.publish(Said(conn.username, text, conn.new_id(), conn.now_ms()))


@app.on(StartTyping)
def typing(conn: Connection, command: StartTyping) -> None:
    """Tells the others; nothing to keep."""
    conn.room.publish(Typing(conn.username), keep=False, exclude=conn)
