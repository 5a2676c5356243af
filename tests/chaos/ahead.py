"""The command `tradewire` with a wall clock that is ahead: the milliseconds come first."""

import sys

from tradewire import app
from tradewire.cli import main

AHEAD_MS = int(sys.argv.pop(1))
true_ms = app.now_ms


def now_ms() -> int:
    """Milliseconds since 1970 by a clock that is wrong."""
    return true_ms() + AHEAD_MS


app.now_ms = now_ms
main(prog_name="tradewire")
