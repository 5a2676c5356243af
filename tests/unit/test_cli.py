"""The command `tradewire`: what it prints, what it asks for, and how it exits."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
from click.testing import CliRunner

from tradewire.cli import main
from tradewire.config import SETTINGS
from tradewire.edge.auth import SECRET_FILE, Authenticator

DEADLINE_S = 30.0
TRADEWIRE = (sys.executable, "-m", "tradewire")
PIPE = asyncio.subprocess.PIPE
NOTHING: Mapping[str, str] = {}
SECRET = "a secret of more than thirty-two characters"


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int | None
    out: str
    err: str


class Running:
    """A command that is running; its standard output is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[str] = []

    async def line(self, pattern: str) -> str:
        """The next line that matches; those before it are passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while read := await self.process.stdout.readline():
                self.seen.append(read.decode().rstrip("\n"))
                if re.search(pattern, self.seen[-1]):
                    return self.seen[-1]
        raise AssertionError(f"no line like {pattern!r} in {self.seen}")

    async def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    async def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


class Screen:
    """The outer end of a terminal: what is shown there, and the keys."""

    def __init__(self, fd: int, inner: int) -> None:
        self.fd = fd
        self._inner = inner
        self._shown = b""

    async def shows(self, text: str) -> None:
        """Wait until this is shown; what was shown up to it is forgotten."""
        async with asyncio.timeout(DEADLINE_S):
            while text.encode() not in self._shown:
                self._shown += await self._read()
        self._shown = self._shown.partition(text.encode())[2]

    @property
    def echoes(self) -> bool:
        """Whether the terminal is as programs expect to find it."""
        return bool(termios.tcgetattr(self._inner)[3] & termios.ECHO)

    async def _read(self) -> bytes:
        ready = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self.fd, ready.set_result, None)
        try:
            await ready
        finally:
            asyncio.get_running_loop().remove_reader(self.fd)
        return os.read(self.fd, 65_536)


class Commands:
    """Runs commands in a folder of their own, with little of this process's environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def run(self, *arguments: str, **environ: str) -> Outcome:
        """Run to the end."""
        async with self.start(*arguments, environ=environ) as running:
            async with asyncio.timeout(DEADLINE_S):
                out, err = await running.process.communicate()
            return Outcome(running.process.returncode, out.decode(), err.decode())

    def invoke(self, *arguments: str, **environ: str) -> Outcome:
        """Run one that needs no process of its own in this one."""
        clean: dict[str, str | None] = dict.fromkeys(setting.name for setting in SETTINGS)
        ended = CliRunner().invoke(main, arguments, prog_name="tradewire", env={**clean, **environ})
        return Outcome(ended.exit_code, ended.stdout, ended.stderr)

    @asynccontextmanager
    async def start(
        self, *arguments: str, terminal: int = PIPE, environ: Mapping[str, str] = NOTHING
    ) -> AsyncIterator[Running]:
        """Start; what still runs at the end is killed."""
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("COV", "PY"))}
        process = await asyncio.create_subprocess_exec(
            *TRADEWIRE,
            *arguments,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], **kept, "DRAIN_SECONDS": "0.2", **environ},
            stdin=terminal,
            stdout=terminal,
            stderr=PIPE,
        )
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    @asynccontextmanager
    async def start_on_terminal(self, *arguments: str) -> AsyncIterator[tuple[Running, Screen]]:
        """Start with a terminal as standard input and output."""
        outer, inner = os.openpty()
        try:
            async with self.start(*arguments, terminal=inner) as running:
                yield running, Screen(outer, inner)
        finally:
            os.close(outer)
            os.close(inner)

    @asynccontextmanager
    async def server(self, *arguments: str) -> AsyncIterator[tuple[Running, str]]:
        """A server that takes traffic, and its address."""
        async with self.start("serve", "--port", "0", *arguments) as running:
            ready = await running.line(r"^ready ")
            yield running, ready.removeprefix("ready ")

    def token(self, user: str) -> str:
        return self.invoke("token", "--user", user).out.strip()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    return Commands(tmp_path)


class TestUsage:
    def test_the_help_lists_every_command(self, commands: Commands) -> None:
        shown = commands.invoke("--help")
        assert shown.code == 0
        listed = set(re.findall(r"^  ([a-z]+)  ", shown.out, re.MULTILINE))
        assert listed == {
            "chat",
            "config",
            "doctor",
            "migrate",
            "revoke",
            "send",
            "serve",
            "tail",
            "token",
            "verify",
        }

    def test_the_version_is_told(self, commands: Commands) -> None:
        shown = commands.invoke("--version")
        assert shown.code == 0
        assert re.fullmatch(r"tradewire \d+\.\d+\.\d+\S*\n", shown.out)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["token"],
            ["token", "--user", "system"],
            ["token", "--user", "no name"],
            ["token", "--user", "alice", "--role", "king"],
            ["token", "--user", "alice", "--ttl", "0"],
            ["revoke"],
            ["revoke", "--user", "alice", "--token-id", "t-1"],
            ["revoke", "--user", "alice", "--tenant", "no name"],
            ["send", "--token", "t", "text"],
            ["send", "--token", "t", "--to", "bob", "--conversation", "c", "text"],
            ["tail", "--token", "t", "--since", "yesterday"],
            ["chat", "--token", "t"],
            ["serve", "--demo", "--host", "0.0.0.0"],
            ["migrate", "sideways"],
            ["migrate", "down", "--to", "-1"],
        ],
    )
    def test_wrong_usage_ends_with_2_and_says_why(
        self, commands: Commands, arguments: list[str]
    ) -> None:
        ended = commands.invoke(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "Error: " in ended.err

    @pytest.mark.parametrize("command", ["config", "serve", "token", "doctor"])
    def test_every_fault_of_the_settings_has_its_line(
        self, commands: Commands, command: str
    ) -> None:
        more = ["--user", "alice"] if command == "token" else []
        ended = commands.invoke(command, *more, LOG_LEVEL="loud", JWT_LEEWAY="-1")
        assert (ended.code, ended.out) == (2, "")
        named = [line.partition(":")[0] for line in ended.err.splitlines()]
        assert sorted(named) == ["JWT_LEEWAY", "LOG_LEVEL"]


class TestToken:
    async def test_it_is_signed_with_the_secret_of_the_data_folder(
        self, commands: Commands
    ) -> None:
        made = commands.invoke(
            "token", "--user", "alice", "--role", "admin", "--tenant", "shop", "--data", "d"
        )
        assert made.code == 0
        path = commands.folder / "d" / SECRET_FILE
        assert path.stat().st_mode & 0o777 == 0o600
        caller = await Authenticator(secret=path.read_text().strip()).authenticate(
            made.out.removesuffix("\n")
        )
        assert (caller.user_id, caller.tenant, set(caller.roles)) == ("alice", "shop", {"admin"})

    async def test_it_carries_the_issuer_and_audience_that_the_server_wants(
        self, commands: Commands
    ) -> None:
        made = commands.invoke(
            "token", "--user", "alice", JWT_SECRET=SECRET, JWT_ISSUER="us", JWT_AUDIENCE="them"
        )
        authenticator = Authenticator(secret=SECRET, issuer="us", audience="them")
        assert (await authenticator.authenticate(made.out.strip())).user_id == "alice"
        assert not (commands.folder / "data").exists()

    def test_without_the_signing_key_there_is_none(self, commands: Commands) -> None:
        ended = commands.invoke(
            "token", "--user", "alice", JWT_JWKS_URL="https://keys.example/jwks.json"
        )
        assert (ended.code, ended.out) == (2, "")
        assert "JWT_SECRET" in ended.err


class TestConfig:
    def test_it_prints_what_is_in_effect_and_masks_secrets(self, commands: Commands) -> None:
        shown = commands.invoke("config", "--data", "there", JWT_SECRET=SECRET, CELL_ID="c7")
        assert shown.code == 0
        assert {"DATA_DIR=there", "CELL_ID=c7"} <= set(shown.out.splitlines())
        assert SECRET not in shown.out


class TestDoctor:
    def test_a_fresh_folder_is_fit(self, commands: Commands) -> None:
        checked = commands.invoke("doctor")
        assert checked.code == 0, checked.out
        assert {line[:4].strip() for line in checked.out.splitlines()} <= {"ok", "warn"}

    def test_it_says_what_to_do_about_a_secret_that_others_may_read(
        self, commands: Commands
    ) -> None:
        commands.token("alice")
        path = commands.folder / "data" / SECRET_FILE
        path.chmod(0o644)
        checked = commands.invoke("doctor")
        assert checked.code == 1
        (failed,) = (line for line in checked.out.splitlines() if line.startswith("fail"))
        assert "has mode 644; run chmod 600" in failed

    def test_a_data_folder_that_is_none_fails(self, commands: Commands) -> None:
        (commands.folder / "data").write_text("")
        checked = commands.invoke("doctor")
        assert checked.code == 1
        assert re.search(r"^fail data folder: .* is no folder", checked.out, re.MULTILINE)

    async def test_a_folder_in_use_is_no_failure_but_is_told(self, commands: Commands) -> None:
        async with commands.server():
            checked = commands.invoke("doctor")
        assert checked.code == 0, checked.out
        assert re.search(r"^warn data folder: data is in use", checked.out, re.MULTILINE)

    def test_a_newer_schema_fails(self, commands: Commands) -> None:
        make_newer(commands)
        checked = commands.invoke("doctor")
        assert checked.code == 1
        assert re.search(r"^fail schema: 99, newer than", checked.out, re.MULTILINE)


def make_newer(commands: Commands) -> None:
    """A data folder that a newer version of the program has used."""
    assert (commands.invoke("migrate", "up")).code == 0
    database = sqlite3.connect(commands.folder / "data" / "tradewire.db")
    database.execute("PRAGMA user_version = 99")
    database.close()


class TestMigrate:
    def test_up_makes_the_schema_and_status_tells_it(self, commands: Commands) -> None:
        before = commands.invoke("migrate", "status")
        assert before.code == 0
        assert before.out.startswith("no database in data yet")
        assert [commands.invoke("migrate", "up").code for _ in range(2)] == [0, 0]
        after = commands.invoke("migrate", "status")
        assert re.fullmatch(r"schema (\d+); the newest is \1\n", after.out)

    def test_down_is_refused_with_what_to_do_instead(self, commands: Commands) -> None:
        ended = commands.invoke("migrate", "down")
        assert (ended.code, ended.out) == (2, "")
        assert "put back a copy of data" in ended.err

    def test_down_takes_no_notice_of_how_far(self, commands: Commands) -> None:
        ended = commands.invoke("migrate", "down", "--to", "0", "--yes")
        assert (ended.code, ended.out) == (2, "")
        assert "put back a copy of data" in ended.err

    async def test_up_is_refused_while_the_server_runs(self, commands: Commands) -> None:
        async with commands.server():
            ended = commands.invoke("migrate", "up")
        assert (ended.code, ended.out) == (2, "")
        assert "in use" in ended.err

    def test_what_is_no_database_is_told(self, commands: Commands) -> None:
        (commands.folder / "data").mkdir()
        (commands.folder / "data" / "tradewire.db").write_bytes(b"nonsense" * 1000)
        for command in (["migrate", "status"], ["migrate", "up"], ["serve", "--port", "0"]):
            ended = commands.invoke(*command)
            assert (ended.code, ended.out) == (2, "")
            assert "Traceback" not in ended.err


class TestServe:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_it_says_when_it_is_ready_and_ends_with_0_when_told_to(
        self, commands: Commands, number: signal.Signals
    ) -> None:
        async with commands.server() as (running, url):
            assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", url)
            assert running.seen == [f"ready {url}"]
            assert await running.stop(number) == 0

    async def test_a_port_in_use_is_told(self, commands: Commands) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            ended = await commands.run("serve", "--port", port)
        assert (ended.code, ended.out) == (2, "")
        assert f"Cannot listen on 127.0.0.1:{port}" in ended.err
        assert "Traceback" not in ended.err

    async def test_a_data_folder_in_use_is_told(self, commands: Commands) -> None:
        async with commands.server():
            ended = await commands.run("serve", "--port", "0")
        assert (ended.code, ended.out) == (2, "")
        assert "in use" in ended.err
        assert "Traceback" not in ended.err

    async def test_a_newer_schema_is_told(self, commands: Commands) -> None:
        make_newer(commands)
        ended = await commands.run("serve", "--port", "0")
        assert (ended.code, ended.out) == (2, "")
        assert "schema 99" in ended.err
        assert "Traceback" not in ended.err

    async def test_a_data_folder_that_cannot_be_made_is_told(self, commands: Commands) -> None:
        (commands.folder / "data").write_text("")
        ended = await commands.run("serve", "--port", "0")
        assert (ended.code, ended.out) == (2, "")
        assert "data folder" in ended.err
        assert "Traceback" not in ended.err

    async def test_what_is_missing_or_not_here_is_told(self, commands: Commands) -> None:
        ended = await commands.run("serve", "--store", "scylla", "--events", "kafka")
        assert (ended.code, ended.out) == (2, "")
        assert sorted(line.partition(":")[0] for line in ended.err.splitlines()) == [
            "KAFKA_BROKERS",
            "SCYLLA_HOSTS",
        ]

    async def test_the_embedded_store_needs_no_word_to_bring_its_schema_up(
        self, commands: Commands
    ) -> None:
        async with commands.server("--migrate") as (running, url):
            assert running.seen == [f"ready {url}"]
            assert await running.stop(signal.SIGTERM) == 0


class TestACluster:
    """What is said before, or without, a cluster that answers."""

    NOWHERE: ClassVar = {"SCYLLA_HOSTS": "127.0.0.1:1"}

    def test_the_way_down_says_how_far(self, commands: Commands) -> None:
        ended = commands.invoke("migrate", "down", "--yes", **self.NOWHERE)
        assert (ended.code, ended.out) == (2, "")
        assert "--to" in ended.err

    def test_the_way_down_is_confirmed(self, commands: Commands) -> None:
        ended = commands.invoke("migrate", "down", "--to", "0", **self.NOWHERE)
        assert (ended.code, ended.out) == (2, "")
        assert "drops tables of the keyspace tradewire" in ended.err
        assert "--yes" in ended.err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["migrate", "up"],
            ["migrate", "status"],
            ["migrate", "down", "--to", "0", "--yes"],
            ["serve", "--port", "0"],
            ["serve", "--port", "0", "--migrate"],
        ],
        ids=" ".join,
    )
    async def test_one_that_is_not_there_is_told(
        self, commands: Commands, arguments: list[str]
    ) -> None:
        ended = await commands.run(*arguments, LOG_FORMAT="json", **self.NOWHERE)
        assert (ended.code, ended.out) == (2, "")
        *logged, told = ended.err.splitlines()
        assert "127.0.0.1:1 (SCYLLA_HOSTS)" in told
        assert all(json.loads(line) for line in logged)

    def test_the_doctor_says_that_it_is_not_there(self, commands: Commands) -> None:
        checked = commands.invoke("doctor", **self.NOWHERE)
        assert checked.code == 1
        assert re.search(r"^fail cluster: .*127\.0\.0\.1:1", checked.out, re.MULTILINE)
        assert not re.search(r"data folder|sqlite|disk", checked.out)

    def test_the_doctor_warns_of_a_secret_that_other_nodes_have_not(
        self, commands: Commands
    ) -> None:
        checked = commands.invoke("doctor", **self.NOWHERE)
        assert re.search(r"^warn token keys: .*set JWT_SECRET", checked.out, re.MULTILINE)
        checked = commands.invoke("doctor", JWT_SECRET=SECRET, **self.NOWHERE)
        assert re.search(r"^ok   token keys", checked.out, re.MULTILINE)

    @pytest.mark.parametrize(
        "arguments", [["migrate", "up"], ["migrate", "status"], ["serve", "--port", "0"]]
    )
    def test_a_driver_that_is_missing_is_told(
        self, commands: Commands, arguments: list[str]
    ) -> None:
        ended = without_driver(commands, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == "STORE=scylla needs the extra: pip install tradewire[scylla]\n"

    def test_the_doctor_tells_it_too(self, commands: Commands) -> None:
        ended = without_driver(commands, "doctor")
        assert ended.code == 1
        assert "fail cluster: STORE=scylla needs the extra" in ended.out

    def test_nothing_of_it_is_imported_for_the_embedded_store(self, commands: Commands) -> None:
        check = (
            "import sys, tradewire.cli; sys.exit(bool({'cassandra', 'aiokafka'} & {*sys.modules}))"
        )
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


class TestWithoutTheClientOfKafka:
    """What is said where the extra is not installed."""

    @pytest.mark.parametrize("command", [("serve", "--port", "0"), ("dead-letters", "list")])
    def test_a_command_that_needs_it_says_so(
        self, commands: Commands, command: tuple[str, ...]
    ) -> None:
        ended = without("aiokafka", commands, *command, KAFKA_BROKERS="127.0.0.1:1")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == "EVENTS=kafka needs the extra: pip install tradewire[kafka]\n"

    def test_the_doctor_tells_it_too(self, commands: Commands) -> None:
        ended = without("aiokafka", commands, "doctor", KAFKA_BROKERS="127.0.0.1:1")
        assert ended.code == 1
        assert "fail kafka: EVENTS=kafka needs the extra" in ended.out


def without_driver(commands: Commands, *arguments: str) -> Outcome:
    """Run a command where the driver of the cluster is not installed."""
    return without("cassandra", commands, *arguments, SCYLLA_HOSTS="127.0.0.1:1")


def without(module: str, commands: Commands, *arguments: str, **environ: str) -> Outcome:
    """Run a command where a module is not installed."""
    program = f"import sys; sys.modules['{module}'] = None; import tradewire.cli as c; c.main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=commands.folder,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


class TestTalking:
    async def test_what_is_sent_is_seen_and_its_id_printed(self, commands: Commands) -> None:
        async with commands.server() as (_, url):
            alice, bob = commands.token("alice"), commands.token("bob")
            async with commands.start(
                "tail", "--url", url, "--token", bob, "--since", "0", "--json"
            ) as tail:
                sent = await commands.run(
                    "send", "--url", url, "--token", alice, "--to", "bob", "hi"
                )
                assert sent.code == 0, sent.err
                event = json.loads(await tail.line("MessageReceived"))
                assert event["message"]["text"] == "hi"
                assert event["message"]["message_id"] == sent.out.strip()
                answered = await commands.run(
                    "send",
                    "--url",
                    url,
                    "--token",
                    bob,
                    "--conversation",
                    event["message"]["conversation_id"],
                    "hello",
                )
                assert answered.code == 0, answered.err
                assert int(answered.out) > int(sent.out)
                assert json.loads(await tail.line("hello"))["message"]["sender_id"] == "bob"
                assert await tail.stop(signal.SIGINT) == 130

    async def test_on_a_terminal_what_is_being_typed_stays_below_what_is_printed(
        self, commands: Commands
    ) -> None:
        async with commands.server() as (_, url):
            alice, bob = commands.token("alice"), commands.token("bob")
            chat = ["chat", "--url", url, "--token", alice, "--with", "bob"]
            async with commands.start_on_terminal(*chat) as (running, terminal):
                await terminal.shows("Type to bob; Ctrl-D ends.\r\n\r\x1b[K> ")
                os.write(terminal.fd, b"hallp\x7fo\n")
                await terminal.shows("\r\x1b[Kyou: hallo\r\n\r\x1b[K> ")
                os.write(terminal.fd, b"half a li")
                await terminal.shows("> half a li")
                await commands.run(
                    "send", "--url", url, "--token", bob, "--to", "alice", "back\x1b[2J"
                )
                await terminal.shows("\r\x1b[Kbob: back?[2J\r\n\r\x1b[K> half a li")
                os.write(terminal.fd, b"\x15\x04")
                assert await running.ended() == 0
                assert terminal.echoes

    async def test_a_token_that_is_refused_ends_with_1(self, commands: Commands) -> None:
        async with commands.server() as (_, url):
            for command in (["tail"], ["send", "--to", "bob", "hi"], ["chat", "--with", "bob"]):
                ended = await commands.run(*command, "--url", url, "--token", "forged")
                assert (ended.code, ended.out) == (1, "")
                assert ended.err.startswith("Error: ")
                assert "Traceback" not in ended.err

    async def test_a_refused_message_ends_with_1(self, commands: Commands) -> None:
        async with commands.server() as (_, url):
            alice = commands.token("alice")
            ended = await commands.run("send", "--url", url, "--token", alice, "--to", "bob", "")
        assert (ended.code, ended.out) == (1, "")
        assert "invalid_field" in ended.err


def line_to_paste(lines: list[str], peer: str) -> list[str]:
    """What the demo told the one who talks to `peer` to paste."""
    (line,) = (line for line in lines if line.endswith(f"--with {peer}"))
    words = shlex.split(line)
    return words[words.index("chat") :]


class TestDemo:
    async def test_two_pasted_lines_chat_and_survive_a_restart(self, commands: Commands) -> None:
        async with commands.server("--demo") as (server, url):
            await server.line("--with bob$")
            await server.line("--with alice$")
            port = url.rpartition(":")[2]
            async with (
                commands.start(*line_to_paste(server.seen, "bob")) as alice,
                commands.start(*line_to_paste(server.seen, "alice")) as bob,
            ):
                await alice.line("^You are alice. Type to bob")
                await bob.line("^You are bob. Type to alice")
                await alice.type("is the lamp ")
                await bob.line(r"^\* alice is typing$")
                await alice.type("still there?\n")
                await bob.line("^alice: is the lamp still there\\?$")
                await alice.line(r"^\* read by bob$")

                assert await server.stop(signal.SIGTERM) == 0
                await alice.line(r"^\* connection lost")
                await bob.type("yes, it is\n")
                async with commands.start("serve", "--port", port) as again:
                    await again.line("^ready ")
                    await alice.line(r"^\* connected again$")
                    await alice.line("^bob: yes, it is$")
                    await bob.line(r"^\* read by alice$")
                    await alice.type("\x04")
                    assert await alice.ended() == 0
                    await bob.type("bye\n\x04")
                    assert await bob.ended() == 0
                    tail = ["tail", "--url", url, "--since", "0", "--token"]
                    async with commands.start(*tail, commands.token("alice")) as history:
                        await history.line("SyncCompleted")
                        said = [
                            each
                            for each in history.seen
                            if "] alice: " in each or "] bob: " in each
                        ]
                        assert [each.partition("] ")[2] for each in said] == [
                            "alice: is the lamp still there?",
                            "bob: yes, it is",
                            "bob: bye",
                        ]
