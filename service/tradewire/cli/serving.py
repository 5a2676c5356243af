"""`tradewire serve`."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import click
import structlog
import uvloop

from tradewire import app
from tradewire.cli.migrate import bring_up
from tradewire.cli.settings import Fault, data_option, effective, require_client, require_driver
from tradewire.cli.tokens import sign
from tradewire.cli.workers import Workers
from tradewire.config import Settings
from tradewire.config.parsing import LOOPBACK
from tradewire.edge.server import CannotListen
from tradewire.ports import BrokerError, StoreError
from tradewire.telemetry import logs

DEMO_USERS = ("alice", "bob")
DEMO_TTL_S = 86_400


@click.command()
@click.option("--host", help="Address to listen on.  [LISTEN_HOST, else 127.0.0.1]")
@click.option("--port", help="Port to listen on; 0 takes a free one.  [LISTEN_PORT, else 8080]")
@data_option
@click.option("--store", metavar="sqlite|scylla", help="Where messages are kept.")
@click.option("--events", metavar="embedded|kafka", help="Where domain events go.")
@click.option("--workers", metavar="N", help="Processes that serve.")
@click.option("--migrate", is_flag=True, help="Bring the schema of a cluster up first.")
@click.option(
    "--demo", is_flag=True, help="Print two lines to paste into two terminals; on loopback only."
)
def serve(
    *,
    host: str | None,
    port: str | None,
    data: str | None,
    store: str | None,
    events: str | None,
    workers: str | None,
    migrate: bool,
    demo: bool,
) -> None:
    """Serve until SIGTERM, which drains; a second one ends at once.

    Once it takes traffic it prints `ready http://HOST:PORT` on standard output. The log goes to
    standard error.
    """
    settings = effective(
        host=host, port=port, data_dir=data, store=store, events=events, workers=workers
    )
    invitation = _invitation(settings) if demo else None
    _configure_logs(settings)
    if settings.events == "kafka":
        require_client()
    if settings.store == "scylla":
        _prepare(settings, migrate=migrate)

    def on_ready(url: str) -> None:
        click.echo(f"ready {url}")
        if invitation is not None:
            click.echo(invitation(url))

    try:
        if settings.workers > 1:
            code = Workers(_serve_node, settings).run(on_ready)
        else:
            code = _serve_node(settings, on_ready)
    except CannotListen as error:
        raise Fault(str(error)) from error
    sys.exit(code)


def _serve_node(settings: Settings, on_ready: Callable[[str], None]) -> int:
    """Serve as one node in this process; the exit code."""
    _configure_logs(settings)
    try:
        return uvloop.run(app.serve(settings, on_ready=on_ready))
    except (StoreError, BrokerError, CannotListen) as error:
        raise Fault(str(error)) from error


def _configure_logs(settings: Settings) -> None:
    logs.configure(settings.log_level, settings.log_format, service=settings.service_name)


def _prepare(settings: Settings, *, migrate: bool) -> None:
    """What comes before a node on a cluster."""
    require_driver()
    if migrate:
        log = structlog.get_logger(__name__)
        version = bring_up(settings, lambda line: log.info("migrating", step=line))
        log.info("migrated", schema=version)


def _invitation(settings: Settings) -> Callable[[str], str]:
    """What to tell the newcomer once the address is known; the tokens are signed before."""
    if settings.host not in LOOPBACK:
        raise click.UsageError("--demo prints tokens that work: it serves on 127.0.0.1 only.")
    tokens = {user: sign(settings, user, ttl_s=DEMO_TTL_S) for user in DEMO_USERS}

    def told(url: str) -> str:
        buyer, seller = DEMO_USERS
        return (
            f"\nTradewire serves on {url}. A buyer and a seller, for {DEMO_TTL_S // 3600} hours:\n"
            f"  {buyer}  {tokens[buyer]}\n  {seller}    {tokens[seller]}\n"
            f"\nPaste one line into each of two terminals, and talk:\n\n"
            f"{_chat_line(url, tokens[buyer], seller)}\n\n"
            f"{_chat_line(url, tokens[seller], buyer)}\n"
        )

    return told


def _chat_line(url: str, token: str, peer: str) -> str:
    command = Path(sys.executable).with_name("tradewire")
    start = [str(command)] if command.exists() else [sys.executable, "-m", "tradewire"]
    return shlex.join([*start, "chat", "--url", url, "--token", token, "--with", peer])
