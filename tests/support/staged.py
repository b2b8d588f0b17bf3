"""What is served where a test or a picture needs a past: the default application, and a command that makes one up."""

from hubbub import Command, Connection, Hubbub
from hubbub.apps import default
from hubbub.apps.chat import Deleted, Edited, Said

app = Hubbub()
app.include(default.app)
app.rooms("long *", history=20_000)


class Tell(Command, tag="tell"):
    """What is to be in the room, whoever said it, at whatever time."""

    events: list[Said | Edited | Deleted]
    room: str = ""


@app.on(Tell)
def tell(conn: Connection, command: Tell) -> None:
    room = conn.member(command.room).room
    for event in command.events:
        room.publish(event)
