"""`tradewire migrate`: the schema of the store."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.schema import MIGRATIONS
from tradewire.cli.settings import Fault, data_option, effective, require_driver
from tradewire.config import Settings, scylla_options
from tradewire.ports import StoreError

NEWEST = len(MIGRATIONS)


@click.group()
def migrate() -> None:
    """Show or change the schema of the store.

    `tradewire serve` brings the schema of the embedded store up by itself. On ScyllaDB or Cassandra
    `tradewire migrate up` comes first, or `tradewire serve --migrate`.
    """


@migrate.command()
@data_option
def up(data: str | None) -> None:
    """Bring the schema to the newest version.

    On the embedded store the server must not be running. On a cluster it may; the keyspace is made
    if it is missing, and several of these at once are no harm.
    """
    settings = effective(data_dir=data)
    newest = bring_up(settings, click.echo)
    click.echo(f"schema {newest}, the newest")


@migrate.command()
@data_option
@click.option(
    "--to", type=click.IntRange(0), metavar="N", help="The schema to go back to; 0 drops all."
)
@click.option("--yes", is_flag=True, help="Confirm that data is dropped.")
def down(data: str | None, to: int | None, *, yes: bool) -> None:
    """Take the schema of a cluster back, and drop what only newer ones hold.

    No server may be running. The schema of the embedded store has no way down.
    """
    settings = effective(data_dir=data)
    if settings.store == "sqlite":
        raise Fault(
            "The schema of the embedded store has no way down: stop the server and put back a copy"
            f" of {settings.data_dir} that was made before the last migration."
        )
    if to is None:
        raise click.UsageError("Say --to which schema; 0 drops all.")
    _down(settings, to, sure=yes)
    click.echo(f"schema {to}")


@migrate.command()
@data_option
def status(data: str | None) -> None:
    """Print the version of the schema, and the newest that this program knows."""
    settings = effective(data_dir=data)
    if settings.store == "scylla":
        where = f"schema in the keyspace {settings.scylla_keyspace}"
        version, newest = _cluster_status(settings)
    else:
        where = f"database in {settings.data_dir}"
        version, newest = _folder_status(settings.data_dir), NEWEST
    if version is None:
        click.echo(f"no {where} yet; the newest schema is {newest}")
    else:
        click.echo(f"schema {version}; the newest is {newest}")


def bring_up(settings: Settings, tell: Callable[[str], None]) -> int:
    """Bring the schema of the store up, telling each step; returns its version.

    Raises:
        Fault: it cannot be done.
    """
    with _store_faults():
        if settings.store == "sqlite":
            folder = DataFolder(settings.data_dir)
            folder.open()
            folder.close()
            return NEWEST
        require_driver()
        from tradewire.adapters.scylla import schema  # noqa: PLC0415  # needs the driver

        return schema.up(scylla_options(settings), tell)


def _down(settings: Settings, to: int, *, sure: bool) -> None:
    if not sure:
        raise Fault(
            f"This drops tables of the keyspace {settings.scylla_keyspace} with all that is in"
            " them: stop the servers, take a snapshot, and confirm with --yes."
        )
    require_driver()
    from tradewire.adapters.scylla import schema  # noqa: PLC0415  # needs the driver

    with _store_faults():
        schema.down(scylla_options(settings), click.echo, to=to)


def _cluster_status(settings: Settings) -> tuple[int | None, int]:
    require_driver()
    from tradewire.adapters.scylla import schema  # noqa: PLC0415  # needs the driver

    options = scylla_options(settings)
    with _store_faults(), schema.reached(options) as connected:
        return schema.status(connected, options), schema.newest()


def _folder_status(folder: Path) -> int | None:
    try:
        return schema_version(folder)
    except sqlite3.Error as error:
        raise Fault(f"The database in {folder} cannot be read: {error}.") from error


def schema_version(folder: Path) -> int | None:
    """The version of a data folder's schema, None where there is no database.

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    data = DataFolder(folder)
    if not data.database.exists():
        return None
    database = data.connect_reader()
    try:
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
    finally:
        database.close()
    return version


@contextmanager
def _store_faults() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise Fault(str(error)) from error
