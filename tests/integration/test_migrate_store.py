"""Moving a data folder into a cluster: everything is there, and it goes on from there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engines import Keyspace
from tests.integration.alike import inboxes, log, people_and_things, resumes, same, views
from tests.integration.commands import execute, tradewire
from tests.integration.folder import CELL, CROWD, Folder, fill, opened
from tradewire.adapters.scylla.load import Load
from tradewire.adapters.scylla.store import ScyllaStore
from tradewire.adapters.scylla.verify import Verification
from tradewire.adapters.sqlite.export import Export
from tradewire.cli.migrate_store import PROGRESS_FILE, Migration, compare, read_progress
from tradewire.domain.errors import KeyReused
from tradewire.domain.ids import Clock
from tradewire.domain.snapshot import ConversationSnapshot, Item
from tradewire.ports import StoreError
from tradewire.testing.clock import ManualClock
from tradewire.testing.store_contract import Shop

LEASE_S = 60.0


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def folder(tmp_path: Path, time: ManualClock) -> Folder:
    return await fill(tmp_path / "data", time)


@asynccontextmanager
async def loading(keyspace: Keyspace, export: Export) -> AsyncIterator[Load]:
    async with Load(keyspace.options, cell=CELL, newest=export.newest) as load:
        yield load


@asynccontextmanager
async def cluster(keyspace: Keyspace, time: ManualClock) -> AsyncIterator[Shop]:
    """The shop on the cluster, with a node of its own."""
    clock = Clock(time)
    store = ScyllaStore(keyspace.options, cell=CELL, clock=clock, lease_s=LEASE_S)
    await store.open()
    try:
        shop = Shop(store, time)
        shop.ids = clock
        yield shop
    finally:
        await store.close()


async def move(keyspace: Keyspace, path: Path) -> bool:
    """Move a folder; whether the stores differ."""
    with Export(path) as export:
        async with loading(keyspace, export) as load:
            await Migration(export, load).run()
            return await compare(export, load)


async def test_everything_arrives(keyspace: Keyspace, folder: Folder, time: ManualClock) -> None:
    await keyspace.clear()
    assert not await move(keyspace, folder.path)
    async with opened(folder.path, time) as here, cluster(keyspace, time) as there:
        ids = [event.id for event in await here.store.journal.events(0, 10_000)]
        conversations = [*folder.conversations.values(), "no-such"]
        for one, other in ((here, there), (here.of("t2"), there.of("t2"))):
            await same(one, other, views(conversations))
            await same(one, other, inboxes())
            await same(one, other, resumes(ids))
            await same(one, other, people_and_things())
        await same(here, there, log(ids))
    async with Verification(keyspace.options, time) as verification:
        found = [recount async for recount in verification.recounts(None)]
    assert [line for recount in found for line in recount.differences] == []
    assert sum(recount.conversations for recount in found) == len(folder.conversations) + 1


async def test_it_goes_on_from_there(keyspace: Keyspace, folder: Folder, time: ManualClock) -> None:
    await keyspace.clear()
    await move(keyspace, folder.path)
    async with cluster(keyspace, time) as shop:
        await keys_are_known(shop, folder)
        await markers_move_on(shop, folder)
        await settings_change(shop, folder)
        await messages_change(shop, folder)
        newest = max(event.id for event in await shop.store.journal.events(0, 10_000))
        last = await shop.send(folder.conversations["long"], "alice", "the last of all")
        assert [event.id for event in await shop.store.journal.events(newest, 10)] == [last.id]
        handled = await shop.write(
            shop.message(folder.conversations["long"]), handles=(shop.tenant, "event o1")
        )
        assert list(handled) == []


async def keys_are_known(shop: Shop, folder: Folder) -> None:
    for first in (folder.filed, folder.keyed):
        again = shop.message(first.conversation_id, first.sender_id, first.text, key=first.key)
        stored = (await shop.write(again))[0]
        assert stored.duplicate
        assert stored.message.message_id == first.message_id
        with pytest.raises(KeyReused):
            await shop.send(first.conversation_id, first.sender_id, "other", key=first.key)
    outlived = await shop.send(folder.conversations["long"], "alice", "again", key="old")
    assert outlived.text == "again"


async def markers_move_on(shop: Shop, folder: Folder) -> None:
    for name, user in (("long", "alice"), ("group", "bob"), ("crowd", CROWD[3])):
        conversation = folder.conversations[name]
        before = await shop.view(user, conversation)
        assert before.last_message is not None
        await shop.send(conversation, "bob" if user == "alice" else "alice")
        assert (await shop.read(conversation, user)).moved
        assert (await shop.view(user, conversation)).unread_count == 0
        late = await shop.read(conversation, user, before.last_message.id)
        assert not late.moved


async def settings_change(shop: Shop, folder: Folder) -> None:
    rooms = folder.conversations
    await shop.settings(rooms["archived"], "alice", archived=False)
    await shop.settings(rooms["pinned"], "alice", pinned=False)
    await shop.settings(rooms["muted"], "alice", muted_until=None)
    inbox = await shop.whole_inbox("alice", limit=20)
    assert rooms["archived"] in inbox
    assert rooms["hidden"] not in inbox
    await shop.send(rooms["hidden"], "hidden", "shown again")
    assert (await shop.inbox("alice"))[0] == rooms["hidden"]
    assert not (await shop.view("alice", rooms["pinned"])).pinned
    assert (await shop.view("alice", rooms["muted"])).muted_until is None
    await shop.remove(rooms["group"], "erin")
    assert rooms["group"] not in await shop.whole_inbox("erin", limit=20)
    await shop.block("alice", "mallory", blocked=False)
    assert await shop.store.people.block_relations(shop.tenant, "mallory") == frozenset()


async def messages_change(shop: Shop, folder: Folder) -> None:
    message = folder.edited
    assert (await shop.edit(message, text="thrice")).text == "thrice"
    messages = shop.store.messages
    assert len(await messages.edits(shop.tenant, message.conversation_id, message.id)) == 3
    assert (await shop.delete(message)).changed
    assert await messages.edits(shop.tenant, message.conversation_id, message.id) == []
    await shop.delete_conversation(folder.conversations["shop"])
    assert await messages.after(shop.tenant, folder.conversations["shop"], 0, 10) == []


async def test_an_interrupted_move_goes_on(
    keyspace: Keyspace, folder: Folder, time: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keyspace.clear()
    moved: list[str] = []
    interrupt_at = 9

    class Interrupted(Exception):
        pass

    def interrupting(put: Callable[[Item], object]) -> Callable[[Item], object]:
        def checked(item: Item) -> object:
            if isinstance(item, ConversationSnapshot):
                moved.append(item.id)
                if len(moved) == interrupt_at:
                    raise Interrupted
            return put(item)

        return checked

    with Export(folder.path) as export:
        for expected in (Interrupted, None):
            async with loading(keyspace, export) as load:
                monkeypatch.setattr(load, "put", interrupting(load.put))
                migration = Migration(export, load, saved_s=0.0 if expected else 2.0)
                if expected is None:
                    await migration.run()
                else:
                    with pytest.raises(expected):
                        await migration.run()
                    assert await compare(export, load)
    whole = len(folder.conversations) + 1
    assert set(moved) >= set(folder.conversations.values())
    assert whole < len(moved) <= whole + 3
    assert not await move(keyspace, folder.path)
    async with opened(folder.path, time) as here, cluster(keyspace, time) as there:
        ids = [event.id for event in await here.store.journal.events(0, 10_000)]
        await same(here, there, inboxes())
        await same(here, there, log(ids))


async def test_moving_it_twice_changes_nothing(
    keyspace: Keyspace, folder: Folder, time: ManualClock
) -> None:
    await keyspace.clear()
    await move(keyspace, folder.path)
    (folder.path / PROGRESS_FILE).unlink()
    async with cluster(keyspace, time) as shop:
        conversation = folder.conversations["long"]
        await shop.settings(folder.conversations["archived"], "alice", archived=False)
        await shop.send(conversation, "bob", "after the move")
        await shop.read(conversation, "alice")
        told = await shop.view("alice", conversation)
        inbox = await shop.whole_inbox("alice", limit=50)
    assert await move(keyspace, folder.path), "the new message is a difference"
    async with cluster(keyspace, time) as shop:
        assert await shop.view("alice", conversation) == told
        assert await shop.whole_inbox("alice", limit=50) == inbox
        events = [event.id for event in await shop.store.journal.events(0, 10_000)]
        assert len(set(events)) == len(events)


async def test_a_folder_that_was_used_meanwhile_is_refused(
    keyspace: Keyspace, folder: Folder, time: ManualClock
) -> None:
    await keyspace.clear()
    await move(keyspace, folder.path)
    async with opened(folder.path, time) as shop:
        await shop.send(folder.conversations["long"], "bob", "after the move")
    with pytest.raises(StoreError, match="written to"):
        await move(keyspace, folder.path)


async def test_nodes_must_not_serve_meanwhile(
    keyspace: Keyspace, folder: Folder, time: ManualClock
) -> None:
    await keyspace.clear()
    async with cluster(keyspace, time):
        with pytest.raises(StoreError, match="stop it first"):
            await move(keyspace, folder.path)
    assert not await move(keyspace, folder.path)


async def test_the_command(keyspace: Keyspace, folder: Folder) -> None:
    await keyspace.clear()
    moving = ("migrate-store", "--from", str(folder.path), "--to", "scylla")
    code, out, err = await tradewire(keyspace.environ, *moving, "--migrate")
    assert (code, err.count("conversations: ")) == (0, 1), err
    assert out == f"{len(folder.conversations) + 1} conversations compared: no differences\n"
    progress = read_progress(folder.path / PROGRESS_FILE)
    assert progress is not None
    assert "events" in progress.finished
    code, out, err = await tradewire(keyspace.environ, *moving)
    assert (code, err) == (0, f"comparing: {len(folder.conversations) + 1}\n")
    unlisted = "DELETE FROM conversation_buckets WHERE tenant = 't1' AND conversation_id = %s"
    await execute(keyspace, unlisted, folder.conversations["unread"])
    code, out, _ = await tradewire(keyspace.environ, *moving, "--verify-only")
    assert code == 1
    assert f"t1 {folder.conversations['unread']}: messages: 103 in the folder, 0 in" in out
    code, _, err = await tradewire(
        keyspace.environ, *moving[:2], str(folder.path.parent), *moving[3:]
    )
    assert (code, "There is no data" in err) == (2, True)
