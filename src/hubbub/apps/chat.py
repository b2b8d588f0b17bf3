"""The chat: messages, typing, and a page. Joining, leaving and who is here come with the protocol."""

from pathlib import Path

from starlette.staticfiles import StaticFiles

from hubbub import Command, CommandError, Connection, Event, Hubbub, MessageId, Publication, Room

LONGEST_TEXT = 2000
MOST_SEEN_BY = 50

app = Hubbub()
app.mount("/", StaticFiles(directory=Path(__file__).parent / "chat_page", html=True))


class Say(Command, tag="message"):
    """Somebody says something to the room."""

    text: str = ""
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


@app.on(Say)
def say(conn: Connection, command: Say) -> Publication:
    """Keeps the text and sends it to all; texts that are empty or too long are refused."""
    room = conn.room_in(command.room)
    text = command.text.strip()
    if not text or len(text) > LONGEST_TEXT:
        raise CommandError("invalid_message", f"A message has 1 to {LONGEST_TEXT} characters")
    said = Said(conn.username_in(room), text, command.message_id or conn.new_id(), conn.now_ms())
    return room.publish(said, once=conn.once(command.message_id, text))


@app.on(StartTyping)
def typing(conn: Connection, command: StartTyping) -> None:
    """Tells the others; nothing to keep."""
    room = conn.room_in(command.room)
    room.publish(Typing(conn.username_in(room)), keep=False, exclude=conn)


@app.on_ack
def seen(conn: Connection, room: Room, seq: int) -> None:
    """Tells the others how far somebody has read, where there are few enough to look at it."""
    username = conn.username_in(room)
    if username and room.count <= MOST_SEEN_BY:
        room.publish(Seen(username, seq), keep=False, exclude=conn)
