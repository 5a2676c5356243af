"""`tradewire verify`: counts afresh what the store keeps beside the messages."""

import sys
import time
from collections.abc import AsyncIterator, Iterable

import click
import uvloop

from tradewire.adapters.sqlite import verify as sqlite_verify
from tradewire.cli.settings import Fault, data_option, effective, require_driver
from tradewire.config import Settings, scylla_options
from tradewire.domain.errors import TradewireError
from tradewire.domain.recount import Recount
from tradewire.ports import StoreError


class _Report:
    """Tells differences as they are found, and how much was looked at."""

    def __init__(self) -> None:
        self.differences = 0
        self._conversations = 0
        self._members = 0

    def add(self, recount: Recount) -> None:
        for line in recount.differences:
            click.echo(line)
        self.differences += len(recount.differences)
        self._conversations += recount.conversations
        self._members += recount.members

    def end(self) -> None:
        found = f"{self.differences or 'no'} difference{'' if self.differences == 1 else 's'}"
        click.echo(f"{self._conversations} conversations, {self._members} members: {found}")


@click.command()
@data_option
@click.option("--tenant", metavar="T", help="Look at one tenant only.")
def verify(data: str | None, tenant: str | None) -> None:
    """Recount the store, and tell what differs.

    Indexes and marks are compared with the messages, all of them, while a server may go on: of the
    cluster of the SCYLLA_* settings, or of the data folder where there are none or --data is given.
    Prints a line for each difference; the exit code is 1 if there is one.
    """
    settings = effective(data_dir=data, store=None if data is None else "sqlite")
    report = _Report()
    try:
        if settings.store == "sqlite":
            _add_all(report, sqlite_verify.recounts(settings.data_dir, tenant, _now_ms()))
        else:
            require_driver()
            uvloop.run(_add_cluster(report, settings, tenant))
    except StoreError as error:
        raise Fault(str(error)) from error
    except TradewireError as error:
        raise click.ClickException(f"The cluster does not answer: {error}") from error
    report.end()
    sys.exit(1 if report.differences else 0)


def _add_all(report: _Report, recounts: Iterable[Recount]) -> None:
    for recount in recounts:
        report.add(recount)


async def _add_cluster(report: _Report, settings: Settings, tenant: str | None) -> None:
    from tradewire.adapters.scylla.verify import Verification  # noqa: PLC0415  # needs the driver

    async with Verification(scylla_options(settings), _now_ms) as verification:
        found: AsyncIterator[Recount] = verification.recounts(tenant)
        async for recount in found:
            report.add(recount)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
