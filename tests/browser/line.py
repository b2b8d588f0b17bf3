"""A tab's line to its server, which a test can cut, so that one tab is away and all others are not."""

from __future__ import annotations

from playwright.sync_api import WebSocketRoute

from tests.browser.scripted import ScriptedServer


class Line(ScriptedServer):
    """Stands where a scripted server does, and passes everything on to the real one.

    Attributes:
        is_cut: no connection is let through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def accept(self, socket: WebSocketRoute) -> None:
        if self.is_cut:
            socket.close(code=1011)
            return
        self.sockets.append(socket)
        server = socket.connect_to_server()
        socket.on_close(lambda code, reason: server.close())

    def cut(self) -> None:
        self.is_cut = True
        self.sockets[-1].close(code=1011)

    def mend(self) -> None:
        self.is_cut = False
