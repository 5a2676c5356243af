"""What can be done with results: ``report``, ``compare`` and ``list``."""

import sys
from functools import partial
from pathlib import Path

import click

from loadtest.listing import listing
from loadtest.result_figures import read
from loadtest.results import Result, ResultError
from loadtest.servers import ROOT
from loadtest.sweeps import sweep_at
from loadtest.terminal import wide_console

RESULTS = ROOT / "loadtest" / "results"


def read_result(
    context: click.Context, parameter: click.Parameter, path: Path
) -> tuple[Path, Result]:
    """The path of an argument, and the result in it."""
    if sweep_at(path) is not None:
        raise click.BadParameter(f"{path} is a sweep, not a run", context, parameter)
    try:
        return path, read(path)
    except ResultError as error:
        raise click.BadParameter(str(error), context, parameter) from error


result_argument = partial(click.argument, type=click.Path(path_type=Path), callback=read_result)


@click.command()
@result_argument("result")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="beside the result",
    help="File for the page.",
)
def report(result: tuple[Path, Result], out: Path | None) -> None:
    """Write the report of a run as one HTML page."""
    from loadtest import report_html  # noqa: PLC0415  # it takes a second to load

    path, found = result
    write(out or path.with_suffix(".html"), report_html.render(found))


@click.command()
@result_argument("a")
@result_argument("b")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="File for a page.")
def compare(a: tuple[Path, Result], b: tuple[Path, Result], html: Path | None) -> None:
    """Compare the result B with A.

    Exits with 1 when something got worse beyond noise, with 2 when the two cannot be compared.
    """
    from loadtest import compare_html, compare_text  # noqa: PLC0415  # they take a second to load
    from loadtest.compare import compare as compared  # noqa: PLC0415

    found = compared(a[1], b[1])
    compare_text.show(found, wide_console())
    if html is not None:
        write(html, compare_html.render(found))
    sys.exit(found.exit_code)


@click.command("list")
@click.argument(
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=RESULTS,
    required=False,
)
def list_results(folder: Path) -> None:
    """List the results and sweeps in a folder, by default those of the project."""
    lines, broken = listing(folder)
    for line in lines:
        print(line)
    for reason in broken:
        print(f"no result: {reason}", file=sys.stderr)


def write(path: Path, page: str) -> None:
    """Write a page and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    print(path)


COMMANDS = (report, compare, list_results)
