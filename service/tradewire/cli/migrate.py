"""`tradewire migrate`: the schema of the embedded store."""

import sqlite3
from pathlib import Path

import click

from tradewire.adapters.sqlite.folder import DataFolder
from tradewire.adapters.sqlite.schema import MIGRATIONS
from tradewire.cli.settings import Fault, data_option, effective
from tradewire.ports import StoreError

NEWEST = len(MIGRATIONS)


@click.group()
def migrate() -> None:
    """Show or change the schema of the store.

    `tradewire serve` brings the schema of the embedded store up by itself.
    """


@migrate.command()
@data_option
def up(data: str | None) -> None:
    """Bring the schema to the newest version; the server must not be running."""
    folder = DataFolder(effective(data_dir=data).data_dir)
    try:
        folder.open()
    except StoreError as error:
        raise Fault(str(error)) from error
    folder.close()
    click.echo(f"schema {NEWEST}, the newest")


@migrate.command()
@data_option
def down(data: str | None) -> None:
    """Refused: the schema of the embedded store has no way down."""
    folder = effective(data_dir=data).data_dir
    raise Fault(
        "The schema of the embedded store has no way down: stop the server and put back a copy of"
        f" {folder} that was made before the last migration."
    )


@migrate.command()
@data_option
def status(data: str | None) -> None:
    """Print the version of the schema, and the newest that this program knows."""
    folder = effective(data_dir=data).data_dir
    try:
        version = schema_version(folder)
    except sqlite3.Error as error:
        raise Fault(f"The database in {folder} cannot be read: {error}.") from error
    if version is None:
        click.echo(f"no database in {folder} yet; the newest schema is {NEWEST}")
    else:
        click.echo(f"schema {version}; the newest is {NEWEST}")


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
