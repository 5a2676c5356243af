"""Programs that this process starts and that never outlive it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tradewire.testing.engines.errors import EngineError

STOP_DEADLINE_S = 30.0
TAIL_LINES = 40

# Python that asks Linux to kill it together with its starter, and then becomes the program. A hook
# between fork and exec could do it as well, were it safe beside other threads.
_BECOME = """
import ctypes, os, signal, sys
starter, *command = sys.argv[1:]
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl is not None:
    prctl(1, signal.SIGKILL)
if os.getppid() != int(starter):
    sys.exit("the starter has ended already")
os.execvp(command[0], command)
"""


@cache
def _starter() -> ThreadPoolExecutor:
    """The one thread that starts programs, alive as long as this process.

    Linux kills a program when the *thread* that started it ends, and a test may well start one
    from a thread that is soon gone.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="engines")


class Process:
    """A program, started as often as is needed; what it writes is appended to files.

    - `output`: where its standard output and error go.
    - `log`: where it logs by itself.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        output: Path,
        log: Path,
        environ: Mapping[str, str],
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self._output = output
        self._log = log
        self._environ = dict(environ)
        self._running: subprocess.Popen[bytes] | None = None
        self._frozen = False

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._running is not None and self._running.poll() is None

    @property
    def is_awake(self) -> bool:
        """Whether it runs and is not frozen."""
        return self.runs and not self._frozen

    @property
    def pid(self) -> int | None:
        """The process that runs, or ran last."""
        return None if self._running is None else self._running.pid

    def start(self) -> None:
        """Start it, and wait for nothing.

        Raises:
            EngineError: it runs already.
        """
        if self.runs:
            raise EngineError(f"{self.name} runs already")
        self._running = _starter().submit(self._spawn).result()
        self._frozen = False

    def _spawn(self) -> subprocess.Popen[bytes]:
        become = (sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()))
        with self._output.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 (the command is put together by this package)
                (*become, *self.command),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal goes to us alone, and we stop things in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Do nothing if it runs.

        Raises:
            EngineError: it has ended; the message holds the last of what it wrote.
        """
        if not self.runs:
            code = None if self._running is None else self._running.returncode
            raise EngineError(f"{self.name} has ended with {code}:\n{self.tail()}")

    def kill(self) -> None:
        """End it by SIGKILL.

        Raises:
            EngineError: it does not run.
        """
        self._send(signal.SIGKILL)
        self.wait(STOP_DEADLINE_S)

    def pause(self) -> None:
        """Freeze it by SIGSTOP.

        Raises:
            EngineError: it does not run.
        """
        self._send(signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """Let it go on by SIGCONT.

        Raises:
            EngineError: it does not run.
        """
        self._send(signal.SIGCONT)
        self._frozen = False

    def _send(self, number: signal.Signals) -> None:
        if self._running is None or not self.runs:
            raise EngineError(f"{self.name} does not run")
        self._running.send_signal(number)

    def ask_to_end(self) -> None:
        """Send SIGTERM, if it runs, also when it is frozen."""
        if self._running is not None:
            self._running.send_signal(signal.SIGTERM)
            self._running.send_signal(signal.SIGCONT)

    def wait(self, deadline_s: float) -> bool:
        """Wait until it has ended; whether it has, within the deadline."""
        if self._running is None:
            return True
        try:
            self._running.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def logs(self) -> str:
        """All that it has logged by itself."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def tail(self) -> str:
        """The last lines of what it wrote and logged."""
        written = self._output.read_text(errors="replace") if self._output.exists() else ""
        lines = [*written.splitlines()[-TAIL_LINES:], *self.logs().splitlines()[-TAIL_LINES:]]
        return "\n".join(lines)


def stop(processes: Iterable[Process], deadline_s: float = STOP_DEADLINE_S) -> bool:
    """End them all at once: SIGTERM, and SIGKILL for those that are not done by the deadline.

    Returns: whether it did without SIGKILL.
    """
    started = list(processes)
    for process in started:
        process.ask_to_end()
    late = [process for process in started if not process.wait(deadline_s)]
    for process in late:
        process.kill()
    return not late
