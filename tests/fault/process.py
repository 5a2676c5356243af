"""A server in a process of its own, and every way to end it."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Self

from tests.e2e.harness import SECRET, Server
from tests.e2e.places import Place

DEADLINE_S = 60.0
LOG_LINES = 1_000
BELOW_EPHEMERAL = range(10_240, 32_768)
PLAIN = ("tradewire",)
_START = """
import os, sys
os.execv(sys.executable, [sys.executable, "-m", "tradewire", *sys.argv[1:]])
"""


class ServerProcess(Server):
    """`tradewire serve` on one store, as often as it is started; it never outlives its block.

    - `port`: the same at each start, so that clients come back; 0 takes a free one each time.
    - `before`: Python that the process runs before it becomes the server.
    - `module`: the module that is run instead of the command, and its arguments before `serve`.
    - `measured`: whether coverage follows it there, which slows it and tells nothing of one that
      is killed.
    """

    def __init__(
        self,
        place: Place,
        *,
        port: int = 0,
        before: str = "",
        module: Sequence[str] = PLAIN,
        measured: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.place = place
        self.url = f"http://127.0.0.1:{port}"
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._command = (
            sys.executable,
            *(("-c", before + _START) if before else ("-m", *module)),
            *("serve", "--port", str(port)),
        )
        self._environ = _environment({**place.environ, **(environ or {})}, measured=measured)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self._running().pid

    async def start(self) -> Self:
        """Start, and wait until it takes traffic."""
        await self.spawn()
        await self.ready()
        return self

    async def spawn(self) -> None:
        """Start, and wait for nothing."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(self._process), name="server output")

    async def ready(self) -> None:
        """Wait until it takes traffic."""
        async with asyncio.timeout(DEADLINE_S):
            url = await asyncio.shield(self._ready)
            if not url:
                raise AssertionError(f"ended with {await self.ended()}:\n{self.errors}")
        self.url = url

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._running().send_signal(number)

    async def kill(self) -> None:
        """End it by SIGKILL, if it runs."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself; the exit code, or minus the signal."""
        process, reading = self._running(), self._reading
        assert reading is not None
        async with asyncio.timeout(DEADLINE_S):
            await reading
            return await process.wait()

    @property
    def errors(self) -> str:
        """The last of what it wrote on standard error."""
        return "\n".join(self.log)

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Read both outputs to their ends, which also closes them."""
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(self._read_log(process.stderr), self._read_url(process.stdout))

    async def _read_log(self, stderr: asyncio.StreamReader) -> None:
        while line := await stderr.readline():
            self.log.append(line.decode(errors="replace").rstrip("\n"))

    async def _read_url(self, stdout: asyncio.StreamReader) -> None:
        ready = self._ready
        while line := (await stdout.readline()).decode():
            if line.startswith("ready ") and not ready.done():
                ready.set_result(line.removeprefix("ready ").strip())
        if not ready.done():
            ready.set_result("")


def _environment(environ: Mapping[str, str], *, measured: bool) -> dict[str, str]:
    """Settings for tests, and little of this process's environment."""
    kept = ("PY", "COV") if measured else ("PY",)
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(kept)},
        "PATH": os.environ["PATH"],
        "JWT_SECRET": SECRET,
        "DRAIN_SECONDS": "0",
        "MESSAGES_PER_SECOND": "0",
        "COMMANDS_PER_SECOND": "0",
        "CONNECTIONS_PER_USER": "1000",
        **environ,
    }


def free_port() -> int:
    """A port to listen on again and again.

    It is none that the system gives to outgoing connections: a client that knocks while the server
    is down could be given the very port, and would keep the server from it.
    """
    for port in random.Random().sample(BELOW_EPHEMERAL, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
