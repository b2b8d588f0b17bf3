"""What the dashboard's tests serve: the default application, and commands that move its values, or give it a past."""

import asyncio

from hubbub import Command, Connection, Hubbub
from hubbub.apps import dashboard, default

app = Hubbub()
app.include(default.app)


class Fail(Command, tag="fail"):
    """A handler with a bug."""


class Slow(Command, tag="slow"):
    """A handler that takes its time."""

    seconds: float


class Past(Command, tag="past"):
    """The server has measured for so many seconds, and not in those of `missing`, by how long ago they were."""

    seconds: int
    missing: tuple[int, int]


@app.on(Past, verb=None)
def measured_before(conn: Connection, command: Past) -> None:
    now, room, state = conn.now_ms() // 1000, app.room(dashboard.ROOM), app.room(dashboard.STATE_ROOM)
    for ago in range(command.seconds, 0, -1):
        if not command.missing[0] >= ago > command.missing[1]:
            data, timestamp = dashboard.Data(ago, 1, 2, 3, 50, 50), (now - ago) * 1000
            room.publish(dashboard.Metrics(data, timestamp))
            state.publish(dashboard.Nodes([], timestamp), key="nodes")


@app.on(Fail, verb=None)
def fail(conn: Connection, command: Fail) -> None:
    raise RuntimeError("a bug in a handler")


@app.on(Slow, verb=None)
async def slow(conn: Connection, command: Slow) -> None:
    await asyncio.sleep(command.seconds)
