"""Time that passes when a test says so."""


class ManualClock:
    """A wall clock that stands still until it is moved. Call it for milliseconds since 1970."""

    def __init__(self, start_ms: int = 1_767_225_600_000) -> None:
        self._now = start_ms

    def __call__(self) -> int:
        return self._now

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self._now += milliseconds
