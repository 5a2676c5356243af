"""What is loaded: servers that run already, or nodes that are started for it."""

import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Literal
from urllib.parse import urlsplit

import aiohttp

from loadtest.cpu import Parts, family, listeners
from loadtest.plan import Endpoint
from loadtest.quota import held
from loadtest.servers import REQUEST_SECONDS, Server, ServerError, Tradewire, running
from tradewire.config import SETTINGS

Own = Literal["sqlite", "scylla", "cluster"]
Tell = Callable[[str], None]

SETTLE_SECONDS = 5.0
"""When all nodes can know of a connection, 2.5 s after it came, its user is told once more what is
of the last 10 s: each run has users of its own, who have been told nothing until then.
"""
SECRETS = {setting.name for setting in SETTINGS if setting.secret}
KNOWN = {setting.name for setting in SETTINGS}


@dataclass(frozen=True)
class Events:
    """The Kafka that the servers listen to."""

    brokers: str
    prefix: str


@dataclass(frozen=True)
class Deployment:
    """Servers that serve the same users.

    Attributes:
        name: in words.
        parts: their processes, as far as they are on this machine.
        settings: as far as they are known, without secrets.
        versions: of the product, the interpreter and the engines.
        settle: how long new connections must wait before all nodes know of them, and how fresh
            users must be: 0.0 of a single node.
        cold: whether engines were started with it, which are slow at first.
        events: None where there is no Kafka.
    """

    name: str
    servers: Sequence[Server]
    parts: Parts
    settings: Mapping[str, str]
    versions: Mapping[str, str]
    settle: float = 0.0
    events: Events | None = None
    cold: bool = False

    @property
    def url(self) -> str:
        """The address of one of them."""
        return self.servers[0].url

    @property
    def target(self) -> Tradewire:
        """What they are, and who makes tokens for them."""
        target = self.servers[0].target
        assert isinstance(target, Tradewire)
        return target

    def endpoint(self, user_id: str, turn: int = 0) -> Endpoint:
        """Where a user connects, to one of them in turn."""
        return self.servers[turn % len(self.servers)].endpoint(user_id)


@asynccontextmanager
async def at(urls: Sequence[str]) -> AsyncIterator[Deployment]:
    """Servers that run already; tokens are signed with JWT_SECRET.

    Raises `ServerError`.
    """
    if not os.environ.get("JWT_SECRET"):
        raise ServerError("JWT_SECRET: set it to the secret of the servers")
    target = Tradewire({"JWT_SECRET": os.environ["JWT_SECRET"]})
    servers = [Server(target, processes_at(url), url) for url in urls]
    pids = [pid for server in servers for pid in server.pids]
    brokers = os.environ.get("KAFKA_BROKERS", "")
    yield Deployment(
        ", ".join(urls),
        servers,
        {"server": pids} if pids else {},
        {},
        versions_here(await version_at(urls[0])),
        settle=SETTLE_SECONDS if len(urls) > 1 else 0.0,
        events=Events(brokers, os.environ.get("KAFKA_TOPIC_PREFIX", "")) if brokers else None,
    )


def processes_at(url: str) -> tuple[int, ...]:
    """The processes that listen there, if that is on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ServerError(f"{url}: must be like http://127.0.0.1:8080")
    local = parts.hostname in {"127.0.0.1", "localhost"}
    return tuple(listeners(parts.port or 80)) if local else ()


async def version_at(url: str) -> str:
    """The version that a server says it has; raises `ServerError` when it does not answer."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{url}/openapi.json") as response,
        ):
            return str((await response.json())["info"]["version"])
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
        raise ServerError(f"{url}: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def own(
    kind: Own,
    nodes: int,
    settings: Mapping[str, str],
    tell: Tell,
    *,
    on_kafka: bool,
    cores: float | None = None,
) -> AsyncIterator[Deployment]:
    """Nodes that are started here, with engines where they need them, and stopped at the end;
    each of their processes held to so many `cores`, if given.

    Raises `ServerError`, or `EngineError` where an engine cannot be had.
    """
    wrong = [name for name in settings if name not in KNOWN]
    if wrong:
        raise ServerError(f"{wrong[0]}: there is no such setting")
    async with started(kind, nodes, settings, tell, on_kafka=on_kafka) as deployment:
        if cores is None:
            yield deployment
            return
        with held((each.pid for each in family(deployment.parts["server"])), cores):
            yield replace(
                deployment, name=f"{deployment.name}, each process held to {cores:g} cores"
            )


@asynccontextmanager
async def started(
    kind: Own, nodes: int, settings: Mapping[str, str], tell: Tell, *, on_kafka: bool
) -> AsyncIterator[Deployment]:
    """The same, with all the processor time that there is."""
    if kind == "sqlite" and not on_kafka:
        async with running(Tradewire(settings)) as server:
            yield made("one node on sqlite", [server])
        return
    from loadtest.deployment_engines import on_engines  # noqa: PLC0415  # it needs drivers

    async with on_engines(kind, nodes, settings, tell, on_kafka=on_kafka) as deployment:
        yield deployment


def made(
    name: str,
    servers: Sequence[Server],
    *,
    parts: Mapping[str, Sequence[int]] | None = None,
    versions: Mapping[str, str] | None = None,
    settle: float = 0.0,
    events: Events | None = None,
) -> Deployment:
    """A deployment of nodes that were started here."""
    pids = [pid for server in servers for pid in server.pids]
    environment = {
        **{name: os.environ[name] for name in KNOWN & os.environ.keys()},
        **servers[0].target.environment,
    }
    return Deployment(
        name,
        servers,
        {"server": pids, **(parts or {})},
        {name: value for name, value in environment.items() if name not in SECRETS},
        {**versions_here(version("tradewire")), **(versions or {})},
        settle,
        events,
        cold=bool(versions),
    )


def versions_here(product: str) -> dict[str, str]:
    """The version of the product, and that of the interpreter that runs the generators."""
    return {"tradewire": product, "python": platform.python_version()}
