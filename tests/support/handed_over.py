"""Somebody else's application under stock uvicorn with our WebSocket class: `python -m … PORT`."""

import sys

import uvicorn

from hubbub.transports.websocket import WebSocketProtocol
from tests.support.mounted import application

if __name__ == "__main__":
    uvicorn.run(application, port=int(sys.argv[1]), ws=WebSocketProtocol, log_level="warning")
