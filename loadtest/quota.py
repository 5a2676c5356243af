"""Holds processes to a share of a core each, with the control groups of Linux.

What more nodes or workers bring cannot be seen where they, the engines and the generators take
each other's cores. Held to a share, each works as if it were alone on a slower machine.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from loadtest.servers import ServerError

MOUNTS = Path("/proc/self/mounts")
PERIOD_US = 4_000
"""In which a process may use its share: it stands still for the rest, which is latency. The kernel
takes 1 ms at least for both.
"""
LEAST_CORES = 0.25


@contextmanager
def held(pids: Iterable[int], cores: float) -> Iterator[None]:
    """Hold each of these processes, and what it starts, to so many cores until the block ends.

    Raises `ServerError` where this is not Linux, or its control groups may not be changed.
    """
    with ExitStack() as stack:
        try:
            root = cpu_groups()
            for pid in pids:
                group = root / f"loadtest-{pid}"
                group.mkdir()
                stack.callback(release, group)
                limit(group, cores)
                (group / "cgroup.procs").write_text(f"{pid}")
        except OSError as error:
            raise ServerError(f"--cores: control groups cannot be changed: {error}") from error
        yield


def cpu_groups() -> Path:
    """The folder of the control groups of processor time, of either version."""
    mounts = MOUNTS.read_text().splitlines() if MOUNTS.exists() else []
    for _, folder, kind, options, *_ in map(str.split, mounts):
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(folder)
        controllers = Path(folder, "cgroup.controllers")
        if kind == "cgroup2" and "cpu" in controllers.read_text().split():
            return Path(folder)
    raise ServerError("--cores: needs the control groups of Linux")


def limit(group: Path, cores: float) -> None:
    """Let a group use so many cores."""
    quota = round(PERIOD_US * cores)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(f"{PERIOD_US}")
        (group / "cpu.cfs_quota_us").write_text(f"{quota}")
        return
    (group.parent / "cgroup.subtree_control").write_text("+cpu")
    (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")


def release(group: Path) -> None:
    """Take out what is in a group, to run freely until it is stopped, and remove the group."""
    while pids := (group / "cgroup.procs").read_text().split():
        for pid in pids:
            with suppress(ProcessLookupError):
                (group.parent / "cgroup.procs").write_text(pid)
    group.rmdir()
