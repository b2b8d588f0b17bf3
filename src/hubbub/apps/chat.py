"""The chat: messages, typing, and a page. Joining, leaving and who is here come with the protocol."""

from hashlib import blake2b
from typing import Annotated
from unicodedata import combining, normalize

import msgspec
from msgspec import Meta

from hubbub import Command, CommandError, Connection, Event, Hubbub, Member, MessageId, Publication
from hubbub.apps.static import Pages

LONGEST_TEXT = 2000
NO_SPACE = r"[^\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
MOST_SEEN_BY = 50
MOST_MARKS = 30  # as in Unicode's stream-safe text

Text = Annotated[str, Meta(extra_json_schema={"pattern": NO_SPACE, "maxLength": LONGEST_TEXT})]

app = Hubbub()
app.mount("/", Pages())


class Say(Command, tag="message"):
    """Somebody says something to the room."""

    text: Text = ""
    room: str = ""
    message_id: MessageId = ""


class Said(Event, tag="message", omit_defaults=True):
    """Somebody said something; to all, the sender included.

    Attributes:
        author: what shows that its sender may change it, see `author_of`; empty for what cannot be changed.
    """

    username: str
    text: str
    message_id: str
    timestamp: int
    author: str = ""


class Change(Command):
    """What changes the message of a position: that of another epoch is not taken for it."""

    epoch: str
    of: Annotated[int, Meta(ge=1)]
    room: str = ""


class Edit(Change, tag="edit"):
    """Somebody says something in other words."""

    text: Text = ""


class Edited(Event, tag="edited"):
    """The message `of` has another text; to all."""

    username: str
    of: int
    text: str
    timestamp: int


class Delete(Change, tag="delete"):
    """Somebody takes something back."""


class Deleted(Event, tag="deleted"):
    """The message `of` is to be shown no more; to all. The log holds it for as long as it would have."""

    username: str
    of: int
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


_decode_said = msgspec.json.Decoder(Said).decode


def in_normal_form(text: str) -> str:
    """The text in normal form C; as it is where a character has so many marks that ordering them takes milliseconds."""
    marks = bytes(map(combining, text)).split(b"\0")
    return normalize("NFC", text) if max(map(len, marks)) <= MOST_MARKS else text


def clean(text: str) -> str:
    """The text as it is published; one that is empty or too long is refused."""
    text = text.strip()
    if not text or len(text) > LONGEST_TEXT:
        raise CommandError("invalid_message", f"A message has 1 to {LONGEST_TEXT} characters")
    return text if text.isascii() else in_normal_form(text)


def author_of(conn: Connection, message_id: str) -> str:
    """What only the sender's user or session comes to for this message, and says nothing of who that is.

    Empty where the client named no message, or does not come back as the same one.
    """
    if not message_id or not conn.lasting:
        return ""
    return blake2b(message_id.encode(), key=blake2b(conn.key.encode()).digest(), digest_size=12).hexdigest()


@app.on(Say)
def say(conn: Connection, command: Say) -> Publication:
    """Keeps the text and sends it to all; texts that are empty or too long are refused."""
    member = conn.member(command.room)
    text, given = clean(command.text), command.message_id
    said = Said(member.username, text, given or conn.new_id(), conn.now_ms(), author_of(conn, given))
    return member.room.publish(said, once=conn.once(given, text))


async def own_message(conn: Connection, command: Change) -> Member:
    """Who the client is in the room of its own message that it wants to change."""
    member = conn.member(command.room)
    room = member.room
    payload = await room.read(command.of) if room.epoch == command.epoch else None
    try:
        said = _decode_said(payload or b"")
    except msgspec.DecodeError:
        said = None
    if said is None:
        raise CommandError("invalid_message", "There is no such message")
    if not said.author or said.author != author_of(conn, said.message_id):
        raise CommandError("forbidden", "Only your own messages can be changed")
    return conn.member(room.name)


@app.on(Edit)
async def edit(conn: Connection, command: Edit) -> Publication:
    """Tells all the new text of one's own message."""
    text = clean(command.text)
    member = await own_message(conn, command)
    return member.room.publish(Edited(member.username, command.of, text, conn.now_ms()))


@app.on(Delete)
async def delete(conn: Connection, command: Delete) -> Publication:
    """Tells all that one's own message is taken back."""
    member = await own_message(conn, command)
    return member.room.publish(Deleted(member.username, command.of, conn.now_ms()))


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
