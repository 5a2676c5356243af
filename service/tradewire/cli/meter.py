"""How far a long command has come: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

LINE_S = 10.0
STEPS = 200

Advance = Callable[[], None]
"""To be called after each thing that is done."""


@contextmanager
def meter(about: str, total: int) -> Iterator[Advance]:
    """Tell on standard error how many of `total` things are done."""
    if sys.stderr.isatty():
        with click.progressbar(
            length=total,
            label=f"{about:<18}",
            show_pos=True,
            update_min_steps=max(total // STEPS, 1),
            file=sys.stderr,
        ) as bar:
            yield lambda: bar.update(1)
    else:
        yield _Lines(about, total).advance


class _Lines:
    def __init__(self, about: str, total: int) -> None:
        self._about = about
        self._total = total
        self._done = 0
        self._told_at = time.monotonic()
        click.echo(f"{about}: {total}", err=True)

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told_at >= LINE_S:
            self._told_at = now
            click.echo(f"{self._about}: {self._done} of {self._total}", err=True)
