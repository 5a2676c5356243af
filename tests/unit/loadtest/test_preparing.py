"""What is there before a scenario begins, as a node shows it."""

from collections import Counter

import pytest

from loadtest.deployment import made
from loadtest.preparing import ask, fill_inboxes
from loadtest.servers import Tradewire, running

READERS, SENDERS = ["reader0", "reader1"], ["peer0", "peer1", "peer2"]


@pytest.mark.parametrize("unread", [0, 4, 7])
async def test_chats_are_dealt_out_to_senders_and_the_latest_are_unread(unread: int) -> None:
    async with running(Tradewire()) as server:
        deployment = made("one node", [server])
        await fill_inboxes(deployment, READERS, SENDERS, 7, unread)
        for reader in READERS:
            page = {"type": "GetUserConversations", "limit": 100}
            [inbox] = await ask(deployment.endpoint(reader), [page])
            chats = inbox["conversations"]
            assert len({chat["conversation_id"] for chat in chats}) == 7
            peers = [
                member["user_id"]
                for chat in chats
                for member in chat["members"]
                if member["user_id"] != reader
            ]
            assert Counter(peers) == {"peer0": 3, "peer1": 2, "peer2": 2}
            wrote = [chat["last_message"]["sender_id"] for chat in chats]
            assert wrote == [*peers[:unread], *[reader] * (7 - unread)]
            assert [chat["unread_count"] for chat in chats] == [1] * unread + [0] * (7 - unread)
            assert inbox["unread_total"] == unread
