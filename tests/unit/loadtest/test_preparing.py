"""What is there before a scenario begins, as a node shows it."""

from collections import Counter

from loadtest.deployment import made
from loadtest.preparing import ask, fill_inboxes
from loadtest.servers import Tradewire, running


async def test_chats_are_dealt_out_to_senders_each_with_a_message_of_theirs() -> None:
    readers, senders = ["reader0", "reader1"], ["peer0", "peer1", "peer2"]
    async with running(Tradewire()) as server:
        deployment = made("one node", [server])
        await fill_inboxes(deployment, readers, senders, 7)
        for reader in readers:
            page = {"type": "GetUserConversations", "limit": 100}
            [inbox] = await ask(deployment.endpoint(reader), [page])
            chats = inbox["conversations"]
            assert len({chat["conversation_id"] for chat in chats}) == 7
            wrote = Counter(chat["last_message"]["sender_id"] for chat in chats)
            assert wrote == {"peer0": 3, "peer1": 2, "peer2": 2}
