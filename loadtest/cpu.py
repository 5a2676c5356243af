"""Processor time and memory, of this process and of others."""

import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter

import psutil

Parts = Mapping[str, Iterable[int]]
"""The process ids of each part of what is measured: "server", "engine", "broker", "generator"."""


def own_cpu_s() -> float:
    """What this process has used, all its threads together."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def cpu_s(process: psutil.Process) -> float:
    """What a process has used, all its threads together."""
    times = process.cpu_times()
    return float(times.user + times.system)


def resident(processes: Iterable[psutil.Process]) -> int:
    """Bytes of memory, of all processes together."""
    return sum(int(process.memory_info().rss) for process in processes)


def engine_process(pid: int | None) -> psutil.Process | None:
    """The process of an engine, where there is one on this machine."""
    return None if pid is None else psutil.Process(pid)


def engine_cpu_s(process: psutil.Process | None) -> float | None:
    """What the engine has used; None where it is not on this machine."""
    return None if process is None else cpu_s(process)


def used(before: float | None, after: float | None) -> float | None:
    """The difference of two readings of one clock, if there were any."""
    return None if before is None or after is None else after - before


def listeners(port: int) -> set[int]:
    """The ids of the processes that listen on a port of this machine, as far as they are seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS lets only root look
        return set()
    return {
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == port
        and connection.pid
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of all parts at one moment: seconds of CPU of each process, bytes of each part."""

    time: float
    cpu_s: dict[str, list[float]]
    memory: dict[str, int]


class Meter:
    """Reads the clocks and the memory of processes and of their children."""

    def __init__(self, parts: Parts) -> None:
        self._parts = {part: family(pids) for part, pids in parts.items()}

    def read(self) -> Reading:
        """Read them now; raises `psutil.NoSuchProcess` when one has ended."""
        return Reading(
            perf_counter(),
            {part: [cpu_s(each) for each in family] for part, family in self._parts.items()},
            {part: resident(family) for part, family in self._parts.items()},
        )


def family(pids: Iterable[int]) -> list[psutil.Process]:
    """These processes and their children: workers of a server, for one."""
    parents = [psutil.Process(pid) for pid in pids]
    return [each for parent in parents for each in (parent, *parent.children(recursive=True))]


def cores(before: Reading, after: Reading, part: str) -> float:
    """How many cores a part used between two readings."""
    return sum(shares(before, after, part))


def shares(before: Reading, after: Reading, part: str) -> list[float]:
    """The share of a core that each process of a part used."""
    seconds = after.time - before.time
    pairs = zip(before.cpu_s[part], after.cpu_s[part], strict=True)
    return [(later - earlier) / seconds for earlier, later in pairs]
