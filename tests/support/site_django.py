"""A site in Django that logs people in, beside which Hubbub runs, as docs/auth.md has it; its page listens."""

import os
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from hubbub.apps.chat import app
from tests.support.listening_page import page


def board(request: HttpRequest) -> HttpResponse:
    request.session.update({"_auth_user_id": "u1", "name": "Ada"})
    return HttpResponse(page(""))


urlpatterns = [path("board", board)]
settings.configure(
    SECRET_KEY=Path(os.environ["HUBBUB_COOKIE_SECRET_FILE"]).read_text(),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
)
django.setup()
app.mount("/site", get_asgi_application())
