"""The operations on rooms: to say something there, to read what was said, who is there, and how far one has read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub.codes import INVALID_MESSAGE
from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.calls import AskCursor
from hubbub.hub.control import RoomCount
from hubbub.hub.operator import Operator
from hubbub.transports.api_operation import (
    Answer,
    AnyCommand,
    Api,
    OneCommand,
    Operation,
    Query,
    Refusal,
    Request,
    body_of,
    call,
    fields_of,
)
from hubbub.wire.messages import Ack, Command, History, Ok, Presence
from hubbub.wire.places import format_places

ROOM: Final = "/api/rooms/{room}"
MESSAGES: Final = ROOM + "/messages"
Place = Annotated[
    str,
    Meta(
        pattern=r"^([!-9;-~]{1,64}:)?[0-9]{1,15}$",
        description="A `seq`, or with its epoch `epoch:seq`. Behind `after` the oldest come first; it beats `before`.",
    ),
]
"""A place in a room's log."""


Session = Annotated[str, Meta(description="The token of a session: messages and cursors are that session's.")]


class Speaker(Query):
    """Who asks, beside its credentials."""

    session: Session = ""
    username: Annotated[
        str, Meta(description="The name to speak under, as in `join`; counts where credentials say none.")
    ] = ""


class Pages(Speaker):
    """Which part of a room's history."""

    before: Place | UnsetType = UNSET
    after: Place | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Catalogue(Query):
    """Which part of the rooms."""

    session: Session = ""
    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 100


class Crowd(Speaker):
    """Which part of a room's members."""

    offset: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


class Done(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a command was answered with.

    Attributes:
        seq: the number of what was published, once it is kept.
        epoch: with it, the seq is a position.
        message_id: the Idempotency-Key, where there was one.
        events: what else the application has said to the caller.
    """

    seq: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    message_id: str | UnsetType = UNSET
    events: list[dict[str, Any]] | UnsetType = UNSET


class Page(msgspec.Struct):
    """A part of a room's history.

    Attributes:
        messages: events as members get them; the newest first, behind `after` the oldest first.
        epoch: names the life of the log.
        more: there is more in this direction.
        next: what to give as `before` or `after` for that; null where there is none.
    """

    messages: list[dict[str, Any]]
    epoch: str
    more: bool
    next: str | None


class Members(msgspec.Struct):
    """Some of the members of a room, on all nodes, in the order in which they came."""

    room: str
    members: list[str]
    count: int


class Catalog(msgspec.Struct):
    """Some of the rooms that somebody is in, in the order of their names.

    Attributes:
        next: what to give as `after` for more; null where these are the last.
    """

    rooms: list[RoomCount]
    next: str | None


class Cursor(msgspec.Struct):
    """How far somebody has read.

    Attributes:
        acked: the seq up to which all has been received; null where nothing was acknowledged.
        unread: how many events came after it.
    """

    room: str
    epoch: str
    acked: int | None
    unread: int | None


class SetCursor(msgspec.Struct):
    """All events up to `seq` have been received; it never goes back."""

    seq: Annotated[int, Meta(ge=0, le=2**53)]


class Named(msgspec.Struct):
    """What a body may say beside the command."""

    username: str = ""


async def _send(api: Api, request: Request, tag: str) -> Answer:
    kind = api.calls.commands[tag]
    username = "" if "username" in kind.__struct_encode_fields__ else _username_of(request.body)
    key = request.idempotency_key
    fields = fields_of(kind, room=request.room, messageId=key)
    if key and tag != "typing" and "messageId" not in fields:
        raise CommandError(INVALID_MESSAGE, f"A {tag} has no messageId: it cannot be told from its repeat")
    command = api.calls.command(request.body or b"{}", {"type": tag, **fields})
    reply = await call(api, request, command, username)
    assert isinstance(reply.said, Ok)
    return _done(reply.said, reply.events)


def _username_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=Named).username if body else ""
    except msgspec.ValidationError as error:
        if "$.username" in str(error):
            raise CommandError(INVALID_MESSAGE, str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return ""  # it is no object: the command's decoder says so


def _done(ok: Ok, events: Sequence[msgspec.Raw]) -> Answer:
    """The fields of an `ok` without those that are for a connection."""
    fields: dict[str, object] = {**_fields_of(msgspec.json.encode(ok))}
    del fields["type"], fields["id"]
    if events:
        fields["events"] = list(events)
    return Answer(fields or None)


_fields_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def say(api: Api, request: Request) -> Answer:
    """The application's `message`."""
    return await _send(api, request, "message")


async def typing(api: Api, request: Request) -> Answer:
    """The application's `typing`."""
    return await _send(api, request, "typing")


async def publish(api: Api, request: Request) -> Answer:
    """An event of the client's own."""
    return await _send(api, request, "publish")


async def command(api: Api, request: Request) -> Answer:
    """Any command of the application."""
    try:
        tag = msgspec.json.decode(request.body, type=Tagged).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        tag = ""
    if tag not in api.calls.commands:
        raise _unknown(api, request)
    return await _send(api, request, tag)


class Tagged(msgspec.Struct):
    """What tells commands apart."""

    type: str


def _unknown(api: Api, request: Request) -> Exception:
    """Why a body is no command."""
    try:
        api.calls.command(request.body, {})
    except CommandError as error:
        return error
    return HandshakeError(400, "the body is no command")


class Numbered(msgspec.Struct):
    """A kept event, as far as pages are concerned."""

    seq: int


_decode_seq = msgspec.json.Decoder(Numbered).decode


async def history(api: Api, request: Request) -> Answer:
    """A page of kept events."""
    query: Pages = request.query
    forwards = query.after is not UNSET
    epoch, _, digits = str(query.after if forwards else "" if query.before is UNSET else query.before).rpartition(":")
    seq = int(digits) if digits else None
    asked = History(room=request.room, limit=query.limit)
    asked.before, asked.after = (None, seq) if forwards else (seq, None)
    said = (await call(api, request, asked)).said
    assert isinstance(said, Ok)
    assert isinstance(said.messages, list)
    if epoch and epoch != said.epoch:
        raise Refusal(410, "the log that this place is of was lost; begin anew", {"epoch": said.epoch})
    messages = said.messages if forwards else said.messages[::-1]
    more = bool(said.more and messages)
    end = format_places([(str(said.epoch), _decode_seq(messages[-1]).seq)]) if more else None
    return Answer({"messages": messages, "epoch": said.epoch, "more": more, "next": end})


async def members(api: Api, request: Request) -> Answer:
    """A page of who is in a room."""
    query: Crowd = request.query
    asked = Presence(room=request.room, offset=query.offset, limit=query.limit)
    said = (await call(api, request, asked)).said
    assert isinstance(said, Ok)
    return Answer({"room": said.room, "members": said.members, "count": said.count})


async def cursor(api: Api, request: Request) -> Answer:
    """How far the caller has read."""
    said = (await call(api, request, AskCursor(room=request.room))).said
    assert isinstance(said, Ok)
    return _cursor(request, said)


async def set_cursor(api: Api, request: Request) -> Answer:
    """The caller has read up to here."""
    seq = body_of(request, SetCursor).seq
    try:
        said = (await call(api, request, Ack(room=request.room, seq=seq))).said
    except Refusal as refusal:
        if refusal.more["code"] == INVALID_MESSAGE:  # the log ends before that
            raise Refusal(409, refusal.reason, refusal.more) from None
        raise
    assert isinstance(said, Ok)
    return _cursor(request, said)


MOST_LOOKED_AT: Final = 1000
MOST_ROUNDS: Final = 5
"""So many rooms, so many times, are looked at for one request: most of them may be none that the caller may see."""


async def list_rooms(api: Api, request: Request) -> Answer:
    """The rooms that somebody is in, of those that the caller may see."""
    query: Catalogue = request.query
    visitor = request.visitor
    caller = api.calls.caller(visitor.identity, visitor.remote, query.session)
    api.calls.count(caller, heavy=True)
    visible: list[RoomCount] = []
    after = query.after
    for _ in range(MOST_ROUNDS):
        page = await Operator(api.hub).rooms(after=after, limit=MOST_LOOKED_AT)
        for room in page.rooms:
            if await api.calls.may_see(caller, room.name):
                visible.append(room)
            if len(visible) > query.limit:
                # Where to go on is a name that the caller sees: of others it hears nothing.
                return Answer({"rooms": visible[:-1], "next": visible[-2].name})
        after = page.after
        if not after:
            break
        await asyncio.sleep(0)  # others have their turn
    return Answer({"rooms": visible, "next": None})


def _cursor(request: Request, said: Ok) -> Answer:
    acked = None if said.seq is UNSET else said.seq
    unread = None if said.unread is UNSET else said.unread
    return Answer({"room": request.room, "epoch": said.epoch, "acked": acked, "unread": unread})


READING: Final = (
    Operation(
        name="listRooms",
        method="GET",
        path="/api/rooms",
        summary="The rooms that somebody is in, of those that the caller may enter and look at.",
        carry_out=list_rooms,
        query=Catalogue,
        answer=Catalog,
        tagged=True,
    ),
    Operation(
        name="readMessages",
        method="GET",
        path=MESSAGES,
        summary="The room's history, a page at a time: the newest first, or all that came after a place.",
        carry_out=history,
        query=Pages,
        answer=Page,
        refused=(410,),
        tagged=True,
    ),
    Operation(
        name="listMembers",
        method="GET",
        path=ROOM + "/members",
        summary="Who is in the room, on all nodes.",
        carry_out=members,
        query=Crowd,
        answer=Members,
        tagged=True,
    ),
    Operation(
        name="readCursor",
        method="GET",
        path=ROOM + "/cursor",
        summary="How far the caller, a user or a session, has read, and how much came since.",
        carry_out=cursor,
        query=Speaker,
        answer=Cursor,
    ),
    Operation(
        name="moveCursor",
        method="PUT",
        path=ROOM + "/cursor",
        summary="The caller has received all events up to `seq`.",
        carry_out=set_cursor,
        query=Speaker,
        body=SetCursor,
        answer=Cursor,
        refused=(409,),
    ),
)
"""What is the same for all applications: to read, and how far one has read."""


def room_operations(commands: Mapping[str, type[Command]]) -> list[Operation]:
    """The operations on rooms of an application with these commands, by their types on the wire."""
    return [
        *READING,
        Operation(
            name="sendCommand",
            method="POST",
            path=ROOM + "/commands",
            summary="Any command of the application's, as over a WebSocket; `room` is the path's.",
            carry_out=command,
            query=Speaker,
            body=AnyCommand(tuple(commands.values())),
            answer=Done,
            empty=True,
            key=True,
            refused=(404, 409),
        ),
        Operation(
            name="publishEvent",
            method="POST",
            path=ROOM + "/events",
            summary="An event of the client's own, where the application allows it.",
            carry_out=publish,
            query=Speaker,
            body=OneCommand(commands["publish"]),
            answer=Done,
            empty=True,
            key=True,
            refused=(409,),
        ),
        *_chat(commands),
    ]


def _chat(commands: Mapping[str, type[Command]]) -> list[Operation]:
    """Those of an application that has messages and typing, as a chat."""
    operations = []
    if "message" in commands:
        operations.append(
            Operation(
                name="sendMessage",
                method="POST",
                path=MESSAGES,
                summary="Says something to the room; answered once it is kept.",
                carry_out=say,
                query=Speaker,
                body=OneCommand(commands["message"]),
                answer=Done,
                empty=True,
                key=True,
                refused=(404, 409),
            )
        )
    if "typing" in commands:
        operations.append(
            Operation(
                name="sendTyping",
                method="POST",
                path=ROOM + "/typing",
                summary="Tells the others in the room that somebody presses keys.",
                carry_out=typing,
                query=Speaker,
                body=OneCommand(commands["typing"]),
                answer=Done,
                empty=True,
                refused=(404, 409),
            )
        )
    return operations
