"""The servers under test: how each is started, reached and stopped."""

import asyncio
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import jwt

from loadtest.plan import Endpoint, Pair

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30.0
STOP_SECONDS = 30.0
REQUEST_SECONDS = 30.0
REQUESTS_AT_ONCE = 16
TOKEN_SECONDS = 24 * 3600
LOG_BYTES_SHOWN = 2000


class ServerError(Exception):
    """A server did not start, answer or stop as it should."""


class Target(Protocol):
    """A kind of server that can be put under load."""

    @property
    def name(self) -> str:
        """Its name in reports."""

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of the interpreter, to which ``--port`` and ``--data`` are added."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Settings on top of the environment of this process."""

    def path(self, user_id: str) -> str:
        """The path and query that open this user's WebSocket."""

    async def introduce(self, url: str, users: list[tuple[str, str]], /) -> list[str]:
        """Make a conversation of each two users; returns the ids; raises `ServerError`."""


@dataclass(frozen=True)
class Floor:
    """The bare relay of `loadtest.floor`, which takes any user and any conversation."""

    name: str = "floor"
    command: tuple[str, ...] = ("-m", "loadtest.floor")
    environment: Mapping[str, str] = field(default_factory=dict)

    def path(self, user_id: str) -> str:
        """See `Target`."""
        return f"/ws/chat?user_id={user_id}"

    async def introduce(self, _url: str, users: list[tuple[str, str]], /) -> list[str]:
        """See `Target`."""
        return [str(uuid.uuid4()) for _ in users]


class Tradewire:
    """``tradewire serve`` on its embedded default, its rate limits off.

    ``settings`` are added to its own.
    """

    name = "tradewire"
    command = ("-m", "tradewire", "serve")

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._secret = (settings or {}).get("JWT_SECRET") or secrets.token_hex(32)
        self._expires_at = int(time.time()) + TOKEN_SECONDS
        self.environment = {
            "STORE": "sqlite",
            "JWT_SECRET": self._secret,
            "MESSAGES_PER_SECOND": "0",
            "COMMANDS_PER_SECOND": "0",
            "CONNECTIONS_PER_USER": "100",
            "LOG_LEVEL": "warning",
            **(settings or {}),
        }

    def token(self, user_id: str) -> str:
        """A token of this user, signed with the secret that the server was given."""
        claims = {"sub": user_id, "exp": self._expires_at}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def path(self, user_id: str) -> str:
        """See `Target`."""
        return f"/ws/chat?user_id={user_id}&token={self.token(user_id)}"

    async def introduce(self, url: str, users: list[tuple[str, str]], /) -> list[str]:
        """See `Target`."""
        connector = aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as http:
            return await asyncio.gather(*(self._create(http, *pair) for pair in users))

    async def _create(self, http: aiohttp.ClientSession, user_id: str, peer_id: str) -> str:
        headers = {"Authorization": f"Bearer {self.token(user_id)}"}
        body = {"user_id": peer_id}
        async with http.post("/v1/conversations", json=body, headers=headers) as response:
            if response.status not in (200, 201):
                raise ServerError(f"no conversation: {response.status} {await response.text()}")
            answer = await response.json()
        return str(answer["conversation"]["conversation_id"])


def tradewire_on_scylla(hosts: Sequence[str], keyspace: str, **settings: str) -> Tradewire:
    """``tradewire serve`` on a keyspace of ScyllaDB or Cassandra, of which one copy is kept."""
    return Tradewire(
        {
            "STORE": "scylla",
            "SCYLLA_HOSTS": ",".join(hosts),
            "SCYLLA_KEYSPACE": keyspace,
            "SCYLLA_REPLICATION_FACTOR": "1",
            **settings,
        }
    )


@dataclass(frozen=True)
class Server:
    """A running server; ``pids`` are those of its processes on this machine."""

    target: Target
    pids: tuple[int, ...]
    url: str

    @property
    def host(self) -> str:
        """The host it listens on."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 80

    async def pairs(
        self, count: int, first: int = 0, *, peers_on: "Server | None" = None
    ) -> list[Pair]:
        """Users ``a0``/``b0`` and so on, each two with a conversation; raises `ServerError`.

        They are numbered from ``first``. The second of each connects to ``peers_on``, if given.
        """
        users = [(f"a{number}", f"b{number}") for number in range(first, first + count)]
        conversations = await self.target.introduce(self.url, users)
        second = peers_on or self
        return [
            Pair((self.endpoint(one), second.endpoint(other)), conversation_id)
            for (one, other), conversation_id in zip(users, conversations, strict=True)
        ]

    def strangers(self, count: int) -> list[Pair]:
        """Users ``a0``/``b0`` and so on, who have no conversation."""
        return [
            Pair((self.endpoint(f"a{number}"), self.endpoint(f"b{number}")), "")
            for number in range(count)
        ]

    def endpoint(self, user_id: str) -> Endpoint:
        """Where this user connects."""
        return Endpoint(self.host, self.port, self.target.path(user_id))


@asynccontextmanager
async def running(target: Target) -> AsyncIterator[Server]:
    """Start a server on an empty folder and a free port, and stop it at the end.

    Raises `ServerError` when it is not ready in 30 s or does not exit with 0 on SIGTERM.
    """
    with TemporaryDirectory(prefix="loadtest-") as folder:
        log = Path(folder) / "log"
        process = await _spawn(target, Path(folder) / "data", log)
        try:
            try:
                url = await _ready(process)
            except ServerError as error:
                raise ServerError(f"{target.name}: {error}\n{_tail(log)}") from error
            yield Server(target, (process.pid,), url)
        finally:
            code = await _stop(process)
        if code != 0:
            raise ServerError(f"{target.name}: exit code {code}\n{_tail(log)}")


async def _spawn(target: Target, data: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as errors:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *target.command, "--port", "0", "--data", str(data)),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **target.environment},
            cwd=ROOT,
        )


async def _ready(process: asyncio.subprocess.Process) -> str:
    """Wait for the line ``ready URL``."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            async for line in process.stdout:
                if line.startswith(b"ready "):
                    return line.split()[1].decode()
    except TimeoutError as error:
        raise ServerError(f"not ready after {READY_SECONDS:.0f} s") from error
    raise ServerError("it ended before it was ready")


async def _stop(process: asyncio.subprocess.Process) -> int:
    """Ask it to stop, insist when it does not; returns the exit code.

    What it prints is read to the end, which closes the pipe.
    """
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def run_to_end(
    module: str,
    *arguments: str,
    seconds: float,
    given: bytes = b"",
    environment: Mapping[str, str] | None = None,
    errors: int | None = None,
) -> tuple[int, bytes]:
    """Run a module in a process of its own, ``given`` its input; its exit code and its output.

    ``errors`` is where its standard error goes. Raises `TimeoutError` after so many seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


def _tail(log: Path) -> str:
    return log.read_bytes()[-LOG_BYTES_SHOWN:].decode(errors="replace")
