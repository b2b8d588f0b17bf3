"""A site in FastAPI that logs people in and has Hubbub below /chat, as docs/auth.md has it; its page listens."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.middleware.sessions import SessionMiddleware

from hubbub.apps.chat import app
from tests.support.listening_page import page

served = app.asgi()
site = FastAPI(lifespan=served.lifespan)
site.add_middleware(SessionMiddleware, secret_key=Path(os.environ["HUBBUB_COOKIE_SECRET_FILE"]).read_text())


@site.get("/board")
def board(request: Request) -> HTMLResponse:
    request.session.update(user="u1", name="Ada")
    return HTMLResponse(page("/chat"))


site.mount("/chat", served)
