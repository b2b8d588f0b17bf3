"""What the dashboard's tests serve: the default application, and commands that make its values move."""

import asyncio

from hubbub import Command, Connection, Hubbub
from hubbub.apps import default

app = Hubbub()
app.include(default.app)


class Fail(Command, tag="fail"):
    """A handler with a bug."""


class Slow(Command, tag="slow"):
    """A handler that takes its time."""

    seconds: float


@app.on(Fail, verb=None)
def fail(conn: Connection, command: Fail) -> None:
    raise RuntimeError("a bug in a handler")


@app.on(Slow, verb=None)
async def slow(conn: Connection, command: Slow) -> None:
    await asyncio.sleep(command.seconds)
