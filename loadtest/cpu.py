"""Processor time, of this process and of others."""

import resource

import psutil


def own_cpu_s() -> float:
    """What this process has used, all its threads together."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def cpu_s(process: psutil.Process) -> float:
    """What a process has used, all its threads together."""
    times = process.cpu_times()
    return float(times.user + times.system)


def engine_process(pid: int | None) -> psutil.Process | None:
    """The process of an engine, where there is one on this machine."""
    return None if pid is None else psutil.Process(pid)


def engine_cpu_s(process: psutil.Process | None) -> float | None:
    """What the engine has used; None where it is not on this machine."""
    return None if process is None else cpu_s(process)


def used(before: float | None, after: float | None) -> float | None:
    """The difference of two readings of one clock, if there were any."""
    return None if before is None or after is None else after - before
