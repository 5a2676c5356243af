"""The ports in memory."""

from tradewire.adapters.memory.store import MemoryStore

__all__ = ["MemoryStore"]
