"""`tradewire token`."""

import click

from tradewire.cli.settings import data_option, effective, signing_secret
from tradewire.config import Settings
from tradewire.domain.caller import ROLES
from tradewire.edge.auth import mint


def sign(
    settings: Settings,
    user: str,
    *,
    ttl_s: int,
    roles: tuple[str, ...] = (),
    tenant: str = "default",
) -> str:
    """A token that a server with these settings accepts.

    Raises:
        Fault: it cannot be signed here.
        ValueError: the user or the tenant is no name.
    """
    return mint(
        signing_secret(settings),
        user,
        roles,
        ttl_s,
        tenant,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )


@click.command()
@click.option("--user", required=True, help="Whom the token speaks for.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(sorted(ROLES)),
    help="A role that it carries; may be given several times.",
)
@click.option(
    "--ttl",
    type=click.IntRange(1, 10 * 366 * 86_400),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long it holds.",
)
@click.option("--tenant", default="default", show_default=True, help="The tenant it belongs to.")
@data_option
def token(user: str, roles: tuple[str, ...], ttl: int, tenant: str, data: str | None) -> None:
    """Print a token for a user.

    It is signed with the secret that the server verifies it with: JWT_SECRET, or that of the data
    folder, which is made if there is none.
    """
    try:
        signed = sign(effective(data_dir=data), user, ttl_s=ttl, roles=roles, tenant=tenant)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(signed)
