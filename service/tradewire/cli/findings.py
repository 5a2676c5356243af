"""What the checks of `tradewire doctor` find."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What one check found; `advice` says what to do about it."""

    level: Literal["ok", "warn", "fail"]
    about: str
    found: str
    advice: str = ""
