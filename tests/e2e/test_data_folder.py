"""A data folder or settings that cannot be used: a clear message, and exit code 2."""

import resource
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.e2e.places import embedded
from tests.fault.load import Told, history, open_direct
from tests.fault.process import ServerProcess
from tradewire.client import CommandError, HttpClient
from tradewire.domain.limits import TEXT_CHARACTERS

NO_RIGHTS_OF_ROOT = """
import ctypes
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH leave the bounding set.
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
"""
NO_ROOM = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
SOME_ROOM_BYTES = 200_000
MOST_SENDS = 1_000


async def refusal(server: ServerProcess) -> str:
    """What a server says that must not start."""
    async with server:
        await server.spawn()
        assert await server.ended() == 2, server.errors
    assert "Traceback" not in server.errors
    return server.errors


async def served_once(data: Path) -> Path:
    """A data folder that was in use; its database."""
    async with ServerProcess(embedded(data)) as server:
        await server.start()
        await open_direct(server, "alice", "bob")
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    (database,) = data.glob("*.db")
    return database


class TestAFolderThatCannotBeUsed:
    async def test_a_path_through_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        said = await refusal(ServerProcess(embedded(tmp_path / "file" / "data")))
        assert str(tmp_path / "file" / "data") in said

    async def test_a_file_in_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("no folder")
        assert str(tmp_path / "data") in await refusal(ServerProcess(embedded(tmp_path / "data")))

    async def test_one_that_may_not_be_written(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir(mode=0o555)
        said = await refusal(ServerProcess(embedded(folder), before=NO_RIGHTS_OF_ROOT))
        assert str(folder) in said
        assert "Permission denied" in said
        assert list(folder.iterdir()) == []

    async def test_a_database_that_may_not_be_written(self, tmp_path: Path) -> None:
        database = await served_once(tmp_path / "data")
        for path in (*database.parent.iterdir(), database.parent):
            path.chmod(0o555 if path.is_dir() else 0o444)
        said = await refusal(ServerProcess(embedded(database.parent), before=NO_RIGHTS_OF_ROOT))
        assert str(database.parent) in said
        database.parent.chmod(0o755)

    async def test_one_without_room(self, tmp_path: Path) -> None:
        # Coverage could not write its own file either, and would say so on standard error.
        said = await refusal(
            ServerProcess(embedded(tmp_path / "data"), before=NO_ROOM, measured=False)
        )
        assert str(tmp_path / "data") in said

    async def test_a_folder_in_the_place_of_the_database(self, tmp_path: Path) -> None:
        database = await served_once(tmp_path / "data")
        database.unlink()
        database.mkdir()
        assert str(database) in await refusal(ServerProcess(embedded(database.parent)))

    async def test_a_database_that_is_none(self, tmp_path: Path) -> None:
        database = await served_once(tmp_path / "data")
        database.write_bytes(b"no database at all" * 1000)
        said = await refusal(ServerProcess(embedded(database.parent)))
        assert str(database) in said
        assert "not a database" in said
        assert database.read_bytes() == b"no database at all" * 1000

    async def test_one_of_a_newer_schema(self, tmp_path: Path) -> None:
        database = await served_once(tmp_path / "data")
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("PRAGMA user_version = 999")
        said = await refusal(ServerProcess(embedded(database.parent)))
        assert "999" in said
        assert "newer" in said
        with closing(sqlite3.connect(database)) as opened:
            assert opened.execute("PRAGMA user_version").fetchone() == (999,)

    async def test_one_in_use_by_another_process(self, tmp_path: Path) -> None:
        async with ServerProcess(embedded(tmp_path / "data")) as first:
            await first.start()
            said = await refusal(ServerProcess(embedded(tmp_path / "data")))
            assert "in use" in said
            assert str(first.pid) in said
            await open_direct(first, "alice", "bob")


class TestADiskThatFillsUp:
    async def test_sends_are_unavailable_until_there_is_room_and_none_acknowledged_is_lost(
        self, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        async with ServerProcess(embedded(data)) as server:
            await server.start()
            room = await open_direct(server, "alice", "bob")
            async with server.http("alice") as http:
                sent = [await send(http, room, "before")]
                largest = max(path.stat().st_size for path in data.iterdir())
                limit_files(server.pid, largest + SOME_ROOM_BYTES)
                while (told := await try_to_send(http, room, f"key {len(sent)}")) is not None:
                    sent.append(told)
                    assert len(sent) < MOST_SENDS, "the limit has no effect"

                assert await http.request("GET", "/healthz")
                stored = await history(server, "alice", room)
                assert stored[: len(sent)] == sent
                assert await try_to_send(http, room, "another") is None

                limit_files(server.pid, resource.RLIM_INFINITY)
                sent.append(await send(http, room, f"key {len(sent)}"))
                sent.append(await send(http, room, "another"))
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0
            await server.start()
            stored = await history(server, "bob", room)
        assert stored == sorted(sent)
        assert "disk" in server.errors


def limit_files(pid: int, size: int) -> None:
    """Let no file that a process writes grow past so many bytes."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))


async def send(http: HttpClient, room: str, key: str) -> Told:
    """Send a long message."""
    body = {"conversation_id": room, "key": key, "text": key.ljust(TEXT_CHARACTERS)}
    result = await http.request("POST", "/v1/messages", json=body)
    return Told.of(result["message"])


async def try_to_send(http: HttpClient, room: str, key: str) -> Told | None:
    """Send a long message; None when the store has no room for it."""
    try:
        return await send(http, room, key)
    except CommandError as error:
        if (error.code, error.status) != ("unavailable", 503):
            raise
        return None


class TestSettings:
    async def test_every_fault_is_named(self, tmp_path: Path) -> None:
        faults = {
            "MESSAGES_PER_SECOND": "many",
            "CONNECTIONS_PER_USER": "0",
            "LOG_LEVEL": "loud",
            "STORE": "postgres",
            "SCYLLA_HOSTS": "one:port",
            "JWT_PUBLIC_KEY": str(tmp_path / "nowhere.pem"),
        }
        said = await refusal(ServerProcess(embedded(tmp_path / "data"), environ=faults))
        named = {line.partition(":")[0] for line in said.splitlines()}
        assert named == faults.keys()
        assert not (tmp_path / "data").exists()

    async def test_an_address_in_use_is_named(self, tmp_path: Path) -> None:
        async with ServerProcess(embedded(tmp_path / "first")) as first:
            await first.start()
            port = int(first.url.rpartition(":")[2])
            said = await refusal(ServerProcess(embedded(tmp_path / "second"), port=port))
        assert f"127.0.0.1:{port}" in said
