from collections import Counter

import pytest

from loadtest.flow import Flow, Order
from tradewire.domain.ids import Clock
from tradewire.testing.clock import ManualClock

ONE, OTHER = 7, 8


@pytest.fixture
def faults() -> Counter[str]:
    return Counter()


def flow_to(faults: Counter[str], *receivers: int, ordered: bool = True) -> Flow:
    flow = Flow("conversation", faults, {r: Order() for r in receivers}, ordered=ordered)
    for n in (1, 2, 3):
        flow.sent(n, due=10.0 + n)
    return flow


@pytest.fixture
def flow(faults: Counter[str]) -> Flow:
    return flow_to(faults, ONE)


def arrive(flow: Flow, n: int, message_id: str, *, resuming: bool = False) -> float | None:
    return flow.delivered(ONE, n, message_id, resuming=resuming)


def acknowledge(flow: Flow, n: int, message_id: str) -> float | None:
    return flow.acknowledged(n, message_id, duplicate=False)


def test_replies_and_events_may_come_in_either_order(flow: Flow, faults: Counter[str]) -> None:
    assert acknowledge(flow, 1, "101") == 11.0
    assert arrive(flow, 1, "101") == 11.0
    assert arrive(flow, 2, "102") == 12.0
    acknowledge(flow, 2, "102")
    acknowledge(flow, 3, "103")
    assert arrive(flow, 3, "103") == 13.0
    assert flow.settled
    flow.finish()
    assert not faults


def test_a_flow_with_a_message_under_way_is_not_settled(flow: Flow) -> None:
    for n in (1, 2, 3):
        acknowledge(flow, n, f"10{n}")
    arrive(flow, 1, "101")
    arrive(flow, 2, "102")
    assert not flow.settled


def test_what_never_arrives_is_lost(flow: Flow, faults: Counter[str]) -> None:
    acknowledge(flow, 1, "101")
    arrive(flow, 2, "102")
    flow.finish()
    assert faults == {"never acknowledged": 2, "never delivered": 2}


def test_a_second_delivery_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 1, "101")
    assert arrive(flow, 1, "101") is None
    assert faults == {"delivered twice or never sent": 1}


def test_a_second_delivery_is_a_fault_also_when_all_is_done(
    flow: Flow, faults: Counter[str]
) -> None:
    acknowledge(flow, 1, "101")
    arrive(flow, 1, "101")
    arrive(flow, 1, "101")
    assert faults == {"delivered twice or never sent": 1}


def test_a_message_nobody_sent_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    assert arrive(flow, 9, "109") is None
    assert faults == {"delivered twice or never sent": 1}


def test_a_message_to_a_stranger_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    assert flow.delivered(OTHER, 1, "101") is None
    assert faults == {"not for this connection": 1}


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
    assert arrive(flow, 1, "102") == 11.0
    assert faults == {"out of order": 1}


def test_nothing_is_out_of_order_where_no_order_was_promised(faults: Counter[str]) -> None:
    flow = flow_to(faults, ONE, ordered=False)
    arrive(flow, 2, "102")
    arrive(flow, 1, "101")
    assert not faults


def test_reply_and_event_must_name_the_same_message(flow: Flow, faults: Counter[str]) -> None:
    acknowledge(flow, 1, "101")
    arrive(flow, 1, "102")
    assert faults == {"acknowledged under another id": 1}


def test_a_reply_may_name_no_message(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 1, "101")
    acknowledge(flow, 1, "")
    acknowledge(flow, 2, "")
    arrive(flow, 2, "102")
    assert not faults


def test_a_second_reply_is_a_fault(flow: Flow, faults: Counter[str]) -> None:
    acknowledge(flow, 1, "101")
    assert acknowledge(flow, 1, "101") is None
    assert faults == {"acknowledged twice": 1}


def test_a_fresh_key_must_not_be_called_a_duplicate(flow: Flow, faults: Counter[str]) -> None:
    flow.acknowledged(1, "101", duplicate=True)
    assert faults == {"called a duplicate": 1}


def test_a_refused_message_must_not_be_delivered(flow: Flow, faults: Counter[str]) -> None:
    assert flow.refused(1) == 11.0
    assert arrive(flow, 1, "101") is None
    assert faults == {"delivered twice or never sent": 1}


def test_a_refused_message_is_not_lost(flow: Flow, faults: Counter[str]) -> None:
    for n in (1, 3):
        acknowledge(flow, n, f"10{n}")
        arrive(flow, n, f"10{n}")
    flow.refused(2)
    flow.finish()
    assert not faults


def test_every_receiver_must_get_every_message(faults: Counter[str]) -> None:
    flow = flow_to(faults, ONE, OTHER)
    for n in (1, 2, 3):
        acknowledge(flow, n, f"10{n}")
        arrive(flow, n, f"10{n}")
    flow.delivered(OTHER, 1, "101")
    assert not flow.settled
    flow.finish()
    assert faults == {"never delivered": 2}


def test_each_receiver_gets_a_message_once(faults: Counter[str]) -> None:
    flow = flow_to(faults, ONE, OTHER)
    assert arrive(flow, 1, "101") == flow.delivered(OTHER, 1, "101") == 11.0
    assert arrive(flow, 1, "101") is None
    assert faults == {"delivered twice or never sent": 1}


@pytest.mark.parametrize("nodes", [(3, 3), (3, 4), (4, 3), (0, 1023), (1023, 0)])
@pytest.mark.parametrize("apart_ms", [0, 1, 5_000])
def test_what_two_send_through_one_node_comes_in_one_order(
    faults: Counter[str], nodes: tuple[int, int], apart_ms: int
) -> None:
    time = ManualClock()
    clocks = {node: Clock(time, node) for node in nodes}
    first = clocks[nodes[0]].next_id()
    time.advance(apart_ms)
    clocks[nodes[1]].observe(first)
    second = clocks[nodes[1]].next_id()
    order = Order()
    flows = [Flow("conversation", faults, {ONE: order}) for _ in range(2)]
    for flow in flows:
        flow.sent(1, due=1.0)
    flows[0].delivered(ONE, 1, str(second))
    flows[1].delivered(ONE, 1, str(first))
    assert faults == ({"out of order": 1} if nodes[0] == nodes[1] else {})


def test_a_receiver_that_resumes_may_get_again_what_it_has(
    flow: Flow, faults: Counter[str]
) -> None:
    arrive(flow, 2, "102")
    assert arrive(flow, 1, "101", resuming=True) == 11.0
    assert arrive(flow, 2, "102", resuming=True) is None
    assert not faults


def test_a_resume_brings_nothing_that_nobody_sent(flow: Flow, faults: Counter[str]) -> None:
    arrive(flow, 9, "109", resuming=True)
    assert faults == {"delivered twice or never sent": 1}


def test_nothing_is_lost_to_a_connection_that_is_gone(faults: Counter[str]) -> None:
    flow = flow_to(faults, ONE, OTHER)
    for n in (1, 2, 3):
        acknowledge(flow, n, f"10{n}")
        arrive(flow, n, f"10{n}")
    flow.finish({OTHER})
    assert not faults


def test_what_a_sender_that_is_gone_was_not_told_is_uncertain(
    flow: Flow, faults: Counter[str]
) -> None:
    acknowledge(flow, 1, "101")
    flow.finish(sender_gone=True)
    assert faults == {"never delivered": 1}
