"""A network that carries what a tab says, and at times nothing of what the server says."""

from __future__ import annotations

import json

from playwright.sync_api import WebSocketRoute

from tests.browser.tab import Tab


class Deaf:
    """What a tab says reaches the server.

    Attributes:
        deaf: nothing of what the server says is heard.
        said: the messages that went through.
    """

    def __init__(self, tab: Tab) -> None:
        self.deaf = False
        self.said: list[str] = []
        tab.page.route_web_socket("**/ws?session=*", self._connect)

    def _connect(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: self._say(server, str(message)))
        server.on_message(lambda message: None if self.deaf else socket.send(message))

    def _say(self, server: WebSocketRoute, message: str) -> None:
        if json.loads(message)["type"] == "message":
            self.said.append(message)
        server.send(message)
