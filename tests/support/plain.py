"""The tests' application for servers that cannot hand over a WebSocket."""

from tests.support.application import app

application = app.asgi()
