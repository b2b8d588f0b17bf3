"""Hubbub: a real-time server and framework. These are its public names; a test pins them."""

from hubbub import node as _node  # gives Hubbub.asgi its concrete parts
from hubbub.app import Hubbub
from hubbub.config import Config
from hubbub.errors import CommandError, ConfigError, HubbubError, LocalError, PeerError
from hubbub.hub.connection import Connection
from hubbub.hub.room import Publication, Room
from hubbub.wire.messages import Command, Event

__all__ = [
    "Command",
    "CommandError",
    "Config",
    "ConfigError",
    "Connection",
    "Event",
    "Hubbub",
    "HubbubError",
    "LocalError",
    "PeerError",
    "Publication",
    "Room",
]
__version__ = "0.1.0"

del _node
