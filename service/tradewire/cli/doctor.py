"""`tradewire doctor`: is this machine fit to serve from?"""

import fcntl
import os
import platform
import resource
import shutil
import sqlite3
import stat
import sys
import time
from pathlib import Path

import click

from tradewire.adapters.sqlite.folder import OLDEST_SQLITE
from tradewire.cli.doctor_kafka import kafka_findings
from tradewire.cli.doctor_scylla import cluster_findings
from tradewire.cli.findings import Finding
from tradewire.cli.migrate import NEWEST, schema_version
from tradewire.cli.settings import data_option, effective
from tradewire.config import Settings
from tradewire.domain.ids import EPOCH_MS
from tradewire.edge.auth import SECRET_FILE

ENOUGH_FILES = 10_000
LITTLE_DISK, NO_DISK = 1 << 30, 100 << 20


@click.command()
@data_option
def doctor(data: str | None) -> None:
    """Check this machine, the data folder or the cluster, and Kafka where it is used.

    Each line begins with ok, warn or fail, and says what to do. The exit code is 1 if something
    would stop a server.
    """
    settings = effective(data_dir=data)
    findings = _of_cluster(settings) if settings.store == "scylla" else _of_folder(settings)
    if settings.events == "kafka":
        findings += kafka_findings(settings)
    for finding in findings:
        advice = f"; {finding.advice}" if finding.advice else ""
        click.echo(f"{finding.level:<5}{finding.about}: {finding.found}{advice}")
    if any(finding.level == "fail" for finding in findings):
        sys.exit(1)


def _of_folder(settings: Settings) -> list[Finding]:
    checks = (_python, _sqlite, _folder, _schema, _secret, _clock, _open_files, _disk)
    return [check(settings) for check in checks]


def _of_cluster(settings: Settings) -> list[Finding]:
    checks = (_shared_secret, _clock, _open_files)
    return [
        _python(settings),
        *cluster_findings(settings),
        *(check(settings) for check in checks),
    ]


def _python(_: Settings) -> Finding:
    return Finding("ok", "python", platform.python_version())


def _sqlite(_: Settings) -> Finding:
    if sqlite3.sqlite_version_info >= OLDEST_SQLITE:
        return Finding("ok", "sqlite", sqlite3.sqlite_version)
    oldest = ".".join(map(str, OLDEST_SQLITE))
    advice = f"use a Python with SQLite {oldest} or newer"
    return Finding("fail", "sqlite", sqlite3.sqlite_version, advice)


def _folder(settings: Settings) -> Finding:
    folder = _existing(settings.data_dir)
    if not folder.is_dir():
        return Finding("fail", "data folder", f"{folder} is no folder", "set DATA_DIR")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = "give this user the right to write there, or set DATA_DIR"
        return Finding("fail", "data folder", f"{folder} is not writable", advice)
    if folder != settings.data_dir.absolute():
        return Finding("ok", "data folder", f"{settings.data_dir} will be made on first start")
    if _in_use(folder):
        advice = "stop that server before you start another"
        return Finding("warn", "data folder", f"{settings.data_dir} is in use", advice)
    return Finding("ok", "data folder", str(settings.data_dir))


def _schema(settings: Settings) -> Finding:
    try:
        version = schema_version(settings.data_dir)
    except sqlite3.Error as error:
        advice = "restore a copy, or set DATA_DIR"
        return Finding("fail", "schema", f"the database cannot be read: {error}", advice)
    if version is None:
        return Finding("ok", "schema", "the database will be made on first start")
    if version > NEWEST:
        advice = "run the newer program, or restore an older copy"
        return Finding("fail", "schema", f"{version}, newer than {NEWEST} known here", advice)
    return Finding("ok", "schema", f"{version} of {NEWEST}")


def _secret(settings: Settings) -> Finding:
    if _keys_are_set(settings):
        return Finding("ok", "token keys", "set in the environment")
    path = settings.data_dir / SECRET_FILE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return Finding("ok", "token keys", "a secret will be made on first start")
    except OSError as error:
        return Finding("fail", "token keys", f"{path} cannot be read: {error.strerror}")
    if mode & 0o077:
        advice = f"run chmod 600 {path}, and remove it if others may have read it"
        return Finding("fail", "token keys", f"{path} has mode {mode:03o}", advice)
    return Finding("ok", "token keys", f"{path} has mode {mode:03o}")


def _shared_secret(settings: Settings) -> Finding:
    found = _secret(settings)
    if found.level == "ok" and not _keys_are_set(settings):
        advice = "with several nodes set JWT_SECRET or another key: all must verify alike"
        return Finding("warn", found.about, found.found, advice)
    return found


def _keys_are_set(settings: Settings) -> bool:
    return bool(settings.jwt_secret or settings.jwt_public_key or settings.jwt_jwks_url)


def _clock(settings: Settings) -> Finding:
    now = time.time()
    newest = max((each.stat().st_mtime for each in _files(settings.data_dir)), default=0.0)
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now * 1000 < EPOCH_MS or now < newest - 60:
        return Finding("fail", "clock", f"{shown} lies in the past", "set the clock")
    return Finding("ok", "clock", shown)


def _open_files(_: Settings) -> Finding:
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and limit < ENOUGH_FILES:
        advice = "each connection takes one; raise it, as by ulimit -n 65536"
        return Finding("warn", "open files", f"at most {limit}", advice)
    return Finding("ok", "open files", f"at most {limit}")


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.data_dir)).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free < LITTLE_DISK:
        return Finding("fail" if free < NO_DISK else "warn", "disk", found, "make room")
    return Finding("ok", "disk", found)


def _existing(path: Path) -> Path:
    """The path itself, or the nearest one above it that is there."""
    whole = path.absolute()
    return next((each for each in (whole, *whole.parents) if each.exists()), whole)


def _in_use(folder: Path) -> bool:
    """Whether a server holds the folder's lock."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
