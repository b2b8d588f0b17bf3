"""The chat: messages, typing, and a page. Joining, leaving and who is here come with the protocol."""

from pathlib import Path
from typing import Annotated
from unicodedata import combining, normalize

from msgspec import Meta
from starlette.staticfiles import StaticFiles

from hubbub import Command, CommandError, Connection, Event, Hubbub, Member, MessageId, Publication
from hubbub.apps.static import Pages

LONGEST_TEXT = 2000
NO_SPACE = r"[^\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
MOST_SEEN_BY = 50
MOST_MARKS = 30  # as in Unicode's stream-safe text

app = Hubbub()
app.mount("/next", Pages())  # what comes next: the pages of web/app, until they can do what this one can
app.mount("/", StaticFiles(directory=Path(__file__).parent / "chat_page", html=True))


class Say(Command, tag="message"):
    """Somebody says something to the room."""

    text: Annotated[str, Meta(extra_json_schema={"pattern": NO_SPACE, "maxLength": LONGEST_TEXT})] = ""
    room: str = ""
    message_id: MessageId = ""


class Said(Event, tag="message"):
    """Somebody said something; to all, the sender included."""

    username: str
    text: str
    message_id: str
    timestamp: int


class Seen(Event, tag="seen"):
    """Somebody has read everything up to `seq`; to the others."""

    username: str
    seq: int


class StartTyping(Command, tag="typing"):
    """Somebody presses keys."""

    room: str = ""


class Typing(Event, tag="typing"):
    """Somebody presses keys; to the others."""

    username: str


def in_normal_form(text: str) -> str:
    """The text in normal form C; as it is where a character has so many marks that ordering them takes milliseconds."""
    marks = bytes(map(combining, text)).split(b"\0")
    return normalize("NFC", text) if max(map(len, marks)) <= MOST_MARKS else text


@app.on(Say)
def say(conn: Connection, command: Say) -> Publication:
    """Keeps the text and sends it to all; texts that are empty or too long are refused."""
    member = conn.member(command.room)
    text = command.text.strip()
    if not text or len(text) > LONGEST_TEXT:
        raise CommandError("invalid_message", f"A message has 1 to {LONGEST_TEXT} characters")
    if not text.isascii():
        text = in_normal_form(text)
    said = Said(member.username, text, command.message_id or conn.new_id(), conn.now_ms())
    return member.room.publish(said, once=conn.once(command.message_id, text))


@app.on(StartTyping)
def typing(conn: Connection, command: StartTyping) -> None:
    """Tells the others; nothing to keep."""
    member = conn.member(command.room)
    member.room.publish(Typing(member.username), keep=False, exclude=conn)


@app.on_ack
def seen(member: Member, seq: int) -> None:
    """Tells the others how far somebody has read, where there are few enough to look at it."""
    if member.username and member.room.count <= MOST_SEEN_BY:
        member.room.publish(Seen(member.username, seq), keep=False, exclude=member.connection)
