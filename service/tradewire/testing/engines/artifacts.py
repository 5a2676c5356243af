"""The jars of an engine, fetched once by Maven into a cache folder."""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradewire.testing.engines import versions
from tradewire.testing.engines.errors import EngineMissing
from tradewire.testing.engines.handles import Tell
from tradewire.testing.engines.waiting import wait_for

FETCH_DEADLINE_S = 600.0
TAIL_CHARS = 2_000

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tradewire</groupId>
  <artifactId>engine</artifactId>
  <version>1</version>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
_DEPENDENCY = """\
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>
"""


@dataclass(frozen=True)
class Artifact:
    """What Maven is asked for: `group:artifact:version` each; the first gives the name."""

    coordinates: tuple[str, ...]

    @property
    def name(self) -> str:
        """Artifact and version, as the cache folder is named."""
        _, artifact, version = self.coordinates[0].split(":")
        return f"{artifact}-{version}"

    def pom(self) -> str:
        """A project that depends on these and on nothing else."""
        dependencies = "".join(_DEPENDENCY.format(*one.split(":")) for one in self.coordinates)
        return _POM.format(dependencies=dependencies)


CASSANDRA = Artifact((f"org.apache.cassandra:cassandra-all:{versions.CASSANDRA}",))
KAFKA = Artifact(
    (
        f"org.apache.kafka:kafka_2.13:{versions.KAFKA}",
        f"org.slf4j:slf4j-simple:{versions.SLF4J_SIMPLE}",
    )
)

Fetch = Callable[[Artifact, Path, Mapping[str, str]], None]
"""Puts the jars of an artifact and all that it needs into a folder."""


def folder_of(artifact: Artifact, environ: Mapping[str, str]) -> Path:
    """Where the jars are kept; the folder is there only when all of them are."""
    home = environ.get("HOME")
    base = environ.get("XDG_CACHE_HOME") or (Path(home) if home else Path.home()) / ".cache"
    return Path(base) / "tradewire" / "engines" / artifact.name


def missing(artifact: Artifact, environ: Mapping[str, str]) -> str | None:
    """What stands in the way of having the jars, in words."""
    if folder_of(artifact, environ).is_dir() or _maven(environ):
        return None
    return "no mvn on PATH"


def copied_by_maven(artifact: Artifact, folder: Path, environ: Mapping[str, str]) -> None:
    """Fetch by Maven, with whatever mirrors and proxies it is configured for.

    Raises:
        EngineMissing: Maven is not there, failed, or took too long; with the last of what it said.
    """
    maven = _maven(environ)
    if maven is None:
        raise EngineMissing(f"{artifact.name} is to be fetched, and there is no mvn on PATH")
    folder.mkdir()
    pom = folder.with_name("pom.xml")
    pom.write_text(artifact.pom())
    plugin = f"org.apache.maven.plugins:maven-dependency-plugin:{versions.DEPENDENCY_PLUGIN}"
    try:
        subprocess.run(  # noqa: S603 (a program of the user's own PATH)
            (
                *(maven, "-q", "-B", "-f", str(pom), f"{plugin}:copy-dependencies"),
                *(f"-DoutputDirectory={folder}", "-DincludeScope=runtime"),
            ),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=FETCH_DEADLINE_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.output or "")[-TAIL_CHARS:]
        raise EngineMissing(f"Maven could not fetch {artifact.name}: {error}\n{said}") from error


def jars_of(
    artifact: Artifact,
    *,
    environ: Mapping[str, str],
    tell: Tell,
    fetch: Fetch = copied_by_maven,
) -> Path:
    """The folder of the jars, fetched if it is not there; two processes at once fetch once.

    Raises:
        EngineMissing: they could not be fetched.
        EngineError: another process has been fetching for too long.
    """
    folder = folder_of(artifact, environ)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{artifact.name}.lock"), artifact.name, tell):
        if not folder.is_dir():
            tell(f"{artifact.name}: fetching, once, into {folder}")
            _make_whole(artifact, folder, environ, fetch)
    return folder


def _make_whole(artifact: Artifact, folder: Path, environ: Mapping[str, str], fetch: Fetch) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{artifact.name}.") as temporary:
        fetched = Path(temporary) / "jars"
        fetch(artifact, fetched, environ)
        fetched.rename(folder)


@contextmanager
def _locked(path: Path, name: str, tell: Tell) -> Iterator[None]:
    with path.open("w") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_for(
            taken,
            doing=f"{name}: another process fetches it",
            deadline_s=FETCH_DEADLINE_S,
            tell=tell,
        )
        yield


def _maven(environ: Mapping[str, str]) -> str | None:
    return shutil.which("mvn", path=environ.get("PATH", ""))
