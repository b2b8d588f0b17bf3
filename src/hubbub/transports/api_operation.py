"""An operation of the HTTP API: a row of the table that its routes and its OpenAPI document are both made from."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET

from hubbub import codes
from hubbub.auth.gate import Gate, Scope, Visitor
from hubbub.auth.headers import values_of
from hubbub.errors import CommandError, HandshakeError
from hubbub.hub.calls import Calls, Reply
from hubbub.hub.hub import Hub
from hubbub.hub.limits import clean_room
from hubbub.transports.answers import STATUSES, Headers
from hubbub.wire.messages import LONGEST_ID, Command, Error

IDEMPOTENCY_KEY: Final = rf'("[!#-~]{{1,{LONGEST_ID}}}"|[!#-~]{{1,{LONGEST_ID}}})'
"""What an Idempotency-Key looks like: a text of structured fields (RFC 9651), or the same without quotes."""
_is_key: Final = re.compile(IDEMPOTENCY_KEY).fullmatch
_SPACE: Final = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NONE: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029*{}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
ROOM_NAME: Final = rf"^[{_SPACE}]*[^{_NONE}{_SPACE}]([^{_NONE}]*[^{_NONE}{_SPACE}])?[{_SPACE}]*$"
"""What a room's name looks like, as far as it counts: with white space at its ends."""
S = TypeVar("S", bound=msgspec.Struct)


class Refusal(HandshakeError):
    """A request that is answered with a problem.

    Args:
        more: members of the problem beside its status and reason.
    """

    def __init__(self, status: int, reason: str, more: Mapping[str, Any], headers: Headers | None = None) -> None:
        super().__init__(status, reason, tuple(headers or ()))
        self.more = more


def refusal_of(error: Error | CommandError) -> Refusal:
    """The refusal of a command, as over a WebSocket."""
    retry_ms = error.retry_ms if isinstance(error, CommandError) else error.retry_after
    more: dict[str, Any] = {"code": error.code}
    headers: Headers = []
    if isinstance(retry_ms, int):
        more["retryAfter"] = retry_ms
        headers.append((b"retry-after", b"%d" % -(-retry_ms // 1000)))
    if isinstance(error, Error) and error.correlation_id is not UNSET:
        more["correlationId"] = error.correlation_id
    return Refusal(STATUSES.get(error.code, 400), error.message, more, headers)


class Query(msgspec.Struct):
    """The parameters of a request's query: names, types and bounds, as the document has them."""


@dataclass(frozen=True, slots=True)
class Api:
    """What operations work with.

    Attributes:
        version: of this program.
        path: where WebSockets are opened.
    """

    hub: Hub
    gate: Gate
    calls: Calls
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request for an operation, from somebody who was let in.

    Attributes:
        params: what stands in its path.
        query: an instance of the operation's own struct.
    """

    scope: Scope
    visitor: Visitor
    params: Mapping[str, str]
    query: Any
    body: bytes

    @property
    def room(self) -> str:
        """The room in its path, as rooms are named.

        Raises:
            CommandError: `invalid_name`.
        """
        name = clean_room(self.params["room"])
        if not name:
            raise CommandError(codes.INVALID_NAME, "A room has a name")
        return name

    @property
    def idempotency_key(self) -> str:
        """The request's Idempotency-Key; empty for none.

        Raises:
            CommandError: `invalid_message`: there are several, or it is none.
        """
        keys = [value.decode("latin-1").strip() for value in values_of(self.scope["headers"], b"idempotency-key")]
        if not keys:
            return ""
        if len(keys) > 1 or not _is_key(keys[0]):
            text = f"One Idempotency-Key, of 1 to {LONGEST_ID} visible ASCII characters"
            raise CommandError(codes.INVALID_MESSAGE, text)
        return keys[0].strip('"')


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered.

    Attributes:
        body: what JSON is made of; bytes are sent as they are. None for 204.
        kind: the type of bytes.
    """

    body: object = None
    kind: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class OneCommand:
    """A body that is a command of a kind, without what the request says elsewhere."""

    kind: type[Command]


@dataclass(frozen=True, slots=True)
class AnyCommand:
    """A body that is a command of one of several kinds; its `type` says which."""

    kinds: tuple[type[Command], ...]


Body = type[msgspec.Struct] | OneCommand | AnyCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One method of one path, as the document has it.

    Attributes:
        name: its `operationId`.
        path: with `{names}` for the parts that vary.
        summary: one sentence.
        query: its parameters.
        body: what a body has to be; None for no body.
        answer: what its JSON is; None where there is none.
        empty: it may be answered with 204.
        key: an Idempotency-Key makes it safe to repeat.
        refused: statuses that it may be refused with, beside those of all.
        tagged: the answer has an ETag.
        operator: it takes an API key, or who else is an operator.
        local: without one it is for who asks from this machine.
        public: everybody may ask, as often as they like: it costs nothing.
        text: the type of an answer that is not JSON.
        hidden: it is not described.
    """

    name: str
    method: str
    path: str
    summary: str
    query: type[Query] = Query
    body: Body | None = None
    answer: type[msgspec.Struct] | None = None
    empty: bool = False
    key: bool = False
    refused: tuple[int, ...] = ()
    tagged: bool = False
    tag: str = "rooms"
    operator: bool = False
    local: bool = False
    public: bool = False
    text: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Described):
    """The same with what carries it out.

    Attributes:
        carry_out: answers a request.
    """

    carry_out: Callable[[Api, Request], Awaitable[Answer]]


def query_of(scope: Scope, kind: type[Query]) -> Query:
    """The parameters of a request's query; what is none of them is passed over.

    Raises:
        CommandError: `invalid_message`: one is given twice, or is not what it should be.
    """
    known = kind.__struct_encode_fields__
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(scope.get("query_string", b"").decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise CommandError(codes.INVALID_MESSAGE, "The query is not UTF-8") from None
    for name, value in pairs:
        if name in given:
            raise CommandError(codes.INVALID_MESSAGE, f"{name} is given more than once")
        if name in known:
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError(codes.INVALID_MESSAGE, f"In the query: {error}") from None


def _number(text: str) -> int | float:
    """For JSON Schema 5.0 is an integer."""
    value = float(text)
    return int(value) if value.is_integer() else value


_decode = msgspec.json.Decoder(float_hook=_number).decode


def body_of(request: Request, kind: type[S]) -> S:
    """The body of a request.

    Raises:
        CommandError: `invalid_json` or `invalid_message`.
    """
    try:
        return msgspec.convert(_decode(request.body), kind)
    except msgspec.ValidationError as error:
        raise CommandError(codes.INVALID_MESSAGE, str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise CommandError(codes.INVALID_JSON, "The body is not JSON") from None


def fields_of(command: type[Command], **values: str) -> dict[str, str]:
    """Those of these fields that a command has, and that are not empty."""
    known = command.__struct_encode_fields__
    return {name: value for name, value in values.items() if value and name in known}


async def call(api: Api, request: Request, command: Command, username: str = "") -> Reply:
    """Carries a command out for whoever asks, in the room of the path.

    Raises:
        Refusal, CommandError: it was refused.
    """
    visitor = request.visitor
    caller = api.calls.caller(visitor.identity, visitor.remote, request.query.session)
    replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    api.calls.call(
        caller,
        command,
        request.room,
        username or request.query.username,
        lambda reply: None if replied.done() else replied.set_result(reply),
    )
    reply = await replied
    if isinstance(reply.said, Error):
        raise refusal_of(reply.said)
    return reply
