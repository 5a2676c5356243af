"""`tradewire dead-letters`: records that could not be handled, looked at and put back."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import click
import uvloop

from tradewire.cli.settings import Fault, effective, require_client
from tradewire.config import kafka_options
from tradewire.domain.errors import Unavailable

if TYPE_CHECKING:
    from tradewire.adapters.kafka.dead_letters import DeadLetter, DeadLetterBox

Work = Callable[["DeadLetterBox"], Coroutine[Any, Any, None]]

chosen = click.argument("places", nargs=-1, metavar="[PARTITION:OFFSET]...")
all_option = click.option("--all", "all_", is_flag=True, help="All that are listed.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at records from Kafka that could not be handled, put them back, or drop them.

    Each is named by its place, PARTITION:OFFSET, as `list` shows it.
    """


@dead_letters.command("list")
def list_() -> None:
    """List them: place, topic, type, time, error."""

    async def work(box: "DeadLetterBox") -> None:
        for each in await box.letters():
            kind = each.type or "-"
            click.echo(f"{_name(each)}  {each.topic}  {kind}  {each.time}  {each.error}")

    _run(work)


@dead_letters.command()
@click.argument("place", metavar="PARTITION:OFFSET")
def show(place: str) -> None:
    """Show one: why it is there, its key and headers, and its value byte for byte."""

    async def work(box: "DeadLetterBox") -> None:
        (letter,) = await _find(box, (place,), all_=False)
        record = await box.record(letter.place)
        click.echo(f"key: {record.key!r}")
        for name, value in record.headers:
            click.echo(f"{name}: {value!r}")
        click.echo(f"value, {len(record.value or b'')} bytes:")
        click.echo(record.value or b"")

    _run(work)


@dead_letters.command()
@chosen
@all_option
def replay(places: Sequence[str], *, all_: bool) -> None:
    """Put records back into the topics they came from, as they were."""
    _for_each(places, "replayed", lambda box: box.replay, all_=all_)


@dead_letters.command()
@chosen
@all_option
def drop(places: Sequence[str], *, all_: bool) -> None:
    """Have records listed no more."""
    _for_each(places, "dropped", lambda box: box.drop, all_=all_)


def _for_each(
    places: Sequence[str],
    done: str,
    act: Callable[["DeadLetterBox"], Callable[["DeadLetter"], Awaitable[None]]],
    *,
    all_: bool,
) -> None:
    if bool(places) == all_:
        raise click.UsageError("Name some, or say --all.")

    async def work(box: "DeadLetterBox") -> None:
        for letter in await _find(box, places, all_=all_):
            await act(box)(letter)
            click.echo(f"{_name(letter)} {done}")

    _run(work)


async def _find(
    box: "DeadLetterBox", places: Sequence[str], *, all_: bool
) -> "Sequence[DeadLetter]":
    """Those that were named, or all.

    Raises:
        ClickException: one is not listed.
    """
    letters = {_name(letter): letter for letter in await box.letters()}
    unknown = [place for place in places if place not in letters]
    if unknown:
        raise click.ClickException(f"There is no dead letter {', '.join(unknown)}.")
    return list(letters.values()) if all_ else [letters[place] for place in places]


def _name(letter: "DeadLetter") -> str:
    partition, offset = letter.place
    return f"{partition}:{offset}"


def _run(work: Work) -> None:
    """Do it with the dead letters of the settings."""
    settings = effective()
    if settings.events != "kafka":
        raise Fault("Dead letters are kept on Kafka: set KAFKA_BROKERS.")
    require_client()
    from tradewire.adapters.kafka.dead_letters import DeadLetterBox  # noqa: PLC0415

    async def connected() -> None:
        async with DeadLetterBox(kafka_options(settings)) as box:
            await work(box)

    try:
        uvloop.run(connected())
    except Unavailable as error:
        raise click.ClickException(str(error)) from error
