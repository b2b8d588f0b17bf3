"""Players who see each other move: nothing to keep, nothing back to the sender. `hubbub serve examples.game:app`."""

from hubbub import Command, Connection, Event, Hubbub

app = Hubbub()


class Move(Command, tag="move"):
    """A player moves."""

    x: float
    y: float


class Moved(Event, tag="moved"):
    """A player has moved; to the others."""

    who: str
    x: float
    y: float


@app.on(Move)
def move(conn: Connection, cmd: Move) -> None:
    """Tells the other players."""
    conn.room.publish(Moved(conn.username, cmd.x, cmd.y), keep=False, exclude=conn)
