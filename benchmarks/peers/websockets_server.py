"""The chat protocol on `websockets` with `broadcast()`, to compare with. usage: websockets_server.py PORT"""

import json
import logging
import sys
import time
import uuid

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

rooms: dict[str, dict[ServerConnection, str]] = {}


def encode(event: dict[str, object]) -> str:
    return json.dumps(event, separators=(",", ":"))


def now_ms() -> int:
    return int(time.time() * 1000)


def leave(socket: ServerConnection, room: str | None) -> None:
    if room is None or socket not in rooms.get(room, {}):
        return
    username = rooms[room].pop(socket)
    left = {"type": "user_left", "username": username, "memberCount": len(rooms[room]), "timestamp": now_ms()}
    broadcast(rooms[room], encode(left))
    if not rooms[room]:
        del rooms[room]


async def join(socket: ServerConnection, command: dict[str, object], current: str | None) -> str | None:
    room = str(command.get("room") or "").strip()[:50]
    username = str(command.get("username") or "").strip()[:30]
    if not room or not username:
        await socket.send(encode({"type": "error", "message": "Room and username are required"}))
        return current
    leave(socket, current)
    members = rooms.setdefault(room, {})
    members[socket] = username
    info = {"type": "room_info", "room": room, "members": list(members.values()), "count": len(members)}
    await socket.send(encode(info))
    joined = {"type": "user_joined", "username": username, "memberCount": len(members), "timestamp": now_ms()}
    broadcast((member for member in members if member is not socket), encode(joined))
    return room


def message(socket: ServerConnection, command: dict[str, object], room: str | None) -> None:
    text = str(command.get("text") or "").strip()
    if room is None or not text or len(text) > 2000:
        return
    event = {"type": "message", "username": rooms[room][socket], "text": text}
    broadcast(rooms[room], encode(event | {"messageId": str(uuid.uuid4()), "timestamp": now_ms()}))


async def receive(socket: ServerConnection, data: str | bytes, room: str | None) -> str | None:
    try:
        command = json.loads(data)
    except ValueError:
        command = None
    if not isinstance(command, dict):
        await socket.send(encode({"type": "error", "message": "Invalid JSON payload"}))
    elif command.get("type") == "join":
        room = await join(socket, command, room)
    elif command.get("type") == "message":
        message(socket, command, room)
    elif command.get("type") == "typing" and room is not None:
        typing = encode({"type": "typing", "username": rooms[room][socket]})
        broadcast((member for member in rooms[room] if member is not socket), typing)
    return room


async def chat(socket: ServerConnection) -> None:
    room: str | None = None
    try:
        await socket.send(encode({"type": "connected", "clientId": str(uuid.uuid4()), "timestamp": now_ms()}))
        async for data in socket:
            room = await receive(socket, data, room)
    except ConnectionClosed:
        pass
    finally:
        leave(socket, room)


async def main() -> None:
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    port = int(sys.argv[1])
    async with serve(chat, "127.0.0.1", port, compression=None, ping_interval=30, ping_timeout=30) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
