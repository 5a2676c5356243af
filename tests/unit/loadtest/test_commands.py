import pytest

from loadtest import commands
from loadtest.commands import page_fault
from loadtest.messages import Chat, Message, Result
from loadtest.plan import Conversation, Page
from loadtest.preparing import pages

IDS = [str(number) for number in range(100, 110)]


def page(*ids: str, conversation_id: str = "c") -> list[Message]:
    return [Message(message_id, conversation_id) for message_id in ids]


def test_the_pages_of_a_conversation_are_where_their_messages_are() -> None:
    found = pages(IDS, 4)
    assert found[0] == Page(first="106")
    assert found[1] == Page(before="104", first="100")
    assert found[-1] == Page(before="109", first="105")
    assert len(found) == 7


def test_of_a_long_conversation_some_places_are_read() -> None:
    found = pages([str(number) for number in range(10_000)], 50)
    assert 90 < len(found) < 120


def test_the_newest_page_of_a_growing_conversation_begins_anywhere() -> None:
    assert pages(IDS, 4, growing=True)[0] == Page()


def test_a_page_as_it_should_be_has_no_fault() -> None:
    assert page_fault(page("7", "8", "10"), "c", Page("11", "7"), 3) == ""
    assert page_fault(page("7", "8", "10"), "c", Page(), 3) == ""


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        (page("7", "8"), "not a full page"),
        (page("6", "8", "10"), "another page"),
        (page("7", "10", "9"), "out of order"),
        (page("7", "8", "8"), "out of order"),
        (page("7", "8", "10", conversation_id="d"), "another conversation"),
    ],
)
def test_what_may_be_wrong_with_a_page(messages: list[Message], fault: str) -> None:
    assert fault in page_fault(messages, "c", Page("11", "7"), 3)


def test_history_is_asked_for_in_both_ways_alike() -> None:
    command = commands.history(Conversation("c", [], [Page("11", "7")]), 3)
    assert command.fields == {
        "type": "GetMessages", "conversation_id": "c", "limit": 3, "before": "11",
    }  # fmt: skip
    assert command.path == "/v1/conversations/c/messages?limit=3&before=11"
    assert command.check(Result(messages=page("7", "8", "10"))) == ""
    assert command.check(Result()) != ""


@pytest.mark.parametrize(("shown", "sound"), [(5, True), (4, False), (6, False)])
def test_an_inbox_page_holds_all_that_fits(shown: int, sound: bool) -> None:
    chats = [Chat(str(number)) for number in range(shown)]
    assert (commands.inbox(30, 5).check(Result(conversations=chats)) == "") is sound
    assert (commands.inbox(5, 20).check(Result(conversations=chats)) == "") is sound


def test_an_inbox_page_holds_a_conversation_once() -> None:
    result = Result(conversations=[Chat("1"), Chat("1")])
    assert "twice" in commands.inbox(2, 20).check(result)


def test_everything_is_read_until_something_was_heard() -> None:
    conversation = Conversation("c", [])
    assert commands.read(conversation, 0).fields["all"] is True
    assert commands.read(conversation, 12).fields["up_to"] == "12"
