"""`tradewire serve --workers N`: as many nodes on one port, each a process of its own.

They share nothing but the port, which the kernel deals connections of to them in turn; they find
one another as nodes of different machines do.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

import click
import structlog
from msgspec import structs

from tradewire.config import Settings
from tradewire.edge.server import CannotListen

AGAIN_S = 1.0
"""How long a worker that has ended by itself is waited with before another takes its place."""

_log = structlog.get_logger(__name__)
_context = multiprocessing.get_context("spawn")

Serve = Callable[[Settings, Callable[[str], None]], int]
"""Serves as one node until it is told to stop, announces its address, returns an exit code; it can
be pickled.
"""


class Worker:
    """One process. `url`: where it serves, once it does."""

    def __init__(self, serve: Serve, settings: Settings) -> None:
        self.url: str | None = None
        self._announced, announce = _context.Pipe(duplex=False)
        self.process = _context.Process(target=_work, args=(serve, settings, announce))
        self.process.start()
        announce.close()

    @property
    def watched(self) -> list[Connection | int]:
        """What there is to wait for."""
        ready = [] if self._announced.closed else [self._announced]
        return [self.process.sentinel, *ready]

    def look(self) -> None:
        """Hear whether it serves."""
        if not self._announced.closed and self._announced.poll():
            with suppress(EOFError):
                self.url = self._announced.recv()
            self._announced.close()


class Workers:
    """The processes of one `serve`.

    Args:
        serve: what each of them does.
    """

    def __init__(self, serve: Serve, settings: Settings) -> None:
        self._serve = serve
        self._settings = settings
        self._workers: list[Worker] = []
        self._announced = False
        self._stopping = False
        self._code = 0

    def run(self, on_ready: Callable[[str], None]) -> int:
        """Serve until SIGTERM or SIGINT; the exit code.

        One that ends by itself is replaced, but before all serve it ends the others.

        Raises:
            CannotListen: the address cannot be listened on.
        """
        with _reserve(self._settings.host, self._settings.port) as reserved:
            self._settings = structs.replace(self._settings, port=reserved.getsockname()[1])
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            for _ in range(self._settings.workers):
                if not self._stopping:
                    self._workers.append(self._start())
            while self._workers:
                wait([each for worker in self._workers for each in worker.watched])
                self._look(on_ready)
        return self._code

    def _look(self, on_ready: Callable[[str], None]) -> None:
        for worker in list(self._workers):
            worker.look()
            if worker.process.exitcode is not None:
                self._workers.remove(worker)
                self._ended(worker.process)
        urls = {worker.url for worker in self._workers}
        if urls and None not in urls and not self._announced and not self._stopping:
            self._announced = True
            on_ready(str(urls.pop()))

    def _ended(self, process: SpawnProcess) -> None:
        if self._stopping or not self._announced:
            # One that had not begun to serve is ended by the signal itself.
            if process.exitcode != -signal.SIGTERM:
                self._code = self._code or abs(process.exitcode or 0)
            if not self._stopping:
                self._stop(signal.SIGTERM)
            return
        _log.error("a worker ended; another takes its place", pid=process.pid)
        time.sleep(AGAIN_S)
        if not self._stopping:
            self._workers.append(self._start())

    def _start(self) -> Worker:
        return Worker(self._serve, self._settings)

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        """The first lets the workers drain, a second ends them at once."""
        self._stop(signal.SIGKILL if self._stopping else signal.SIGTERM)

    def _stop(self, number: signal.Signals) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.exitcode is None:
                os.kill(worker.process.pid, number)


def _work(serve: Serve, settings: Settings, announce: Connection) -> None:
    # A Ctrl-C is for the parent, which tells its workers.
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        code = serve(settings, partial(_announce, announce))
    except click.ClickException as fault:
        fault.show()
        code = fault.exit_code
    raise SystemExit(code)


def _end_with_parent() -> None:
    """Drain when nobody is left who would have this process stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _announce(announce: Connection, url: str) -> None:
    announce.send(url)
    announce.close()


def _reserve(host: str, port: int) -> socket.socket:
    """A socket that holds the port, a free one for 0, and takes no connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        raise CannotListen(host, port, error) from error
    return reserved
