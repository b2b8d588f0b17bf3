"""The chat protocol on FastAPI and uvicorn, written the usual way, to compare with. usage: fastapi_server.py PORT"""

import json
import sys
import time
import uuid

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
rooms: dict[str, dict[WebSocket, str]] = {}


def encode(event: dict[str, object]) -> str:
    return json.dumps(event, separators=(",", ":"))


def now_ms() -> int:
    return int(time.time() * 1000)


async def broadcast(room: str, event: dict[str, object], excluded: WebSocket | None = None) -> None:
    text = encode(event)
    for member in list(rooms.get(room, ())):
        if member is not excluded:
            try:
                await member.send_text(text)
            except (RuntimeError, WebSocketDisconnect):
                continue  # it is closing: its own task takes it out of the room


async def leave(socket: WebSocket, room: str | None) -> None:
    if room is None or socket not in rooms.get(room, {}):
        return
    username = rooms[room].pop(socket)
    count = len(rooms[room])
    if not count:
        del rooms[room]
    await broadcast(room, {"type": "user_left", "username": username, "memberCount": count, "timestamp": now_ms()})


async def join(socket: WebSocket, command: dict[str, object], current: str | None) -> str | None:
    room = str(command.get("room") or "").strip()[:50]
    username = str(command.get("username") or "").strip()[:30]
    if not room or not username:
        await socket.send_text(encode({"type": "error", "message": "Room and username are required"}))
        return current
    await leave(socket, current)
    members = rooms.setdefault(room, {})
    members[socket] = username
    info = {"type": "room_info", "room": room, "members": list(members.values()), "count": len(members)}
    await socket.send_text(encode(info))
    joined = {"type": "user_joined", "username": username, "memberCount": len(members), "timestamp": now_ms()}
    await broadcast(room, joined, socket)
    return room


async def message(socket: WebSocket, command: dict[str, object], room: str | None) -> None:
    text = str(command.get("text") or "").strip()
    if room is None or not text or len(text) > 2000:
        return
    event = {"type": "message", "username": rooms[room][socket], "text": text}
    await broadcast(room, event | {"messageId": str(uuid.uuid4()), "timestamp": now_ms()})


async def receive(socket: WebSocket, data: str, room: str | None) -> str | None:
    try:
        command = json.loads(data)
    except ValueError:
        command = None
    if not isinstance(command, dict):
        await socket.send_text(encode({"type": "error", "message": "Invalid JSON payload"}))
    elif command.get("type") == "join":
        room = await join(socket, command, room)
    elif command.get("type") == "message":
        await message(socket, command, room)
    elif command.get("type") == "typing" and room is not None:
        await broadcast(room, {"type": "typing", "username": rooms[room][socket]}, socket)
    return room


@app.websocket("/ws")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(encode({"type": "connected", "clientId": str(uuid.uuid4()), "timestamp": now_ms()}))
    room: str | None = None
    try:
        while True:
            room = await receive(socket, await socket.receive_text(), room)
    except (RuntimeError, WebSocketDisconnect):
        pass  # Starlette raises RuntimeError when a failed send has ended the connection first
    finally:
        await leave(socket, room)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_ping_interval=30,
        ws_ping_timeout=30,
        ws_per_message_deflate=False,
        log_level="error",
    )
