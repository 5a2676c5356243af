"""`tradewire migrate-store`: moves a data folder into a cluster, and compares the two."""

import asyncio
import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import msgspec
import uvloop
from msgspec import Struct, structs

from tradewire.adapters.sqlite.export import Export
from tradewire.cli.meter import meter
from tradewire.cli.migrate import bring_up
from tradewire.cli.settings import Fault, effective, require_driver
from tradewire.config import Settings, scylla_options
from tradewire.domain.errors import TradewireError
from tradewire.domain.snapshot import ConversationSnapshot, Position, Step
from tradewire.ports import StoreError

if TYPE_CHECKING:
    from tradewire.adapters.scylla.load import Load

PROGRESS_FILE = "migrate-store.progress.json"
SAVED_S = 2.0

COMPARED_AT_ONCE = 32

STEPS: tuple[Step, ...] = get_args(Step)


class Progress(Struct):
    """What is done of a migration, as the file in the data folder says.

    Attributes:
        target: the keyspace that is filled.
        newest: the greatest id in the folder when it began.
        positions: how far the steps have come that were begun.
        finished: the steps that are done.
    """

    target: str
    newest: int
    positions: dict[Step, Position] = {}
    finished: list[Step] = []


@click.command("migrate-store")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the embedded store; no server may be using it.",
)
@click.option("--to", required=True, type=click.Choice(["scylla"]), help="Where it goes.")
@click.option("--migrate", is_flag=True, help="Bring the schema of the keyspace up first.")
@click.option("--verify-only", is_flag=True, help="Move nothing, only compare.")
def migrate_store(source: Path, to: str, *, migrate: bool, verify_only: bool) -> None:
    """Move the embedded store into a cluster.

    The SCYLLA_* settings say which; no node may be serving from it. What is interrupted goes on
    where it was when it is run again, and running it again changes nothing. At the end the two
    stores are compared, conversation by conversation: the exit code is 1 if they differ.

    The folder stays as it is, but for a file that says how far this has come.
    """
    settings = effective(store=to)
    require_driver()
    try:
        with Export(source) as export:
            if migrate:
                bring_up(settings, lambda line: click.echo(line, err=True))
            found = uvloop.run(_migrate(settings, export, moves=not verify_only))
    except StoreError as error:
        raise Fault(str(error)) from error
    except TradewireError as error:
        raise click.ClickException(
            f"The cluster does not answer ({error.__cause__ or error}): run this again, it goes on"
            " from where it was."
        ) from error
    except KeyboardInterrupt:
        raise click.ClickException(
            "Interrupted; run again, it goes on from where it was."
        ) from None
    sys.exit(1 if found else 0)


async def _migrate(settings: Settings, export: Export, *, moves: bool) -> bool:
    """Whether the stores differ at the end."""
    from tradewire.adapters.scylla.load import Load  # noqa: PLC0415  # needs the driver

    options = scylla_options(settings)
    async with Load(options, cell=settings.cell_id, newest=export.newest) as load:
        if moves:
            await Migration(export, load).run()
        return await compare(export, load)


class Migration:
    """One folder on its way into one keyspace.

    Args:
        saved_s: so much of the work is done again at most when it was interrupted.
    """

    def __init__(self, export: Export, load: "Load", saved_s: float = SAVED_S) -> None:
        self._saved_s = saved_s
        self._export = export
        self._load = load
        self._file = export.path / PROGRESS_FILE
        self._saved_at = time.monotonic()

    async def run(self) -> None:
        """Move all that is not moved yet.

        Raises:
            StoreError: nodes serve from the cluster, or the folder has changed since a part of it
                was moved.
            Unavailable, Overloaded: the cluster did not answer for a while.
        """
        await self._load.refuse_nodes()
        self._progress = self._begin()
        for step in STEPS:
            if step not in self._progress.finished:
                await self._move(step)
                self._progress.finished.append(step)
                self._save()
        await self._load.refuse_nodes()
        await self._load.finish()

    def _begin(self) -> Progress:
        target, newest = self._load.target, self._export.newest
        found = read_progress(self._file)
        if found is None or found.target != target:
            return Progress(target, newest)
        if found.newest != newest:
            raise StoreError(
                f"{self._file.parent} was written to since it was moved, or a part of it: empty the"
                " keyspace (`tradewire migrate down --to 0 --yes`, then `up`) and move it again."
            )
        return found

    async def _move(self, step: Step) -> None:
        after = self._progress.positions.get(step, [])
        with meter(step, self._export.size(step, after)) as advance:
            for position, item in self._export.items(step, after):
                await self._load.put(item)
                if step != "conversations" or isinstance(item, ConversationSnapshot):
                    advance()
                if time.monotonic() - self._saved_at > self._saved_s:
                    await self._load.flush()
                    self._progress.positions[step] = position
                    self._save()
        await self._load.flush()

    def _save(self) -> None:
        write_progress(self._file, self._progress)
        self._saved_at = time.monotonic()


async def compare(export: Export, load: "Load") -> bool:
    """Compare every conversation, tell of the differences; whether there are any."""
    differences = compared = 0
    with meter("comparing", export.size("conversations", [])) as advance:
        found = export.conversations()
        while batch := list(islice(found, COMPARED_AT_ONCE)):
            told = await asyncio.gather(*(_compare(export, load, each) for each in batch))
            for line in (line for lines in told for line in lines):
                click.echo(line)
                differences += 1
            for _ in batch:
                advance()
            compared += len(batch)
    click.echo(f"{compared} conversations compared: {differences or 'no'} differences")
    return bool(differences)


async def _compare(export: Export, load: "Load", conversation: ConversationSnapshot) -> list[str]:
    number, name = conversation.number, f"{conversation.tenant} {conversation.id}"
    there = await load.contents(
        conversation.tenant, conversation.id, export.edited(number), export.changed(number)
    )
    if there is None:
        return [f"{name}: is not in the cluster"]
    here, found = structs.asdict(export.contents(number)), structs.asdict(there)
    return [
        f"{name}: {what}: {here[what]} in the folder, {found[what]} in the cluster"
        for what in here
        if here[what] != found[what]
    ]


def read_progress(file: Path) -> Progress | None:
    """What a file says, None if it is not there.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise StoreError(f"{file} cannot be read: {error}; remove it to begin anew.") from error


def write_progress(file: Path, progress: Progress) -> None:
    """Replace the file, durably and at once.

    Raises:
        StoreError: it cannot be written.
    """
    beside = file.with_suffix(".new")
    try:
        with beside.open("wb") as new:
            new.write(msgspec.json.encode(progress))
            new.flush()
            os.fsync(new.fileno())
        beside.replace(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error}.") from error
