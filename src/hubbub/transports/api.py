"""The HTTP API as routes: finds a request's operation, lets somebody in, and answers with JSON or a problem."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec
from starlette.routing import BaseRoute, Match

from hubbub.auth.gate import Scope, Visitor
from hubbub.auth.headers import values_of
from hubbub.codes import INTERNAL, UNAVAILABLE
from hubbub.errors import BrokerError, CommandError, HandshakeError
from hubbub.hub.dispatch import RETRY_MS
from hubbub.hub.identity import ANONYMOUS, CHALLENGE
from hubbub.transports.answers import JSON, PROBLEM, Headers, accepts_gzip, cross_origin, problem
from hubbub.transports.api_operation import Answer, Api, Operation, Refusal, Request, query_of, refusal_of
from hubbub.transports.asgi import Message, Receive, Send
from hubbub.wire.messages import Error

log: Final = logging.getLogger("hubbub")
LEAST_GZIPPED: Final = 1024
"""Bytes below which compression saves no packet."""
GZIP_LEVEL: Final = 4
VARY: Final = b"origin, accept-encoding, authorization, cookie"
NOBODY: Final = Visitor(ANONYMOUS, "", None, ())
READS: Final = ("GET", "HEAD")


class ApiRoute(BaseRoute):
    """The paths of some operations. The names in them are read from the path as it was sent, where `%2F` is no slash.

    Args:
        operations: the table.
        alone: nobody else has paths below `/api`: one that is no operation's is not found.
    """

    def __init__(self, api: Api, operations: Iterable[Operation], *, alone: bool = False) -> None:
        self._api = api
        self._alone = alone
        self._gzip = api.hub.config.http.gzip
        self._paths: dict[tuple[str, ...], dict[str, Operation]] = {}
        for operation in operations:
            template = tuple(operation.path.split("/")[1:])
            self._paths.setdefault(template, {})[operation.method] = operation

    def matches(self, scope: Message) -> tuple[Match, Message]:
        if scope["type"] == "http":
            segments = segments_of(scope)
            found = None if segments is None else self._find(segments)
            if found is None and self._alone and scope["path"].startswith(f"{scope.get('root_path', '')}/api/"):
                found = {}, {}
            if found is not None:
                methods, params = found
                return Match.FULL, {"endpoint": self, "path_params": params, "api_methods": methods}
        return Match.NONE, {}

    def _find(self, segments: list[str]) -> tuple[dict[str, Operation], dict[str, str]] | None:
        for template, methods in self._paths.items():
            if len(template) != len(segments):
                continue
            params: dict[str, str] = {}
            for part, segment in zip(template, segments, strict=True):
                if part.startswith("{"):
                    params[part[1:-1]] = segment
                elif part != segment:
                    break
            else:
                return methods, params
        return None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods: dict[str, Operation] = scope["api_methods"]
        allowed = ", ".join((*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS")).encode()
        headers = cross_origin(self._api.gate.origins, scope, allowed)
        try:
            if not methods:
                raise HandshakeError(404, "there is no such path")
            if scope["method"] == "OPTIONS":
                self._api.gate.origins.check(scope["headers"], cookie=True)
                await self._respond(scope, send, 204, Answer(), headers)
                return
            operation = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
            if operation is None:
                raise HandshakeError(405, f"the methods of this path are {allowed.decode()}", ((b"allow", allowed),))
            answer = await self._answer(operation, scope, receive)
            status = 204 if answer.body is None else 200
            await self._respond(scope, send, status, answer, headers, tagged=operation.tagged)
        except BrokerError:
            unavailable = CommandError(UNAVAILABLE, "The other nodes cannot be asked now", RETRY_MS)
            await self._refuse(scope, send, unavailable, headers)
        except (HandshakeError, CommandError) as error:
            await self._refuse(scope, send, error, headers)
        except Exception:
            correlation_id = self._api.hub.runtime.new_id()
            log.exception("a request failed: correlationId=%s path=%r", correlation_id, scope["path"])
            failed = Error("Internal error", INTERNAL, correlation_id=correlation_id)
            await self._refuse(scope, send, refusal_of(failed), headers)

    async def _answer(self, operation: Operation, scope: Scope, receive: Receive) -> Answer:
        api = self._api
        visitor = NOBODY
        if not operation.public:
            visitor = await self._admit(operation, scope)
        body = b""
        if operation.body is not None:
            body = await _read_body(receive, api.hub.config.limits.max_body_bytes)
        query = query_of(scope, operation.query)
        return await operation.carry_out(api, Request(scope, visitor, scope["path_params"], query, body))

    async def _admit(self, operation: Operation, scope: Scope) -> Visitor:
        """Who asks, where that somebody may.

        Raises:
            HandshakeError: 400, 401, 403, 415, 429 or 503.
        """
        api = self._api
        if operation.local and api.gate.is_local(scope):
            return NOBODY
        kinds = values_of(scope["headers"], b"content-type")
        if operation.method not in READS and (kinds or _has_body(scope)) and not is_json(kinds):
            raise HandshakeError(415, "a body is application/json")  # other pages can send all else without asking
        visitor = await api.gate.admit(scope)
        api.hub.standing.check(visitor.identity)
        if operation.operator and not visitor.identity.operator:
            known = bool(visitor.identity.user)
            raise HandshakeError(
                403 if known else 401, "this is for operators: show an API key", () if known else CHALLENGE
            )
        return visitor

    async def _refuse(self, scope: Scope, send: Send, error: HandshakeError | CommandError, headers: Headers) -> None:
        refusal = refusal_of(error) if isinstance(error, CommandError) else error
        more: Mapping[str, Any] = refusal.more if isinstance(refusal, Refusal) else {}
        if not more:  # it was not let in; what a command is refused with is nobody's knock
            self._api.hub.counters.handshakes_refused += 1
            log.info("a request was refused: status=%d reason=%r", refusal.status, refusal.reason)
        answer = Answer(msgspec.json.encode(problem(refusal, **more)), PROBLEM.decode(), refusal.headers)
        await self._respond(scope, send, refusal.status, answer, headers)

    async def _respond(
        self, scope: Scope, send: Send, status: int, answer: Answer, headers: Headers, *, tagged: bool = False
    ) -> None:
        """Answers, compressed where that is worth it, or with nothing where the client has it already."""
        body = answer.body
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        lines = {**dict(headers), **dict(answer.headers), b"x-content-type-options": b"nosniff"}
        if tagged and content:
            lines[b"etag"] = b'W/"%b"' % blake2b(content, digest_size=12).hexdigest().encode()
            lines[b"cache-control"] = b"private, no-cache"
            lines[b"vary"] = VARY
            if _knows(scope, lines[b"etag"]):
                status, content = 304, b""
        if content:
            lines[b"content-type"] = answer.kind.encode() or JSON
            lines[b"vary"] = VARY
            if self._gzip and len(content) > LEAST_GZIPPED and accepts_gzip(scope["headers"]):
                content = gzip.compress(content, GZIP_LEVEL, mtime=0)
                lines[b"content-encoding"] = b"gzip"
            lines[b"content-length"] = b"%d" % len(content)
        headers = list(lines.items())
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def is_json(kinds: Sequence[bytes]) -> bool:
    """Whether a body says that it is JSON, which no form of another site's page can say."""
    return len(kinds) == 1 and kinds[0].partition(b";")[0].strip().lower() == JSON


def _has_body(scope: Scope) -> bool:
    """RFC 9112, section 6.3: what a request without a length ends with is its head."""
    lengths = values_of(scope["headers"], b"content-length")
    return bool(values_of(scope["headers"], b"transfer-encoding")) or lengths not in ([], [b"0"])


def segments_of(scope: Scope) -> list[str] | None:
    """The parts of a path below where this application is mounted, decoded one by one; None where they are no UTF-8."""
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if unquote_to_bytes(raw) != path.encode("utf-8", "surrogateescape"):  # somebody has rewritten it since
        raw = quote(path, safe="/").encode()
    below = raw.split(b"/")[1 + scope.get("root_path", "").count("/") :]
    try:
        return [unquote_to_bytes(segment).decode() for segment in below]
    except UnicodeDecodeError:
        return None


async def _read_body(receive: Receive, longest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HandshakeError(400, "the body did not arrive")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > longest:  # our own server has refused it before
            raise HandshakeError(413, f"the body is longer than {longest} bytes (max_body_bytes)")
        if not message.get("more_body"):
            return b"".join(parts)


def _knows(scope: Scope, tag: bytes) -> bool:
    """RFC 9110, section 13.1.2: weak comparison with a list, or `*`."""
    given = b",".join(values_of(scope["headers"], b"if-none-match"))
    known = [entry.strip().removeprefix(b"W/") for entry in given.split(b",")]
    return b"*" in known or tag.removeprefix(b"W/") in known
