"""What can go wrong with an engine of the tests."""


class EngineError(Exception):
    """An engine did not start, did not answer, or cannot do what was asked."""


class EngineMissing(EngineError):
    """There is no engine to be had here; the message says what is missing and how to get it."""
