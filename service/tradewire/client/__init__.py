"""The Python client of Tradewire: messages over a WebSocket that comes back by itself, and HTTP."""

from tradewire.client.client import Client, State
from tradewire.client.clock import Clock
from tradewire.client.errors import (
    AuthenticationFailed,
    ClientError,
    Closed,
    CommandError,
    ConnectionLost,
)
from tradewire.client.http import HttpClient
from tradewire.client.state import ChatState, ConversationState

__all__ = [
    "AuthenticationFailed",
    "ChatState",
    "Client",
    "ClientError",
    "Clock",
    "Closed",
    "CommandError",
    "ConnectionLost",
    "ConversationState",
    "HttpClient",
    "State",
]
