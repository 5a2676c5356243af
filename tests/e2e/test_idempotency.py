"""Keys that make a send safe to repeat (protocol §3 "Idempotency")."""

import asyncio
from typing import Any

from tests.e2e.devices import Call, Connect, Talk, Talker, direct, group, say
from tests.e2e.harness import DEADLINE_S


async def test_a_key_makes_a_send_safe_to_repeat(talk: Talk) -> None:
    alice, bob = await talk("alice"), await talk("bob")
    conversation = await direct(alice, "bob")
    message = {"conversation_id": conversation, "key": "k", "text": "once", "metadata": {"a": 1}}
    first = await alice.ask("SendMessage", **message)
    await say(bob, conversation, "meanwhile")
    for _ in range(3):
        again = await alice.ask("SendMessage", **message)
        assert again["duplicate"] is True
        assert again["message"]["message_id"] == first["message"]["message_id"]
    for changed in ({"text": "twice"}, {"metadata": {"a": 2}}, {"language": "en"}):
        error = await alice.refused("SendMessage", **{**message, **changed})
        assert (error["code"], error["status"]) == ("key_reused", 409)
    assert (await bob.ask("SendMessage", **message))["duplicate"] is False
    elsewhere = await group(alice, "bob")
    sent = await alice.ask("SendMessage", **{**message, "conversation_id": elsewhere})
    assert sent["duplicate"] is False
    page = await bob.ask("GetMessages", conversation_id=conversation)
    assert [m["text"] for m in page["messages"]] == ["once", "meanwhile", "once"]


async def test_a_repeated_key_yields_the_message_as_it_is_now(talk: Talk) -> None:
    alice = await talk("alice")
    about = {"conversation_id": await direct(alice, "bob")}
    sent = await alice.ask("SendMessage", **about, key="k", text="once")
    message = sent["message"]["message_id"]
    await alice.ask("EditMessage", **about, message_id=message, text="changed")
    again = await alice.ask("SendMessage", **about, key="k", text="once")
    assert (again["duplicate"], again["message"]["text"]) == (True, "changed")
    await alice.ask("DeleteMessage", **about, message_id=message)
    again = await alice.ask("SendMessage", **about, key="k", text="once")
    assert (again["duplicate"], again["message"]["deleted"]) == (True, True)
    assert "text" not in again["message"]


async def test_one_of_many_at_once_with_one_key_is_the_first(connect: Connect, http: Call) -> None:
    alice = await http("alice")
    conversation = await direct(alice, "bob")
    talkers: list[Talker] = [alice, await http("alice"), *[await connect("alice") for _ in "abc"]]
    sends = [
        talker.ask("SendMessage", conversation_id=conversation, key="k", text="once")
        for talker in talkers
    ]
    results = await asyncio.wait_for(asyncio.gather(*sends), DEADLINE_S)
    assert len({result["message"]["message_id"] for result in results}) == 1
    assert sorted(result["duplicate"] for result in results) == [False, True, True, True, True]
    page = await alice.ask("GetMessages", conversation_id=conversation)
    assert len(page["messages"]) == 1


async def test_a_minted_key_is_looked_up_by_the_connection_after(connect: Connect) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    session = alice.welcome["session_id"]
    message = {"conversation_id": conversation, "text": "once"}
    first = await alice.ask("SendMessage", **message, key=f"{session}:1")
    again = await alice.ask("SendMessage", **message, key=f"{session}:1")
    await alice.socket.close()
    later = await connect("alice")
    retried = await later.ask("SendMessage", **message, key=f"{session}:1")
    fresh = await later.ask("SendMessage", **message, key=f"{later.welcome['session_id']}:1")
    assert [r["duplicate"] for r in (first, again, retried, fresh)] == [False, True, True, False]
    assert again["message"] == retried["message"] == first["message"]
    page = await later.ask("GetMessages", conversation_id=conversation)
    assert len(page["messages"]) == 2


async def test_a_key_may_come_as_a_header(http: Call) -> None:
    alice = await http("alice")
    body = {"conversation_id": await direct(alice, "bob"), "text": "once"}

    async def post(header: str, **more: str) -> dict[str, Any]:
        return await alice.request(
            "POST", "/v1/messages", json={**body, **more}, headers={"Idempotency-Key": header}
        )

    first = await post("k")
    assert (alice.status, first["message"]["key"]) == (201, "k")
    again = await post("k", key="k")
    assert (alice.status, again["duplicate"]) == (200, True)
    assert again["message"]["message_id"] == first["message"]["message_id"]
    reused = await post("k", text="twice")
    assert (alice.status, reused["code"]) == (409, "key_reused")
    contradiction = await post("k", key="another")
    assert (contradiction["code"], contradiction["field"]) == ("invalid_field", "key")
    endless = await post("k" * 129)
    assert (endless["code"], endless["field"]) == ("invalid_field", "key")


async def test_without_a_key_a_retry_is_a_new_message(talk: Talk) -> None:
    alice = await talk("alice")
    conversation = await direct(alice, "bob")
    one, two = await say(alice, conversation, "same", "same")
    assert one != two
    assert _ids(await alice.ask("GetMessages", conversation_id=conversation)) == [one, two]


def _ids(page: dict[str, Any]) -> list[str]:
    return [message["message_id"] for message in page["messages"]]
