"""``python -m loadtest``."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource
from rich.markup import escape

from loadtest.bench import Options, compare
from loadtest.controller import GeneratorError
from loadtest.figures import Report, show
from loadtest.report import summarize
from loadtest.result_commands import COMMANDS
from loadtest.run import run, scenarios
from loadtest.servers import Floor, ServerError, Tradewire
from loadtest.sweep import sweep
from loadtest.terminal import wide_console

Measured = tuple[Report, msgspec.Struct]
Progress = Callable[[str], None]


@click.group()
def main() -> None:
    """Load tests of Tradewire."""


@main.command()
@click.option("--store", default="sqlite", type=click.Choice(["sqlite", "scylla"]))
@click.option("--cluster", is_flag=True, help="Two nodes beside one, on Cassandra and Kafka.")
@click.option("--duration", default=3.0, show_default=True, help="Measured seconds of a run.")
@click.option("--rounds", type=click.IntRange(1), show_default="6, on an engine 4")
@click.option("--connections", default=200, show_default=True, type=click.IntRange(2))
@click.option("--in-flight", default=16, show_default=True, help="Messages of each connection.")
@click.option(
    "--rate", type=float, show_default="2000, on an engine 500", help="Messages/s of the open loop."
)
@click.option("--protocol", default="json", type=click.Choice(["json", "msgpack"]))
@click.option("--out", type=click.Path(path_type=Path), help="File for the results, as JSON.")
@click.pass_context
def bench(
    context: click.Context, /, store: str, cluster: bool, out: Path | None, **options: Any
) -> None:
    """Compare Tradewire with a floor.

    On sqlite that is a bare durable relay; on scylla the plain driver, on the Cassandra or ScyllaDB
    at TRADEWIRE_SCYLLA (host:port), else on one that is started here. With --cluster two nodes,
    between which every message crosses, are compared with one, on the Kafka at TRADEWIRE_KAFKA too.

    Exits with 1 when a target is missed, with 2 when the run proves nothing.
    """
    if cluster and context.get_parameter_source("store") is not ParameterSource.DEFAULT:
        raise click.UsageError("--cluster is always on scylla: leave --store out")
    console = wide_console()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        measure = MEASURES["cluster" if cluster else store]
        report, results = measure(given, lambda line: console.print(line, markup=False))
    except (ServerError, GeneratorError, TimeoutError) as error:
        console.print(f"[red]invalid:[/] {escape(f'{type(error).__name__}: {error}')}")
        sys.exit(2)
    show(report, console)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(
            msgspec.json.format(msgspec.json.encode({"report": report, "results": results}))
        )
    sys.exit(report.exit_code)


def on_sqlite(given: Mapping[str, Any], progress: Progress) -> Measured:
    """The embedded default beside the bare relay; raises as `compare` does."""
    results = asyncio.run(compare(Options(**given), Floor(), Tradewire(), progress))
    return summarize(results), results


def on_scylla(given: Mapping[str, Any], progress: Progress) -> Measured:
    """A node on an engine beside the plain driver; raises as `scylla_bench.measure` does."""
    from loadtest import scylla_bench, scylla_report  # noqa: PLC0415  # they need the driver

    results = scylla_bench.measure(scylla_bench.Options(**given), progress)
    return scylla_report.summarize(results), results


def on_cluster(given: Mapping[str, Any], progress: Progress) -> Measured:
    """Two nodes beside one; raises as `cluster_bench.measure` does."""
    from loadtest import cluster_bench, cluster_report  # noqa: PLC0415  # they need the drivers

    results = cluster_bench.measure(cluster_bench.Options(**given), progress)
    return cluster_report.summarize(results), results


MEASURES = {"sqlite": on_sqlite, "scylla": on_scylla, "cluster": on_cluster}

for command in (run, scenarios, sweep, *COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main()
