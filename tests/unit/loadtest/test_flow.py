from collections import Counter

import pytest

from loadtest.flow import Flow


@pytest.fixture
def faults() -> Counter[str]:
    return Counter()


@pytest.fixture
def flow(faults: Counter[str]) -> Flow:
    flow = Flow("conversation", faults)
    flow.session_id = "session"
    for n in (1, 2, 3):
        flow.sent(n, due=10.0 + n)
    return flow


def arrive(flow: Flow, n: int, message_id: str) -> float | None:
    return flow.delivered(f"session:{n}", message_id)


def test_replies_and_events_may_come_in_either_order(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=False)
    assert arrive(flow, 1, "101") == 11.0
    assert arrive(flow, 2, "102") == 12.0
    flow.acknowledged(2, "102", duplicate=False)
    flow.acknowledged(3, "103", duplicate=False)
    assert arrive(flow, 3, "103") == 13.0
    assert flow.settled
    flow.finish()
    assert not faults


def test_a_flow_with_a_message_under_way_is_not_settled(flow: Flow) -> None:
    for n in (1, 2, 3):
        flow.acknowledged(n, f"10{n}", duplicate=False)
    arrive(flow, 1, "101")
    arrive(flow, 2, "102")
    assert not flow.settled


def test_what_never_arrives_is_lost(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=False)
    arrive(flow, 2, "102")
    flow.finish()
    assert faults == {"never acknowledged": 2, "never delivered": 2}


def test_a_second_delivery_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 1, "101")
    assert arrive(flow, 1, "101") is None
    assert faults == {"delivered twice or never sent": 1}


def test_a_message_nobody_sent_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    assert arrive(flow, 9, "109") is None
    assert faults == {"delivered twice or never sent": 1}


@pytest.mark.parametrize("key", ["", "session", "session:", "other:1", "session:x", "session:-1"])
def test_a_key_of_another_flow_is_a_fault(flow: Flow, faults: Counter[str], key: str) -> None:
    assert flow.delivered(key, "101") is None
    assert faults == {"not of this flow": 1}


def test_message_ids_must_rise(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 1, "102")
    arrive(flow, 2, "101")
    assert faults == {"out of order": 1}


def test_ids_are_compared_as_numbers(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 1, "9")
    arrive(flow, 2, "10")
    assert not faults


def test_ids_must_rise_in_the_order_of_sending(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 2, "101")
    arrive(flow, 1, "102")
    assert faults == {"out of order": 1}


def test_reply_and_event_must_name_the_same_message(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=False)
    arrive(flow, 1, "102")
    assert faults == {"acknowledged under another id": 1}


def test_a_second_reply_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=False)
    flow.acknowledged(1, "101", duplicate=False)
    assert faults == {"acknowledged twice": 1}


def test_a_fresh_key_must_not_be_called_a_duplicate(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=True)
    assert faults == {"called a duplicate": 1}


def test_a_refused_message_must_not_be_delivered(flow: Flow, faults: Counter[str]) -> None:
    flow.refused(1)
    assert arrive(flow, 1, "101") is None
    assert faults == {"delivered twice or never sent": 1}
