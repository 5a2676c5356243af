"""`tradewire chat`, `send` and `tail`: a user's end, through the client."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from tradewire.cli.chat import talk
from tradewire.cli.display import line
from tradewire.client import Client, ClientError

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""

url_option = click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, help="Address of the server."
)
token_option = click.option("--token", required=True, help="The user's token.")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a client's work; what the server or the network refuses ends with exit code 1."""
    try:
        asyncio.run(work)
    except ClientError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@click.command()
@url_option
@token_option
@click.option("--with", "peer", required=True, metavar="USER", help="Whom to talk to.")
def chat(url: str, token: str, peer: str) -> None:
    """Talk to a user, line by line.

    What is typed is sent, what happens is shown: messages, typing, receipts. It survives a restart
    of the server: lines typed meanwhile go out when it is back.
    """
    run(talk(url, token, peer))


@click.command()
@url_option
@token_option
@click.option("--conversation", metavar="ID", help="The conversation to send to.")
@click.option("--to", "peer", metavar="USER", help="The user to send to, in place of an id.")
@click.argument("text")
def send(url: str, token: str, conversation: str | None, peer: str | None, text: str) -> None:
    """Send a message.

    Prints the id of the message once it is durable.
    """
    if (conversation is None) == (peer is None):
        raise click.UsageError("Give one of --conversation and --to.")
    run(_send(url, token, conversation, peer, text))


async def _send(
    url: str, token: str, conversation: str | None, peer: str | None, text: str
) -> None:
    async with Client(url, token, acknowledge_delivery=False) as client:
        if conversation is None:
            opened = await client.request("CreateConversation", user_id=peer)
            conversation = opened["conversation"]["conversation_id"]
        sent = await client.send(conversation, text)
        click.echo(sent["message"]["message_id"])


@click.command()
@url_option
@token_option
@click.option("--since", metavar="ID", help="Begin after this id; 0 is the beginning.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as they come, one a line.")
def tail(url: str, token: str, since: str | None, *, as_json: bool) -> None:
    """Print what happens in a user's conversations.

    It goes on until Ctrl-C, and comes back by itself when the connection is lost.
    """
    if since is not None and not since.isdecimal():
        raise click.BadParameter("must be an id, or 0.", param_hint="--since")
    run(_tail(url, token, since, _as_json if as_json else line))


def _as_json(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)


async def _tail(
    url: str, token: str, since: str | None, shown: Callable[[dict[str, Any]], str]
) -> None:
    async with Client(url, token, since=since) as client:
        async for event in client.events():
            click.echo(shown(event))
