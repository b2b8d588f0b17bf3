"""What the tests serve: the chat, and beside it handlers and paths that exercise the rest of the public face."""

import asyncio
import dataclasses
from typing import Literal

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from hubbub import Command, CommandError, Connection, ConnectionInfo, Event, Publication
from hubbub.apps.chat import app

__all__ = ["app"]


class Fail(Command, tag="fail"):
    """A handler with a bug."""


class FailLater(Command, tag="fail_later"):
    """A coroutine handler with a bug."""


class Refuse(Command, tag="refuse"):
    """A handler that refuses."""


class Slow(Command, tag="slow"):
    """A coroutine handler that takes its time and then publishes."""

    text: str
    seconds: float = 0.05


class Stated(Event, tag="stated"):
    text: str


class State(Command, tag="state"):
    """A plain handler that publishes at once; answers when it is kept."""

    text: str


@app.on(Fail, verb=None)
def fail(conn: Connection, command: Fail) -> None:
    raise RuntimeError("a bug in a handler")


@app.on(FailLater, verb=None)
async def fail_later(conn: Connection, command: FailLater) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("a bug in a coroutine handler")


@app.on(Refuse, verb=None)
def refuse(conn: Connection, command: Refuse) -> None:
    raise CommandError("no", "not today")


@app.on(Slow)
async def slow(conn: Connection, command: Slow) -> Publication:
    await asyncio.sleep(command.seconds)
    return conn.room.publish(Stated(command.text))


@app.on(State)
def state(conn: Connection, command: State) -> Publication:
    return conn.room.publish(Stated(command.text))


@app.websocket("/echo", subprotocols=("echo.v1",))
def echo(conn: Connection, message: str | bytes) -> None:
    conn.send(message)


@app.websocket("/fail")
async def fail_raw(conn: Connection, message: str | bytes) -> None:
    raise RuntimeError("a bug in a handler of an own protocol")


@app.websocket("/relay")
def relay(conn: Connection, message: str | bytes) -> None:
    """An own protocol with rooms: the first text names the room, the rest goes to the others in it."""
    if not conn.rooms:
        conn.join(str(message), "anonymous")
        conn.send("joined")
    else:
        conn.room.publish(message, exclude=conn)


app.rooms("ticker-*", latest_only=True)
app.rooms("short-*", history=5)
app.rooms("newest-*", slow_readers="latest")
app.rooms("impatient-*", slow_readers="disconnect")


class Quote(Command, tag="quote"):
    """Publishes the value of a key."""

    key: str
    text: str


class Announce(Command, tag="announce"):
    """Publishes what each member is to acknowledge."""

    text: str


@app.on(Quote)
def quote(conn: Connection, command: Quote) -> Publication:
    return conn.room.publish(Stated(f"{command.key} {command.text}"), key=command.key)


@app.on(Announce)
def announce(conn: Connection, command: Announce) -> Publication:
    return conn.room.publish(Stated(command.text), confirm=True)


class Revoke(Command, tag="revoke"):
    """Ends credentials; everybody may, here."""

    kind: Literal["token", "user", "session"]
    subject: str


@app.on(Revoke, verb=None)
def revoke(conn: Connection, command: Revoke) -> Publication:
    return app.revoke(**{command.kind: command.subject})


class Disconnect(Command, tag="disconnect"):
    """Puts somebody out; everybody may, here."""

    user: str = ""
    session: str = ""
    connection: str = ""
    code: int = 4403


class PutOut(Event, tag="put_out"):
    count: int
    silent: list[str]


class Census(Command, tag="census"):
    """Asks who is connected."""

    user: str = ""
    of: str = ""
    after: str = ""
    limit: int = 100


class Counted(Event, tag="counted"):
    connections: list[ConnectionInfo]
    after: str
    silent: list[str]


class Proclaim(Command, tag="proclaim"):
    """Publishes into a room, wherever its members are."""

    into: str
    text: str
    keep: bool = True


@app.on(Disconnect, verb=None)
async def disconnect(conn: Connection, command: Disconnect) -> None:
    whom = {"user": command.user, "session": command.session, "connection": command.connection}
    result = await app.disconnect(**whom, code=command.code)
    conn.send(PutOut(result.count, list(result.silent)))


@app.on(Census, verb=None)
async def census(conn: Connection, command: Census) -> None:
    page = await app.connections(user=command.user, room=command.of, after=command.after, limit=command.limit)
    conn.send(Counted(list(page.connections), page.after, list(page.silent)))


@app.on(Proclaim, verb=None)
def proclaim(conn: Connection, command: Proclaim) -> Publication:
    return app.room(command.into).publish(Stated(command.text), keep=command.keep)


async def counters(scope: Scope, receive: Receive, send: Send) -> None:
    """What the hub has counted, over HTTP: no limit on messages or connections is in the way."""
    hub = app._hub
    assert hub is not None
    counted = {**dataclasses.asdict(hub.counters), "connections": len(hub.connections), "polls": hub.polls.waiting}
    await JSONResponse(counted)(scope, receive, send)


app.mounts.insert(0, ("/counters", counters))  # before the pages, which are below /
