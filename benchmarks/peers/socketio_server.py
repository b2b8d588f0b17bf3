"""Chat rooms on python-socketio and uvicorn, written the usual way. usage: socketio_server.py PORT [REDIS_PORT]"""

import sys
import time
import uuid

import socketio
import uvicorn

manager = socketio.AsyncRedisManager(f"redis://127.0.0.1:{sys.argv[2]}") if len(sys.argv) > 2 else None
server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], client_manager=manager)


async def join(sid: str, data: dict[str, object]) -> None:
    room, username = data.get("room"), data.get("username")
    if not isinstance(room, str) or not isinstance(username, str):
        return
    await server.save_session(sid, {"room": room, "username": username})
    await server.enter_room(sid, room)
    await server.emit("room_info", {"room": room}, to=sid)


async def message(sid: str, data: dict[str, object]) -> None:
    session, text = await server.get_session(sid), data.get("text")
    if "room" not in session or not isinstance(text, str) or len(text) > 2000:
        return
    event = {"username": session["username"], "text": text, "messageId": str(uuid.uuid4())}
    await server.emit("message", event | {"timestamp": int(time.time() * 1000)}, room=session["room"])


server.on("join", join)
server.on("message", message)

if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="error",
    )
