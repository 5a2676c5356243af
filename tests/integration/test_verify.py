"""`tradewire verify` finds what does not agree with the messages, and nothing else."""

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.engines import Keyspace
from tests.integration.commands import execute, tradewire
from tests.integration.folder import CELL, CROWD, Folder, fill
from tradewire.adapters.scylla import verify
from tradewire.adapters.scylla.load import Load
from tradewire.adapters.scylla.verify import Verification
from tradewire.adapters.sqlite.export import Export
from tradewire.cli import main
from tradewire.cli.migrate_store import Migration
from tradewire.testing.clock import ManualClock

TENANT = "t1"


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
def crowds() -> bool:
    return True


@pytest.fixture
async def folder(tmp_path: Path, time: ManualClock, crowds: bool) -> Folder:
    return await fill(tmp_path / "data", time, crowds=crowds)


class TestFolder:
    def verified(self, folder: Folder, *options: str) -> tuple[int, list[str]]:
        """The exit code and the lines of the command."""
        arguments = ["verify", "--data", str(folder.path), *options]
        found = CliRunner().invoke(main, arguments, catch_exceptions=False)
        return found.exit_code, found.output.splitlines()

    def number(self, database: sqlite3.Connection, conversation_id: str) -> int:
        query = "SELECT number FROM conversations WHERE conversation_id = ? AND tenant = 't1'"
        found: int = database.execute(query, (conversation_id,)).fetchone()[0]
        return found

    def test_what_the_store_wrote_is_right(self, folder: Folder) -> None:
        code, lines = self.verified(folder)
        assert (code, lines) == (0, ["16 conversations, 432 members: no differences"])
        code, lines = self.verified(folder, "--tenant", "t2")
        assert (code, lines) == (0, ["1 conversations, 2 members: no differences"])

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ("UPDATE members SET activity = activity - 1 WHERE number = {}", "in the inbox"),
            ("UPDATE members SET moved = moved - 1 WHERE number = {}", "resume looks"),
            ("UPDATE members SET unread = 0 WHERE number = {}", "is not marked"),
            ("UPDATE members SET listing_id = 'l9' WHERE number = {}", "listed under l9"),
            ("UPDATE members SET created = 1 WHERE number = {}", "made 1 of t1"),
            ("UPDATE conversations SET member_count = 9 WHERE number = {}", "counts 9 members"),
            ("UPDATE conversations SET status = 'closed' WHERE number = {}", "listed as closed"),
            ("DELETE FROM conversations WHERE number = {}", "no conversation"),
        ],
    )
    def test_faults_are_told(self, folder: Folder, fault: str, told: str) -> None:
        unread = folder.conversations["unread"]
        with sqlite3.connect(folder.path / "tradewire.db") as database:
            number = self.number(database, unread)
            database.execute(fault.format(number))
        database.close()
        code, lines = self.verified(folder)
        assert code == 1
        assert any(told in line for line in lines[:-1]), lines
        assert all(unread in line or f"number {number}," in line for line in lines[:-1])
        assert self.verified(folder, "--tenant", "t2")[0] == 0

    def test_a_key_without_its_message_is_told(self, folder: Folder) -> None:
        with sqlite3.connect(folder.path / "tradewire.db") as database:
            fault = "UPDATE message_keys SET message_id = 1 WHERE key = ?"
            database.execute(fault, (folder.filed.key,))
        database.close()
        code, lines = self.verified(folder)
        assert (code, len(lines)) == (1, 2)
        assert f"key {folder.filed.key} of busy" in lines[0]
        assert lines[1].endswith(": 1 difference")

    def test_without_a_folder_there_is_nothing_to_look_at(self, folder: Folder) -> None:
        missing = CliRunner().invoke(main, ["verify", "--data", str(folder.path / "none")])
        assert missing.exit_code == 2
        assert "There is no data" in missing.output


class TestCluster:
    @pytest.fixture
    def crowds(self) -> bool:
        return False

    @pytest.fixture(autouse=True)
    async def moved(
        self, keyspace: Keyspace, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The folder in the cluster."""
        await keyspace.clear()
        monkeypatch.setattr(verify, "PAUSES_S", (0.05, 0.05))
        with Export(folder.path) as export:
            async with Load(keyspace.options, cell=CELL, newest=export.newest) as load:
                await Migration(export, load).run()

    async def found(self, keyspace: Keyspace, time: ManualClock) -> list[str]:
        async with Verification(keyspace.options, time) as verification:
            recounts = [recount async for recount in verification.recounts(TENANT)]
        return sorted(line for recount in recounts for line in recount.differences)

    @pytest.mark.parametrize("crowds", [True])
    async def test_rows_of_the_inbox(
        self, keyspace: Keyspace, folder: Folder, time: ManualClock
    ) -> None:
        pinned, muted = folder.conversations["pinned"], folder.conversations["muted"]
        for table in ("activity", "activity_periods", "creations", "crowds"):
            await execute(keyspace, f"TRUNCATE {table}")
        found = await self.found(keyspace, time)
        for conversation, user in ((pinned, "pinned"), (muted, "alice")):
            about = f"t1 {conversation}: member {user}: "
            told = [line.removeprefix(about) for line in found if line.startswith(about)]
            for scope in (user, f"{user} l2"):
                assert any(line.startswith(f"activity of {scope}: has no row") for line in told)
                assert any(line.startswith(f"creation of {scope}: has no row") for line in told)
            assert any("holds activity, but is not listed" in line for line in told)
        crowd = folder.conversations["crowd"]
        assert f"t1 {crowd}: member {CROWD[3]}: crowd: resume does not look into it" in found

    async def test_windows_of_messages(
        self, keyspace: Keyspace, folder: Folder, time: ManualClock
    ) -> None:
        long = folder.conversations["long"]
        unlisted = "DELETE FROM conversation_buckets WHERE tenant = 't1' AND conversation_id = %s"
        await execute(keyspace, unlisted, long)
        found = await self.found(keyspace, time)
        windows = [line for line in found if line.endswith("holds messages, but is not listed")]
        assert len(windows) > 1
        assert all(line.startswith(f"t1 {long}: bucket ") for line in windows)

    async def test_memberships(self, keyspace: Keyspace, folder: Folder, time: ManualClock) -> None:
        group, unread = folder.conversations["group"], folder.conversations["unread"]
        await execute(
            keyspace,
            "DELETE FROM user_conversations"
            " WHERE tenant = 't1' AND user_id = 'carol' AND conversation_id = %s",
            unread,
        )
        await execute(
            keyspace,
            "INSERT INTO members (tenant, conversation_id, user_id, role)"
            " VALUES ('t1', %s, 'erin', '')",
            group,
        )
        found = await self.found(keyspace, time)
        assert found == sorted(
            [
                f"t1 {unread}: member carol: membership: is a member, but has it not",
                f"t1 {group}: member erin: membership: is no member, but has it",
            ]
        )

    async def test_unread(self, keyspace: Keyspace, folder: Folder, time: ManualClock) -> None:
        long = folder.conversations["pinned"]
        wrong = f'[["{long}",1,7,true]]'
        await execute(
            keyspace,
            "INSERT INTO unread_marks (tenant, user_id, up_to, capped, conversation_ids)"
            " VALUES ('t1', 'pinned', %s, false, %s)",
            (1 << 63) - 1,
            wrong,
        )
        assert await self.found(keyspace, time) == [
            f"t1 {long}: member pinned: list of unread: 0 messages, the list tells 7"
        ]

    async def test_what_passes_is_not_told(
        self,
        keyspace: Keyspace,
        folder: Folder,
        time: ManualClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        unread = folder.conversations["unread"]
        fault = "INSERT INTO members (tenant, conversation_id, user_id, role) VALUES ('t1', %s,"
        await execute(keyspace, f"{fault} 'carol', '')", unread)
        assert await self.found(keyspace, time) != []
        looks: list[str] = []
        look = Verification._look

        async def passing(
            verification: Verification, tenant: str, conversation_id: str
        ) -> tuple[int | None, dict[str, str]]:
            found = await look(verification, tenant, conversation_id)
            if conversation_id == unread:
                looks.append(conversation_id)
                await execute(keyspace, f"{fault} 'carol', 'member')", unread)
            return found

        monkeypatch.setattr(Verification, "_look", passing)
        assert await self.found(keyspace, time) == []
        assert len(looks) == 2

    async def test_the_command(self, keyspace: Keyspace, folder: Folder) -> None:
        code, out, err = await tradewire(keyspace.environ, "verify")
        assert (code, out) == (0, "14 conversations, 30 members: no differences\n"), err
        unread = folder.conversations["unread"]
        unlisted = "DELETE FROM conversation_buckets WHERE tenant = 't1' AND conversation_id = %s"
        await execute(keyspace, unlisted, unread)
        code, out, err = await tradewire(keyspace.environ, "verify", "--tenant", "t1")
        assert code == 1, err
        assert f"t1 {unread}: bucket " in out
        code, out, err = await tradewire(keyspace.environ, "verify", "--tenant", "t2")
        assert (code, out) == (0, "1 conversations, 2 members: no differences\n"), err
