import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import quota
from loadtest.quota import cpu_groups, held
from loadtest.servers import ServerError

BUSY_UNTIL_HELD_BACK = """
import os, sys, time
from pathlib import Path

group = Path(sys.argv[1], f"loadtest-{os.getpid()}")
end = time.monotonic() + 10
sys.stdin.readline()
while not int(dict(map(str.split, (group / "cpu.stat").open()))["nr_throttled"]):
    assert time.monotonic() < end, "never held back"
print("held back", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def root() -> Path:
    """The control groups of this machine."""
    try:
        found = cpu_groups()
    except ServerError as error:
        pytest.skip(str(error))
    if not os.access(found / "cgroup.procs", os.W_OK):
        pytest.skip(f"{found} may not be changed: run this as root")
    return found


def test_a_process_is_held_back_and_let_go_while_it_runs(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY_UNTIL_HELD_BACK, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with held([process.pid], 0.5):
            process.stdin.write("begin\n")
            process.stdin.flush()
            assert process.stdout.readline() == "held back\n"
        assert not (root / f"loadtest-{process.pid}").exists()
        process.communicate("end\n")
    assert process.returncode == 0


def test_a_process_that_ends_meanwhile_leaves_no_group(root: Path) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
        held([process.pid], 0.5),
    ):
        process.communicate(b"\n")
    assert not (root / f"loadtest-{process.pid}").exists()


def test_where_there_are_no_control_groups_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "tmpfs /tmp tmpfs rw 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    )
    monkeypatch.setattr(quota, "MOUNTS", mounts)
    with pytest.raises(ServerError, match="--cores: needs the control groups"), held([1], 0.5):
        pass


def test_control_groups_that_may_not_be_changed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup {tmp_path / 'away'} cgroup rw,cpu 0 0\n")
    monkeypatch.setattr(quota, "MOUNTS", mounts)
    with pytest.raises(ServerError, match="--cores: control groups cannot be"), held([1], 0.5):
        pass
