"""The tests' application inside of somebody else's, with an ordinary ASGI WebSocket route beside it."""

from fastapi import FastAPI, WebSocket

from tests.support.application import app as hub_app

served = hub_app.asgi()
application = FastAPI(lifespan=served.lifespan)


@application.get("/hello")
def hello() -> dict[str, str]:
    return {"hello": "world"}


@application.websocket("/ordinary")
async def ordinary(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


application.mount("/hub", served)
