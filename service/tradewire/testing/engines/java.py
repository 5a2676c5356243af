"""The Java that is installed, and programs that run on it."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradewire.testing.engines.errors import EngineMissing
from tradewire.testing.engines.versions import JAVA

ASK_DEADLINE_S = 20.0
_VERSION = re.compile(r'version "((\d+)[^"]*)"')


@dataclass(frozen=True)
class Java:
    """A Java that fits: the path of its launcher, and its exact version."""

    path: str
    version: str


def installed_java(environ: Mapping[str, str]) -> Java:
    """The Java of JAVA_HOME, else of PATH.

    Raises:
        EngineMissing: there is none, or it is another version.
    """
    path = _launcher(environ)
    if path is None:
        raise EngineMissing("no java on PATH or in JAVA_HOME")
    said = subprocess.run(  # noqa: S603 (a program of the user's own PATH)
        (path, "-version"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=ASK_DEADLINE_S,
    )
    version = _VERSION.search(said.stderr)
    if version is None or int(version[2]) != JAVA:
        raise EngineMissing(f"Java {JAVA} is needed; {path} is {version[1] if version else '?'}")
    return Java(path, version[1])


def _launcher(environ: Mapping[str, str]) -> str | None:
    home = environ.get("JAVA_HOME")
    places = str(Path(home) / "bin") if home else environ.get("PATH", "")
    return shutil.which("java", path=places)


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What an engine is given of the environment: nothing that would configure it."""
    return {name: environ[name] for name in ("PATH", "HOME", "LANG") if name in environ}


@dataclass(frozen=True)
class Program:
    """The main class of a folder of jars.

    Java writes down once which classes the program loads and in what shape (class data sharing);
    the next start reads them from there and needs a quarter less time.
    - `jars`: the folder; the archive of classes is kept beside the jars.
    - `scratch`: a folder that goes away with this run.
    - `quick`: compile code once, and not again as it becomes hot.
    """

    java: Java
    jars: Path
    main: str
    scratch: Path
    quick: bool

    def command(
        self, options: Sequence[str], arguments: Sequence[str] = (), *, learns: bool
    ) -> list[str]:
        """The command line. Of the runs that go on at once, one may `learn` the classes."""
        return [
            self.java.path,
            # An agent, which Cassandra needs, may in theory change classes, hence these two.
            *("-XX:+UnlockDiagnosticVMOptions", "-XX:+AllowArchivingWithJavaAgent"),
            *self._sharing(learns=learns),
            *(["-XX:TieredStopAtLevel=1"] if self.quick else []),
            *options,
            *("-cp", ":".join(str(jar) for jar in sorted(self.jars.glob("*.jar")))),
            self.main,
            *arguments,
        ]

    def _sharing(self, *, learns: bool) -> list[str]:
        if self._archive.exists():
            return [f"-XX:SharedArchiveFile={self._archive}"]
        return [f"-XX:ArchiveClassesAtExit={self._learned}"] if learns else []

    def keep(self) -> None:
        """Keep what was learned, if anything was, by a run that has ended in peace."""
        if self._learned.exists() and not self._archive.exists():
            partial = self._archive.with_name(f"{self.scratch.name}.partial")
            shutil.copyfile(self._learned, partial)
            partial.rename(self._archive)

    @property
    def _archive(self) -> Path:
        return self.jars / f"java-{self.java.version}.jsa"

    @property
    def _learned(self) -> Path:
        return self.scratch / "learned.jsa"
