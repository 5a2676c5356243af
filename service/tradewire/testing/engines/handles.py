"""What a test gets in hand: an engine that runs, wherever it came from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tradewire.testing.engines.errors import EngineError

Kind = Literal["environment", "container", "process"]
KINDS: tuple[Kind, ...] = ("environment", "container", "process")
"""Where an engine can come from, in the order in which it is looked for."""

Tell = Callable[[str], None]
"""Takes a line that says how far the start has come."""


def silent(_line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _Engine:
    """What both kinds of engine have.

    - `kind`: where it came from. Only a process of ours can be killed and paused.
    - `name`: product and version, such as "Apache Cassandra 5.0.5".
    """

    kind: Kind
    name: str

    def logs(self) -> str:
        """All that the server has logged so far, of all nodes; nothing of one that is not ours."""
        return ""

    def _not_ours(self, what: str) -> EngineError:
        return EngineError(f"{self.name} is no process of ours: cannot {what}")


@dataclass(frozen=True)
class Cassandra(_Engine):
    """A running Cassandra or ScyllaDB.

    - `hosts`: `host:port` of each node; joined by commas, what SCYLLA_HOSTS takes. A node is named
      by its index in it, from 0 on.
    - `datacenter`: the name that a replication map needs.
    """

    hosts: tuple[str, ...]
    datacenter: str

    def kill(self, node: int) -> None:
        """End a node by SIGKILL.

        Raises:
            EngineError: it is not ours, or does not run.
        """
        raise self._not_ours(f"kill node {node}")

    def start(self, node: int) -> None:
        """Start a node that was killed, on its data, and wait until it answers.

        When no node is missing any more, wait also until each sees every other.

        Raises:
            EngineError: it is not ours, runs already, or does not come up.
        """
        raise self._not_ours(f"start node {node}")

    def pause(self, node: int) -> None:
        """Freeze a node by SIGSTOP: it keeps its sockets and answers nobody.

        Raises:
            EngineError: it is not ours, or does not run.
        """
        raise self._not_ours(f"pause node {node}")

    def resume(self, node: int) -> None:
        """Let a frozen node go on, by SIGCONT.

        Raises:
            EngineError: it is not ours, or does not run.
        """
        raise self._not_ours(f"resume node {node}")


@dataclass(frozen=True)
class Kafka(_Engine):
    """A running Kafka.

    - `brokers`: `host:port`, or several joined by commas: what a client bootstraps from.
    """

    brokers: str

    def kill(self) -> None:
        """End the broker by SIGKILL.

        Raises:
            EngineError: it is not ours, or does not run.
        """
        raise self._not_ours("kill it")

    def start(self) -> None:
        """Start the broker that was killed, on its data, and wait until it answers.

        Raises:
            EngineError: it is not ours, runs already, or does not come up.
        """
        raise self._not_ours("start it")
