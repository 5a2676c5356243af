"""The command line, the only reader of its arguments and of the environment."""

import click

from tradewire.cli.dead_letters import dead_letters
from tradewire.cli.doctor import doctor
from tradewire.cli.migrate import migrate
from tradewire.cli.migrate_store import migrate_store
from tradewire.cli.serving import serve
from tradewire.cli.settings import config
from tradewire.cli.talking import chat, send, tail
from tradewire.cli.tokens import revoke, token
from tradewire.cli.verify import verify


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are environment variables: see `tradewire config`.",
)
@click.version_option(package_name="tradewire", message="%(prog)s %(version)s")
def main() -> None:
    """The messaging backend of a marketplace: serve it, look after it, talk through it."""


for command in (
    *(serve, chat, send, tail, token, revoke, config, doctor),
    *(migrate, migrate_store, verify, dead_letters),
):
    main.add_command(command)
