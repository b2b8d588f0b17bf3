"""Plain HTTP as a connection: rooms come by requests that last, and each command is a POST. What both kinds share.

A request holds rooms under one name; the first one has the client's session, so that the rooms, the messageIds and the
cursors are those of its WebSocket. A room that is refused among others is asked for alone, to know which one it was.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from hubbub.client.backoff import LOST
from hubbub.client.entry import seq_of
from hubbub.client.lane import Event
from hubbub.client.transport import CONNECT_SECONDS, Blocked, Closed, Opening
from hubbub.client.urls import http_url
from hubbub.codes import RATE_LIMITED, UNAVAILABLE, UNKNOWN_TYPE
from hubbub.errors import HandshakeError, HubbubError
from hubbub.wire.places import MOST_ROOMS, format_places

MOST_WAITING: Final = 256
"""Events that nobody has asked for, before no more are read."""
RETRY_SECONDS: Final = 1
KEPT_SECONDS: Final = 2.0
"""An idle connection is used again for less than servers keep it, so that none of them ends one that we write to."""
PROBLEM: Final = "application/problem+json"
_LATER: Final = {429: RATE_LIMITED, 503: UNAVAILABLE}
_OF_ONE_ROOM: Final = frozenset((400, 403, 404))


_SECRET: Final = re.compile(r"(?<=session=)[^&\s]+")


def _redact(record: logging.LogRecord) -> bool:
    """Takes sessions, which are secrets, out of the URLs that httpx logs."""
    message = record.getMessage()
    if _SECRET.search(message):
        record.msg, record.args = _SECRET.sub("...", message), ()
    return True


logging.getLogger("httpx").addFilter(_redact)


class Wanted:
    """A room on a request.

    Attributes:
        command: with which the client asked for it.
        place: where it is; None where it begins at the end.
        sought: where it begins, which is no position and has to be found: a time, or "acked".
        entered: the client was told that it is in.
    """

    def __init__(self, command: Event) -> None:
        self.command = command
        since = command.get("since") or {}
        self.place = (str(since["epoch"]), int(since["seq"])) if "seq" in since else None
        self.sought = None if self.place else since
        self.entered = False

    def passed(self, event: Event) -> None:
        """An event came."""
        seq = seq_of(event)
        if event.get("type") in ("room_info", "gap"):
            self.place = (str(event["epoch"]), int(event["seq"]))
        elif seq is not None and self.place is not None:
            self.place = (self.place[0], max(seq, self.place[1]))


class Group:
    """Rooms that share a request, all under one name.

    Attributes:
        username: None for subscriptions.
        session: what to ask for; None for none.
        rooms: by name.
        task: carries it.
    """

    def __init__(self, username: str | None, session: str | None) -> None:
        self.username = username
        self.session = session
        self.rooms: dict[str, Wanted] = {}
        self.task: asyncio.Task[None] | None = None
        self.stale = True

    def query(self, **more: str) -> list[tuple[str, str]]:
        """What to ask for."""
        query = [("room", room) for room in self.rooms]
        if any(wanted.place for wanted in self.rooms.values()):
            query.append(("since", format_places([wanted.place for wanted in self.rooms.values()])))
        history = max((int(wanted.command.get("history", 0)) for wanted in self.rooms.values()), default=0)
        if history and not all(wanted.entered for wanted in self.rooms.values()):
            query.append(("history", str(history)))
        if self.username is not None:
            query.append(("username", self.username))
        if self.session is not None:
            query.append(("session", self.session))
        return query + list(more.items())


class HttpTransport:
    """A connection over HTTP (transport.Transport); `_carry` is what its kinds differ in."""

    resumes: Final = False

    def __init__(self) -> None:
        self.proven = False
        self._client: httpx.AsyncClient | None = None
        self._base = ""
        self._session = ""
        self._groups: list[Group] = []
        self._posts: set[asyncio.Task[None]] = set()
        self._events: deque[Event] = deque()
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self._end: Exception | None = None
        self._settling: asyncio.Handle | None = None

    async def _carry(self, group: Group) -> None:
        """Brings the events of a group's rooms until it is cancelled.

        Raises:
            Closed, Blocked, HandshakeError, HubbubError: it has ended.
            httpx.TransportError: the connection has.
        """
        raise NotImplementedError

    @property
    def client(self) -> httpx.AsyncClient:
        assert self._client is not None
        return self._client

    # As transports do

    async def open(self, opening: Opening) -> None:
        """Nothing is asked for before there is a room: what is in the way shows then."""
        headers = {"accept-encoding": "gzip" if opening.deflate else "identity", **dict(opening.headers)}
        verify = opening.tls or (ssl.create_default_context() if opening.url.startswith("wss:") else False)
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        limits = httpx.Limits(keepalive_expiry=KEPT_SECONDS)
        self._client = httpx.AsyncClient(verify=verify, headers=headers, timeout=timeout, limits=limits)
        self._show(opening.token)
        self._base = http_url(opening.url)
        self._session = opening.session
        self._emit({"type": "connected", "session": opening.session})

    def _show(self, token: str) -> None:
        if token:
            self.client.headers["authorization"] = f"Bearer {token}"

    def send(self, command: Event) -> None:
        if self._end is not None:
            return
        match command["type"]:
            case "join" | "subscribe":
                self._want(command)
            case "leave" | "unsubscribe":
                self._leave(command)
            case "refresh":
                self._refresh(command)
            case _:
                post = asyncio.create_task(self._post(command))
                self._posts.add(post)
                post.add_done_callback(self._posts.discard)

    async def receive(self) -> list[Event]:
        while not self._events:
            if self._end is not None:
                raise self._end
            self._came.clear()
            await self._came.wait()
        events = list(self._events)
        self._events.clear()
        self._taken.set()
        return events

    async def close(self) -> None:
        """Over HTTP nobody says goodbye: the session's grace time does."""
        await self.abort()

    async def abort(self) -> None:
        self._fail(Closed(LOST, "connection lost"))
        if self._settling is not None:
            self._settling.cancel()
        tasks = [*(group.task for group in self._groups if group.task is not None), *self._posts]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def _fail(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
            self._came.set()
            self._taken.set()

    # What comes

    def _emit(self, *events: Event) -> None:
        self._events.extend(events)
        self._came.set()

    async def _taking(self) -> None:
        """Waits while too much waits."""
        while len(self._events) > MOST_WAITING and self._end is None:
            self._taken.clear()
            await self._taken.wait()

    def _in(self, group: Group, info: Event) -> None:
        """A room is entered; whoever asked for it is told, and nobody when it was in before and nothing is missing."""
        wanted = group.rooms.get(str(info["room"]))
        if wanted is None:
            return
        again, wanted.entered = wanted.entered, True
        wanted.passed(info)
        if not again:
            self._emit({**info, "id": wanted.command["id"]})
        elif info.get("recovered") is False:
            self._emit(info)

    def _pass(self, group: Group, event: Event) -> None:
        wanted = group.rooms.get(str(event.get("room", "")))
        if wanted is not None:
            wanted.passed(event)
        self._emit(event)

    # Which rooms

    def _want(self, command: Event) -> None:
        username = command.get("username") if command["type"] == "join" else None
        for group in self._groups:
            if group.username == username and len(group.rooms) < MOST_ROOMS:
                break
        else:
            group = self._new_group(username)
        group.rooms[command["room"]] = Wanted(command)
        self._touch(group)

    def _new_group(self, username: str | None) -> Group:
        """The first has the client's session, the others one of their own where they are somebody."""
        first = not self._groups
        group = Group(username, self._session if first else None if username is None else "")
        self._groups.append(group)
        return group

    def _leave(self, command: Event) -> None:
        for group in self._groups:
            if group.rooms.pop(command["room"], None) is not None:
                self._touch(group)
        self._emit({"type": "ok", "id": command["id"]})

    def _touch(self, group: Group) -> None:
        """Its request is another one from now on; once for all that changes in this turn."""
        group.stale = True
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = None
        for group in self._groups:
            if group.stale:
                group.stale = False
                before, group.task = group.task, asyncio.create_task(self._run(group, group.task))
                if before is not None:
                    before.cancel()

    async def _run(self, group: Group, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        if not group.rooms:
            return
        try:
            for room, wanted in list(group.rooms.items()):
                if wanted.sought and not wanted.entered:
                    wanted.place, wanted.sought = await self._find(room, wanted.sought), None
            await self._carry(group)
        except HandshakeError as error:
            if not self._set_apart(group, error):
                self._fail(error)
        except (httpx.TransportError, msgspec.DecodeError) as error:
            self._fail(_lost(error))
        except (HubbubError, OSError) as error:
            self._fail(error)

    async def _find(self, room: str, sought: Mapping[str, Any] | str) -> tuple[str, int] | None:
        """The position for a time, or behind what was acknowledged; None where there is none to be known."""
        url = f"{self._base}/api/rooms/{quote(room, safe='')}"
        query = {"session": self._session} if self._session else {}
        if sought == "acked":
            response = await self.client.get(f"{url}/cursor", params=query)
        else:
            asked = {"type": "history", "limit": 1, **dict(sought)}  # type: ignore[arg-type]
            response = await self.client.post(f"{url}/commands", params=query, json=asked)
        found = msgspec.json.decode(response.content, type=dict[str, Any]) if response.is_success else {}
        if found.get("messages"):
            return str(found["epoch"]), int(found["messages"][0]["seq"]) - 1
        return (str(found["epoch"]), int(found["acked"])) if found.get("acked") is not None else None

    def _set_apart(self, group: Group, error: HandshakeError) -> bool:
        """A room was refused: which one, those say that are asked for alone. Whether that is what it was."""
        new = {room: wanted for room, wanted in group.rooms.items() if not wanted.entered}
        if error.status not in _OF_ONE_ROOM or not isinstance(error, RoomRefused) or not new:
            return False
        for room, wanted in new.items():
            del group.rooms[room]
            if len(new) == 1:
                self._emit({**error.problem, "type": "error", "id": wanted.command["id"]})
            else:
                alone = self._new_group(group.username)
                alone.rooms[room] = wanted
                self._touch(alone)
        self._touch(group)
        return True

    # What goes

    def _refresh(self, command: Event) -> None:
        """New requests show the new token; what lasts is asked for again with it."""
        self._show(command["token"])
        for group in self._groups:
            self._touch(group)
        self._emit({"type": "ok", "id": command["id"]})

    async def _post(self, command: Event) -> None:
        id, room = command["id"], command.get("room") or self._some_room()
        if not room:
            self._emit({"type": "error", "id": id, "code": UNKNOWN_TYPE, "message": "Over HTTP a command needs a room"})
            return
        named = {"session": self._session, "username": self._username_in(room) or ""}
        query = {name: value for name, value in named.items() if value}
        body = msgspec.json.encode({name: value for name, value in command.items() if name not in ("id", "room")})
        try:
            response = await self.client.post(
                f"{self._base}/api/rooms/{quote(room, safe='')}/commands",
                params=query,
                content=body,
                headers={"content-type": "application/json"},
            )
            self._answered(id, response)
        except (httpx.TransportError, msgspec.DecodeError) as error:
            self._fail(_lost(error))

    def _some_room(self) -> str:
        return next((room for group in self._groups for room in group.rooms), "")

    def _username_in(self, room: str) -> str | None:
        return next((group.username for group in self._groups if room in group.rooms), None)

    def _answered(self, id: int, response: httpx.Response) -> None:
        """The reply as a WebSocket would have it; without one nobody knows what became of the command."""
        if response.is_success:
            fields = msgspec.json.decode(response.content, type=dict[str, Any]) if response.content else {}
            self._emit(*fields.pop("events", ()), {**fields, "type": "ok", "id": id})
            return
        problem = problem_of(response)
        if problem is None:
            self._fail(Closed(LOST, f"a command was answered with {response.status_code}"))
        elif "code" in problem:
            self._emit({**problem, "type": "error", "id": id})
        elif response.status_code in _LATER:
            seconds = HandshakeError(response.status_code, "", _headers(response)).retry_seconds
            later = {"code": _LATER[response.status_code], "retryAfter": (seconds or RETRY_SECONDS) * 1000}
            self._emit({**problem, **later, "type": "error", "id": id})
        else:
            self._fail(HandshakeError(response.status_code, str(problem["message"])))


class RoomRefused(HandshakeError):
    """A request was refused by the server itself.

    Attributes:
        problem: as the fields of an `error`.
    """

    def __init__(self, status: int, problem: Event) -> None:
        super().__init__(status, f"the server refused: {status} {problem['message']}")
        self.problem = problem


def problem_of(response: httpx.Response) -> Event | None:
    """What a refusal says, as the fields of an `error`; None where it is not of a Hubbub server."""
    if not response.headers.get("content-type", "").startswith(PROBLEM):
        return None
    try:
        fields = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    problem: Event = {"message": fields.get("detail", fields.get("title", ""))}
    return problem | {name: fields[name] for name in ("code", "retryAfter", "correlationId") if name in fields}


def refusal_of(response: httpx.Response) -> HubbubError:
    """What a response that is not 200 means for a request that was to last; its content is read."""
    problem = problem_of(response)
    if problem is None:
        return Blocked(f"the server refused: {response.status_code} {response.reason_phrase}", response.status_code)
    if "code" in problem:
        return RoomRefused(response.status_code, problem)
    reason = f"the server refused: {response.status_code} {problem['message']}"
    return HandshakeError(response.status_code, reason, _headers(response))


def _headers(response: httpx.Response) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.lower(), value) for name, value in response.headers.raw)


def _lost(error: Exception) -> Exception:
    """What a failure of the connection means: nobody is there, or what was there is not any more."""
    why = str(error) or type(error).__name__
    return OSError(why) if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else Closed(LOST, why)


def path_of(base: str, path: str, query: list[tuple[str, str]]) -> httpx.URL:
    """The URL of a route with a query in which the same name may stand more than once."""
    return httpx.URL(f"{base}{path}?{urlencode(query)}")
