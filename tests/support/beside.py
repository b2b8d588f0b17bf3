"""An application of ours with somebody else's ordinary ASGI application mounted beside its paths."""

from fastapi import FastAPI, WebSocket

from hubbub import Connection, Hubbub

site = FastAPI()


@site.get("/hello")
def hello() -> dict[str, str]:
    return {"hello": "world"}


@site.websocket("/ordinary")
async def ordinary(websocket: WebSocket) -> None:
    await websocket.accept("upper.v1" if "upper.v1" in websocket.scope["subprotocols"] else None)
    async for text in websocket.iter_text():
        if text == "go away":
            await websocket.close(4001, "as you wish")
            return
        await websocket.send_text(text.upper())


@site.websocket("/bytes")
async def echo_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


@site.websocket("/closed")
async def closed(websocket: WebSocket) -> None:
    await websocket.close()


@site.websocket("/broken")
async def broken(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise RuntimeError("a bug in an ordinary WebSocket route")


app = Hubbub()
app.mount("/site", site)


@app.websocket("/echo")
def echo(conn: Connection, message: str | bytes) -> None:
    conn.send(message)
