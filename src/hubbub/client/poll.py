"""Long-polling to listen, and POST to speak: what gets through where even streams are held back.

Only what rooms keep comes this way: no typing, no comings and goings.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

import msgspec

from hubbub.client.entry import seq_of
from hubbub.client.http import Group, HttpTransport, Wanted, path_of, problem_of, refusal_of
from hubbub.client.lane import Event
from hubbub.client.transport import CONNECT_SECONDS, Blocked
from hubbub.codes import INVALID_DATA
from hubbub.errors import PeerError
from hubbub.wire.places import parse_places

PATH: Final = "/poll"
HELD_SECONDS: Final = 25
"""How long the server waits; the most impatient proxies give up after 30 s."""
MEMBERS: Final = 200


class PollTransport(HttpTransport):
    """One poll after the other for each group of rooms."""

    async def _carry(self, group: Group) -> None:
        new = any(not wanted.entered for wanted in group.rooms.values())
        while True:
            answer = await self._ask(group, 0 if new else HELD_SECONDS)
            self.proven = True
            if (session := answer.get("session")) and session != group.session:
                self._take_session(group, session)
            await self._take(group, answer)
            await self._taking()
            new = False

    async def _ask(self, group: Group, seconds: int) -> Event:
        url = path_of(self._base, PATH, group.query(timeout=str(seconds)))
        try:
            async with asyncio.timeout(seconds + CONNECT_SECONDS):
                response = await self.client.get(url)
        except TimeoutError:
            raise Blocked("nobody answered a poll") from None
        if response.status_code != 200:
            raise refusal_of(response)
        try:
            return msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise Blocked("something else answers in place of the server") from error

    def _take_session(self, group: Group, session: str) -> None:
        group.session = session
        if group is self._groups[0]:
            self._session = session
            self._emit({"type": "connected", "session": session})

    async def _take(self, group: Group, answer: Event) -> None:
        """Tells of each room what came in it: as what a room is entered with, or as events."""
        try:
            places = parse_places(answer["since"], len(group.rooms))
        except (KeyError, ValueError) as error:
            raise PeerError(INVALID_DATA, f"the answer to a poll: {error}") from error
        events: dict[str, list[Event]] = {room: [] for room in group.rooms}
        for event in answer.get("events", ()):
            events.setdefault(str(event.get("room")), []).append(event)
        for (room, wanted), place in zip(list(group.rooms.items()), places, strict=True):
            if place is None:
                raise PeerError(INVALID_DATA, "the answer to a poll has no place")
            reached = (place.epoch, place.seq)
            recovered = answer.get("recovered") is not False or _follows(wanted, reached, events[room])
            if not wanted.entered:
                known = None if wanted.place is None else recovered
                self._in(group, await self._info(room, reached, known, events[room]))
                continue
            if not recovered:
                start = (seq_of(events[room][0]) or 1) - 1 if events[room] else place.seq
                self._pass(group, {"type": "gap", "room": room, "epoch": place.epoch, "seq": start})
            for event in events[room]:
                self._pass(group, event)
            wanted.place = reached

    async def _info(self, room: str, reached: tuple[str, int], recovered: bool | None, messages: list[Event]) -> Event:
        """What a room would be entered with over a WebSocket."""
        epoch, seq = reached
        info: Event = {"type": "room_info", "room": room, "epoch": epoch, "seq": seq, "head": seq}
        return {**info, "recovered": recovered, "messages": messages, **await self._members(room)}

    async def _members(self, room: str) -> Event:
        """Who is in a room, as far as that may be known."""
        url = f"{self._base}/api/rooms/{quote(room, safe='')}/members"
        response = await self.client.get(url, params={"limit": MEMBERS})
        if response.is_success:
            found = msgspec.json.decode(response.content, type=dict[str, Any])
            shown = {"members": found["members"], "count": found["count"]}
            return shown if len(found["members"]) == found["count"] else {**shown, "membersTruncated": True}
        if problem_of(response) is None:
            raise Blocked(f"the server refused: {response.status_code}", response.status_code)
        return {"members": [], "count": 0, "membersTruncated": True}


def _follows(wanted: Wanted, reached: tuple[str, int], events: list[Event]) -> bool:
    """Whether what came in one room goes on where the client was, when it did not in all of them."""
    if wanted.place is None or wanted.place[0] != reached[0]:
        return wanted.place is None
    first = seq_of(events[0]) if events else None
    return reached[1] == wanted.place[1] if first is None else first == wanted.place[1] + 1
