import os
import secrets
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Writes a line that is seen whether the test passes or not."""

    def written(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return written


@pytest.fixture
def seed(tell: Callable[[str], None]) -> int:
    """What the random moments are drawn from: TRADEWIRE_SEED, to repeat a failure, or fresh."""
    drawn = int(os.environ.get("TRADEWIRE_SEED") or secrets.randbits(32))
    tell(f"TRADEWIRE_SEED={drawn}")
    return drawn
