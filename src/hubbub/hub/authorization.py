"""What a client may do in which room: its own grants, then the application's word. What is refused looks alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from hubbub.codes import FORBIDDEN, NOT_IN_ROOM, RATE_LIMITED
from hubbub.errors import CommandError
from hubbub.hub.limits import clean_room
from hubbub.hub.steps import Steps
from hubbub.wire.messages import Join, Subscribe

if TYPE_CHECKING:
    from hubbub.hub.connection import Connection

Handler = Callable[["Connection", Any], Any]
Authorizer = Callable[["Connection", str, str], bool | Awaitable[bool]]
"""Whether a connection may do something (a verb) in a room (its name)."""


def guard(handler: Handler, verb: str) -> Handler:
    """Makes of a command's handler one that is only called when the client may do what the command says.

    Args:
        handler: called with the connection and the command.
        verb: what must be allowed in the room that the command is for.
    """
    carry_out = _limited(handler) if verb == "publish" else handler

    def guarded(connection: Connection, command: Any) -> Any:
        name, verbs = _asked(connection, command, verb)
        if not name:  # nowhere to enter: the handler says so
            return carry_out(connection, command)
        check_grants(connection, verbs, name)
        if name in connection._hub.closed_rooms.get(type(command), ()):
            raise CommandError(FORBIDDEN, "Not allowed")
        if connection._hub.authorizer is None:
            return carry_out(connection, command)
        return _once_authorized(connection, verbs, name, carry_out, command)

    return guarded


def _asked(connection: Connection, command: Any, verb: str) -> tuple[str, tuple[str, ...]]:
    """The room that a command is for, and what must be allowed there."""
    if isinstance(command, Join | Subscribe):
        past = command.since is not None or command.history
        return clean_room(command.room), (verb, "history") if past else (verb,)
    name = _named(connection, command)
    if not name:
        raise CommandError(NOT_IN_ROOM, "Join a room first")
    return name, (verb,)


def _named(connection: Connection, command: Any) -> str:
    """The room that a command is for: the one that it names, or the one joined last; empty for none."""
    name = getattr(command, "room", "")
    if isinstance(name, str) and (name := clean_room(name)):  # the name under which rooms are entered
        return name
    for member in reversed(connection.members):
        if member.username:
            return member.room.name
    return ""


def _limited(handler: Handler) -> Handler:
    """Has each call count for the room that the command is for."""

    def limited(connection: Connection, command: Any) -> Any:
        name = _named(connection, command)
        for member in connection.members:
            if member.room.name == name:
                hub = connection._hub
                wait = hub.rates.wait_for_room(member.room, hub.runtime.monotonic())
                if wait:
                    text = "Too many messages in this room (room_rate)"
                    raise CommandError(RATE_LIMITED, text, int(wait * 1000) + 1)
                break
        return handler(connection, command)

    return limited


def check_grants(connection: Connection, verbs: tuple[str, ...], room: str) -> None:
    """Whether a connection's own grants allow all of it in a room.

    Raises:
        CommandError: `forbidden`, the one answer to all that is not allowed, whether there is such a room or not.
    """
    grants = connection.identity.grants
    if grants is not None and not all(grants.allow(verb, room) for verb in verbs):
        raise CommandError(FORBIDDEN, "Not allowed")


def authorized(connection: Connection, verbs: tuple[str, ...], room: str) -> Steps:
    """Asks the grants, and then the application for one verb after the other; its grants may have ended meanwhile.

    Raises:
        CommandError: `forbidden`.
    """
    check_grants(connection, verbs, room)
    authorizer = connection._hub.authorizer
    for verb in verbs if authorizer is not None else ():
        assert authorizer is not None
        said: object = authorizer(connection, verb, room)
        if isinstance(said, Awaitable):
            said = yield partial(connection._hub.resolve, connection, said)
        if said is not True:
            raise CommandError(FORBIDDEN, "Not allowed")
    check_grants(connection, verbs, room)


def _once_authorized(
    connection: Connection, verbs: tuple[str, ...], room: str, handler: Handler, command: Any
) -> Steps:
    yield from authorized(connection, verbs, room)
    result = handler(connection, command)
    if isinstance(result, GeneratorType):
        return (yield from result)
    if isinstance(result, Awaitable):
        return (yield partial(connection._hub.resolve, connection, result))
    return result
