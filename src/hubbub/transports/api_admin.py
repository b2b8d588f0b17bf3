"""The operator's operations, on all nodes: publish, put out, lock out, and see who is connected and where."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hubbub.codes import INVALID_MESSAGE, INVALID_NAME, REMOVED, UNAVAILABLE
from hubbub.errors import BrokerError, CommandError
from hubbub.hub.commands import OURS, THEIRS, content_of
from hubbub.hub.control import ConnectionInfo, RoomCount
from hubbub.hub.dispatch import RETRY_MS
from hubbub.hub.limits import clean_room
from hubbub.hub.operator import Operator
from hubbub.hub.publication import Publication
from hubbub.transports.api_operation import ROOM_NAME, Answer, Api, Operation, Query, Refusal, Request, body_of

ADMIN: Final = "/api/admin"
LONGEST_REASON: Final = 123
"""Bytes of a close frame's (RFC 6455, section 5.5)."""
Name = Annotated[str, Meta(min_length=1, max_length=256)]


EVENT: Final[dict[str, Any]] = {
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "minLength": 1, "not": {"enum": sorted(OURS)}},
        **{name: {"not": {}} for name in sorted(THEIRS)},
    },
}
"""What an event of somebody's own looks like."""


def one_of(*names: str) -> dict[str, Any]:
    """What a schema says where exactly one of several fields is to be given."""
    return {"oneOf": [{"required": [name]} for name in names]}


def given(body: ToDisconnect | ToRevoke, *names: str) -> dict[str, str]:
    """Which of several fields is given.

    Raises:
        CommandError: `invalid_message`: not exactly one.
    """
    found = {name: getattr(body, name) for name in names if getattr(body, name) is not UNSET}
    if len(found) != 1:
        raise CommandError(INVALID_MESSAGE, f"Give one of {', '.join(names)}")
    return found


class EventToPublish(msgspec.Struct):
    """An event for a room, as an application would publish it.

    Attributes:
        event: has a `type` that is none of the protocol's own, and no `room` or `seq`.
        keep: give it a seq, and keep it.
        key: what it is the value of, in a latest-only room.
    """

    room: Annotated[str, Meta(extra_json_schema={"pattern": ROOM_NAME})]
    event: Annotated[dict[str, Any], Meta(extra_json_schema=EVENT)]
    keep: bool = True
    key: str = ""


class ToDisconnect(msgspec.Struct):
    """Whose connections are closed: one of `user`, `session` (its id) and `connection`.

    Attributes:
        reason: told to whom it concerns; what does not fit into a close frame, 123 bytes, is cut.
    """

    SCHEMA: ClassVar[dict[str, Any]] = one_of("user", "session", "connection")
    user: Name | UnsetType = UNSET
    session: Name | UnsetType = UNSET
    connection: Name | UnsetType = UNSET
    code: Annotated[int, Meta(ge=3000, le=4999)] = REMOVED
    reason: str = "removed"


class ToRevoke(msgspec.Struct):
    """What counts no more: one of `token` (its `jti`), `user` and `session` (its id)."""

    SCHEMA: ClassVar[dict[str, Any]] = one_of("token", "user", "session")
    token: Name | UnsetType = UNSET
    user: Name | UnsetType = UNSET
    session: Name | UnsetType = UNSET


class Published(msgspec.Struct):
    """Where an event was kept; both null where it was not to be."""

    seq: int | None
    epoch: str | None


class PutOut(msgspec.Struct):
    """How many connections were closed, and the nodes that have not answered."""

    count: int
    silent: list[str]


class Connections(msgspec.Struct):
    """Some of the connections, in the order of their ids.

    Attributes:
        next: what to give as `after` for more; null where these are the last.
        silent: nodes that have not answered.
    """

    connections: list[ConnectionInfo]
    next: str | None
    silent: list[str]


class Rooms(msgspec.Struct):
    """Some of the rooms that somebody is in, in the order of their names.

    Attributes:
        next: what to give as `after` for more; null where these are the last.
        silent: nodes that have not answered.
    """

    rooms: list[RoomCount]
    next: str | None
    silent: list[str]


class Node(msgspec.Struct):
    """A node that lives.

    Attributes:
        rooms: that somebody is in there.
        draining: it sends its clients away, because it stops.
    """

    id: str
    connections: int
    rooms: int
    draining: bool


class Nodes(msgspec.Struct):
    """The nodes that live.

    Attributes:
        this: which of them has answered.
        silent: those that have not told what they have.
    """

    nodes: list[Node]
    this: str
    silent: list[str]


class Who(Query):
    """Which connections."""

    user: str = ""
    room: str = ""
    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Where(Query):
    """Which rooms."""

    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


async def publish(api: Api, request: Request) -> Answer:
    """Publishes into a room, wherever its members are."""
    body = body_of(request, EventToPublish)
    name, key = clean_room(body.room), request.idempotency_key
    if not name:
        raise CommandError(INVALID_NAME, "A room has a name")
    if key and not body.keep:
        raise Refusal(409, "Only an event that is kept can be told from its repeat", {"code": INVALID_MESSAGE})
    content = content_of(body.event)
    caller = api.calls.caller(request.visitor.identity, request.visitor.remote)
    room = api.hub.room(name)
    room.holds += 1
    try:
        once = caller.once(key, f"{body.key}\n{content}")
        published = room.publish(body.event, keep=body.keep, key=body.key, once=once)
        await settled(published)
        return Answer({"seq": published.seq, "epoch": room.epoch if published.seq is not None else None})
    finally:
        room.holds -= 1
        room.close_unused()


async def settled(publication: Publication) -> None:
    """Returns once it is kept.

    Raises:
        BrokerError, CommandError: it is not.
    """
    known: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    publication.when_settled(lambda done: None if known.done() else known.set_result(done.error))
    error = await known
    if isinstance(error, BrokerError):
        raise CommandError(UNAVAILABLE, "The room's log cannot be used now", RETRY_MS)
    if error is not None:
        raise error


async def disconnect(api: Api, request: Request) -> Answer:
    """Puts somebody out."""
    body = body_of(request, ToDisconnect)
    reason = body.reason.encode()[:LONGEST_REASON].decode(errors="ignore")
    whom = given(body, "user", "session", "connection")
    done = await Operator(api.hub).disconnect(**whom, code=body.code, reason=reason)
    return Answer({"count": done.count, "silent": done.silent})


async def revoke(api: Api, request: Request) -> Answer:
    """Has credentials count no more; answered once that is kept."""
    body = body_of(request, ToRevoke)
    revoked = Operator(api.hub).revoke(**given(body, "token", "user", "session"))
    await settled(revoked)
    return Answer()


async def connections(api: Api, request: Request) -> Answer:
    """Who is connected."""
    query: Who = request.query
    page = await Operator(api.hub).connections(user=query.user, room=query.room, after=query.after, limit=query.limit)
    return Answer({"connections": page.connections, "next": page.after or None, "silent": page.silent})


async def rooms(api: Api, request: Request) -> Answer:
    """Which rooms somebody is in."""
    query: Where = request.query
    page = await Operator(api.hub).rooms(after=query.after, limit=query.limit)
    return Answer({"rooms": page.rooms, "next": page.after or None, "silent": page.silent})


async def nodes(api: Api, request: Request) -> Answer:
    """Which nodes live."""
    found, silent = await Operator(api.hub).nodes()
    listed = [{"id": n.id, "connections": n.connections, "rooms": n.rooms, "draining": n.draining} for n in found]
    listed.sort(key=lambda node: str(node["id"]))
    return Answer({"nodes": listed, "this": api.hub.broker.node_id, "silent": silent})


ADMIN_OPERATIONS: Final = (
    Operation(
        name="publish",
        method="POST",
        path=ADMIN + "/publish",
        summary="Publishes an event into a room.",
        carry_out=publish,
        body=EventToPublish,
        answer=Published,
        key=True,
        refused=(409,),
        tag="operators",
        operator=True,
    ),
    Operation(
        name="disconnect",
        method="POST",
        path=ADMIN + "/disconnect",
        summary="Closes connections, on whichever nodes they are. It keeps nobody from coming back.",
        carry_out=disconnect,
        body=ToDisconnect,
        answer=PutOut,
        tag="operators",
        operator=True,
    ),
    Operation(
        name="revoke",
        method="POST",
        path=ADMIN + "/revoke",
        summary="Ends a token, all that a user was given so far, or a session; on all nodes, and for good.",
        carry_out=revoke,
        body=ToRevoke,
        empty=True,
        tag="operators",
        operator=True,
    ),
    Operation(
        name="findConnections",
        method="GET",
        path=ADMIN + "/connections",
        summary="Who is connected, on all nodes.",
        carry_out=connections,
        query=Who,
        answer=Connections,
        tag="operators",
        operator=True,
    ),
    Operation(
        name="findRooms",
        method="GET",
        path=ADMIN + "/rooms",
        summary="Which rooms somebody is in, on all nodes.",
        carry_out=rooms,
        query=Where,
        answer=Rooms,
        tag="operators",
        operator=True,
    ),
    Operation(
        name="findNodes",
        method="GET",
        path=ADMIN + "/nodes",
        summary="Which nodes live, and what they have.",
        carry_out=nodes,
        answer=Nodes,
        tag="operators",
        operator=True,
    ),
)
"""The operations for those who have an API key."""
