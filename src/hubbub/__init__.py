"""Hubbub: a real-time server and framework. These are its public names; a test pins them."""

from hubbub import node as _node  # gives Hubbub.asgi its concrete parts
from hubbub.app import Hubbub
from hubbub.config import Config, RoomPolicy
from hubbub.errors import BrokerError, CommandError, ConfigError, HandshakeError, HubbubError, LocalError, PeerError
from hubbub.hub.connection import Connection
from hubbub.hub.control import ConnectionInfo, ConnectionPage, Disconnected
from hubbub.hub.counters import Stats
from hubbub.hub.identity import Credentials, Grants, Identity
from hubbub.hub.member import Member
from hubbub.hub.publication import Publication
from hubbub.hub.room import Room
from hubbub.wire.messages import Command, Event, MessageId

__all__ = [
    "BrokerError",
    "Command",
    "CommandError",
    "Config",
    "ConfigError",
    "Connection",
    "ConnectionInfo",
    "ConnectionPage",
    "Credentials",
    "Disconnected",
    "Event",
    "Grants",
    "HandshakeError",
    "Hubbub",
    "HubbubError",
    "Identity",
    "LocalError",
    "Member",
    "MessageId",
    "PeerError",
    "Publication",
    "Room",
    "RoomPolicy",
    "Stats",
]
__version__ = "0.1.0"

del _node
