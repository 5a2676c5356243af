"""``python -m loadtest``."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from loadtest.bench import GeneratorError, Options, compare
from loadtest.report import show, summarize
from loadtest.servers import Floor, ServerError, Tradewire


@click.group()
def main() -> None:
    """Load tests of Tradewire."""


@main.command()
@click.option("--duration", default=3.0, show_default=True, help="Measured seconds of a run.")
@click.option("--rounds", default=6, show_default=True, type=click.IntRange(1))
@click.option("--connections", default=200, show_default=True, type=click.IntRange(2))
@click.option("--in-flight", default=16, show_default=True, help="Messages of each connection.")
@click.option("--rate", default=1000.0, show_default=True, help="Messages/s of the open loop.")
@click.option("--protocol", default="json", type=click.Choice(["json", "msgpack"]))
@click.option("--out", type=click.Path(path_type=Path), help="File for the results, as JSON.")
def bench(out: Path | None, **options: Any) -> None:
    """Compare Tradewire with the floor, a bare durable relay.

    Exits with 1 when a target is missed, with 2 when the run proves nothing.
    """
    console = Console()
    try:
        results = asyncio.run(compare(Options(**options), Floor(), Tradewire(), console.print))
    except (ServerError, GeneratorError, TimeoutError) as error:
        console.print(f"[red]invalid:[/] {escape(f'{type(error).__name__}: {error}')}")
        sys.exit(2)
    report = summarize(results)
    show(report, console)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(
            msgspec.json.format(msgspec.json.encode({"report": report, "results": results}))
        )
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main()
