"""Where something was measured, and which state of the project."""

import platform
import subprocess
from pathlib import Path

import psutil

from loadtest.results import Machine
from loadtest.servers import ROOT

GIT_SECONDS = 10.0


def this_machine() -> Machine:
    """The machine that this process runs on."""
    return Machine(
        processor(), psutil.cpu_count() or 1, psutil.virtual_memory().total, platform.platform()
    )


def processor() -> str:
    """The name of its processor."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """The commit of the project, with "+" when the tree was changed; "" outside a repository."""
    head = git("rev-parse", "HEAD")
    return head + "+" * bool(head and git("status", "--porcelain", "--untracked-files=no"))


def git(*words: str) -> str:
    """What git says; "" when it fails."""
    try:
        answer = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=GIT_SECONDS,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
