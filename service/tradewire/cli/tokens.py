"""`tradewire token` and `revoke`."""

import click

from tradewire.cli.settings import data_option, effective, signing_secret
from tradewire.cli.talking import run, url_option
from tradewire.client import HttpClient
from tradewire.config import Settings
from tradewire.domain.caller import ROLES
from tradewire.edge.auth import mint

OPERATOR = "operator"
"""Whom the token of a command speaks for that asks a server."""
OPERATOR_TTL_S = 60


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


@click.command()
@url_option
@click.option("--user", metavar="USER", help="Refuse all tokens that this user has now.")
@click.option("--token-id", metavar="ID", help="Refuse one token, by its `jti`.")
@click.option("--tenant", default="default", show_default=True, help="The tenant it belongs to.")
@data_option
def revoke(url: str, user: str | None, token_id: str | None, tenant: str, data: str | None) -> None:
    """Refuse tokens from now on, on every node; sockets that have them are closed.

    A user's later tokens are accepted again. It asks a running server, with a token signed as
    `tradewire token` does it.
    """
    if (user is None) == (token_id is None):
        raise click.UsageError("Give one of --user and --token-id.")
    settings = effective(data_dir=data)
    try:
        own = sign(settings, OPERATOR, ttl_s=OPERATOR_TTL_S, roles=("service",), tenant=tenant)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run(_revoke(url, own, {"user_id": user} if token_id is None else {"token_id": token_id}))


async def _revoke(url: str, token: str, which: dict[str, str | None]) -> None:
    async with HttpClient(url, token) as http:
        await http.request("POST", "/v1/revocations", json=which)
