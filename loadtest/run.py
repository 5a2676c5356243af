"""``python -m loadtest run`` and ``scenarios``."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import aiohttp
import click
import msgspec
import psutil
from rich.console import Console
from rich.markup import escape

from loadtest.bench import raise_file_limit
from loadtest.controller import GeneratorError
from loadtest.deployment import Deployment, Own, Tell, at, own
from loadtest.live import shown_on
from loadtest.machine import commit, this_machine
from loadtest.quota import LEAST_CORES
from loadtest.results import Result, save
from loadtest.running import Runner
from loadtest.scenario import AnyScenario, ScenarioError, bundled, load_scenario
from loadtest.servers import ROOT, ServerError
from loadtest.summary import show
from loadtest.terminal import wide_console
from loadtest.websocket import WebSocketError
from tradewire.testing.engines import EngineError

RESULTS = ROOT / "loadtest" / "results" / "local"
NODES_OF_A_CLUSTER = 2
FILE_WIDTH = 140
FAILURES = (
    ScenarioError, ServerError, GeneratorError, EngineError, WebSocketError, TimeoutError, OSError,
    aiohttp.ClientError, psutil.Error,
)  # fmt: skip
"""What keeps a run from proving anything."""

Opening = Callable[[Tell], AbstractAsyncContextManager[Deployment]]
Command = TypeVar("Command", bound=Callable[..., object])

COMMON = (
    click.argument("scenario"),
    click.option(
        "--self", "kind", type=click.Choice(get_args(Own)), help="Start what is loaded (sqlite)."
    ),
    click.option("--nodes", type=click.IntRange(1), help="Nodes of a cluster that is started (2)."),
    click.option(
        "--cores",
        type=click.FloatRange(min=LEAST_CORES),
        help="What each process of theirs is held to (Linux, root).",
    ),
    click.option("--out", type=click.Path(path_type=Path), help="File for the result, as JSON."),
    click.option("--rate", type=float, help="Operations a second."),
    click.option(
        "--closed",
        "in_flight",
        type=int,
        metavar="IN_FLIGHT",
        help="In place of a rate: operations that each connection keeps under way.",
    ),
    click.option("--seconds", type=float, help="Measured seconds."),
    click.option("--connections", type=int, help="WebSockets, or readers over HTTP."),
    click.option("--processes", type=int, help="Generators."),
    click.option("--protocol", help="json or msgpack."),
    click.option("--search", is_flag=True, help="Look for the greatest rate that is held."),
    click.option("--p99-ms", type=float, help="The objective: p99 of the chief latency."),
)


def common(command: Command) -> Command:
    """Give a command what whatever runs a scenario takes."""
    for parameter in reversed(COMMON):
        command = parameter(command)
    return command


@click.command()
@common
@click.option("--url", "urls", multiple=True, help="A server that runs already; repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A server's setting.")
def run(
    scenario: str,
    urls: tuple[str, ...],
    kind: Own | None,
    nodes: int | None,
    cores: float | None,
    settings: tuple[str, ...],
    out: Path | None,
    search: bool,
    **overrides: Any,
) -> None:
    """Carry out a scenario and write down what came of it.

    SCENARIO is the name of a bundled one or the path of a TOML file; options replace its values.
    Tokens for servers that run already are signed with JWT_SECRET. With several servers each
    connection goes to the next one.

    Exits with 1 when a server did something wrong, with 2 when the run proves nothing.
    """
    console = wide_console(FILE_WIDTH)
    try:
        wanted = wanted_of(scenario, overrides, search=search)
        given = settings_of(settings)
        opening = target(urls, kind, nodes, given, on_kafka=wanted.on_kafka, cores=cores)
        result = asyncio.run(carry_out(wanted, opening, console, search=search))
    except FAILURES as error:
        give_up(error, console)
    path = out or RESULTS / f"{wanted.name}-{result.started_at.replace(':', '')}.json"
    save(result, path)
    show(result, console)
    console.print(f"written to {path}", markup=False, soft_wrap=True)
    sys.exit(result.exit_code)


@click.command()
def scenarios() -> None:
    """List the bundled scenarios."""
    for path in bundled():
        print(f"{path.stem:18}{load_scenario(path.stem).description}")


def wanted_of(name: str, overrides: Mapping[str, Any], *, search: bool) -> AnyScenario:
    """The scenario, with the options that were given in place of its values.

    Raises `ScenarioError`.
    """
    given = {field: value for field, value in overrides.items() if value is not None}
    scenario = load_scenario(name, given)
    check(scenario, search=search)
    return scenario


def check(scenario: AnyScenario, *, search: bool) -> None:
    """Raise `ScenarioError` for a search that cannot be."""
    if search and not scenario.searchable:
        raise ScenarioError(f"--search: {scenario.name} has no rate to be looked for")
    if search and scenario.rate is None:
        raise ScenarioError("`rate`: a search needs one to begin with")
    if search and scenario.p99_ms is None:
        raise ScenarioError("`p99_ms`: a search needs an objective")


def target(
    urls: tuple[str, ...],
    kind: Own | None,
    nodes: int | None,
    settings: dict[str, str],
    *,
    on_kafka: bool,
    cores: float | None,
) -> Opening:
    """What is to be loaded; raises `click.UsageError` for options that contradict each other."""
    if urls and (kind or settings or cores is not None):
        raise click.UsageError("--url: what runs already is neither started nor set up here")
    if nodes is not None and kind != "cluster":
        raise click.UsageError("--nodes: only of --self cluster")
    if urls:
        return lambda _: at(urls)
    count = (nodes or NODES_OF_A_CLUSTER) if kind == "cluster" else 1
    return lambda tell: own(kind or "sqlite", count, settings, tell, on_kafka=on_kafka, cores=cores)


def settings_of(words: tuple[str, ...]) -> dict[str, str]:
    """The settings of KEY=VALUE; raises `click.UsageError`."""
    for word in words:
        if "=" not in word:
            raise click.UsageError(f"--set {word}: must be KEY=VALUE")
    return dict(word.split("=", 1) for word in words)


async def carry_out(
    scenario: AnyScenario, opening: Opening, console: Console, *, search: bool
) -> Result:
    """Run a scenario or a search; raises one of `FAILURES`."""
    raise_file_limit()
    started_at = datetime.now(UTC)
    with shown_on(console) as watch:
        async with opening(watch.tell) as deployment:
            runner = Runner(scenario, deployment, watch)
            saturation = None
            if search:
                saturation = await runner.search()
            else:
                await runner.run()
    return Result(
        name=scenario.name,
        description=scenario.description,
        started_at=started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        scenario=msgspec.to_builtins(scenario),
        chief=scenario.chief,
        objective_ms=scenario.p99_ms,
        target=deployment.name,
        settings=dict(deployment.settings),
        machine=this_machine(),
        commit=commit(),
        versions=dict(deployment.versions),
        steps=runner.steps,
        saturation=saturation,
    )


def give_up(error: BaseException, console: Console) -> NoReturn:
    """Say what went wrong, and end."""
    console.print(f"[red]invalid:[/] {escape(named(error))}", soft_wrap=True)
    sys.exit(2)


def named(error: BaseException) -> str:
    """An error in words; those that are not ours with their type."""
    ours = isinstance(error, ScenarioError | ServerError | GeneratorError | EngineError)
    return str(error) if ours else f"{type(error).__name__}: {error}"
