"""The effective settings, and how a command ends when something is wrong with them."""

import os
from importlib.util import find_spec

import click

from tradewire.config import Settings, SettingsError, describe, load_settings
from tradewire.edge.auth import load_or_create_secret

data_option = click.option(
    "--data", metavar="DIR", help="Folder of the embedded store.  [DATA_DIR, else ./data]"
)

MISSING_DRIVER = "STORE=scylla needs the extra: pip install tradewire[scylla]"
MISSING_CLIENT = "EVENTS=kafka needs the extra: pip install tradewire[kafka]"


class Fault(click.ClickException):
    """What keeps a command from starting; told on standard error as it is, exit code 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:  # noqa: ARG002 - the signature is click's
        click.echo(self.message, err=True)


def effective(**overrides: object) -> Settings:
    """The settings of the environment and of the options given, by field.

    Raises:
        Fault: every fault there is, a line each.
    """
    try:
        return load_settings(os.environ, overrides)
    except SettingsError as error:
        raise Fault(str(error)) from error


def has_driver() -> bool:
    """Whether the driver of ScyllaDB and Cassandra is installed."""
    return find_spec("cassandra") is not None


def require_driver() -> None:
    """To be called before what needs the driver is imported.

    Raises:
        Fault: it is not installed.
    """
    if not has_driver():
        raise Fault(MISSING_DRIVER)


def has_client() -> bool:
    """Whether the client of Kafka is installed."""
    return find_spec("aiokafka") is not None


def require_client() -> None:
    """To be called before what needs the client of Kafka is imported.

    Raises:
        Fault: it is not installed.
    """
    if not has_client():
        raise Fault(MISSING_CLIENT)


def signing_secret(settings: Settings) -> str:
    """The secret to sign tokens with; one is made in the data folder where nothing is configured.

    Raises:
        Fault: the tokens are signed elsewhere, or the secret cannot be had.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    if settings.jwt_public_key is not None or settings.jwt_jwks_url is not None:
        raise Fault("Tokens are signed elsewhere: only JWT_SECRET or its absence lets me sign one.")
    try:
        return load_or_create_secret(settings.data_dir)
    except (OSError, ValueError) as error:
        raise Fault(f"There is no secret to sign with: {error}") from error


@click.command()
@data_option
def config(data: str | None) -> None:
    """Print the settings in effect.

    Each is an environment variable of that name. Secrets are masked.
    """
    click.echo(describe(effective(data_dir=data)), nl=False)
