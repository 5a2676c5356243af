import pytest

from loadtest.deployment import Deployment, Events
from loadtest.plan import Buyer, Connection, Conversation, Endpoint, OpenLoop, Plan
from loadtest.planning import plans_of
from loadtest.rooms import Room, merged
from loadtest.scenario import AnyScenario, ScenarioError, load_scenario
from loadtest.servers import Server, Tradewire

AT = Endpoint("127.0.0.1", 8080, "/ws/chat")
LOAD = OpenLoop(rate=100.0, seconds=1.0, seed=1)


def deployment(events: Events | None = None) -> Deployment:
    servers = [Server(Tradewire(), (), "http://127.0.0.1:8080")]
    return Deployment("somewhere", servers, {}, {}, {}, settle=1.5, events=events)


def pair(name: str) -> Room:
    return Room([Connection(AT, 0), Connection(AT, 0)], [Conversation(name, [0, 1])])


def plans(rooms: list[Room], processes: int | None = None, name: str = "pairs") -> list[Plan]:
    scenario: AnyScenario = load_scenario(name, {"processes": processes} if processes else {})
    load = scenario.loads()[-1] if name == "order-events" else LOAD
    return plans_of(scenario, rooms, load, deployment(Events("127.0.0.1:9092", "x.")))


def test_rooms_that_are_merged_keep_their_own() -> None:
    whole = merged([pair("one"), pair("other")])
    assert [connection.acts_in for connection in whole.connections] == [0, 0, 1, 1]
    assert [each.receivers for each in whole.conversations] == [[0, 1], [2, 3]]


def test_who_only_receives_goes_on_to_do_so() -> None:
    room = Room([Connection(AT), Connection(AT, 0)], [Conversation("c", [0, 1])], cut=[0])
    whole = merged([pair("one"), room])
    assert [connection.acts_in for connection in whole.connections] == [0, 0, None, 1]
    assert whole.cut == [2]


def test_buyers_stay_who_they_are() -> None:
    room = Room([Connection(AT)], buyers=[Buyer(0, "buyer", "seller", "c")])
    assert merged([pair("one"), room]).buyers == [Buyer(2, "buyer", "seller", "c")]


def test_generators_share_the_rooms_and_the_rate() -> None:
    made = plans([pair(str(number)) for number in range(5)], processes=2)
    assert [len(plan.connections) for plan in made] == [6, 4]
    loads = [plan.load for plan in made]
    assert [load.rate for load in loads if isinstance(load, OpenLoop)] == [50.0, 50.0]
    assert len({load.seed for load in loads if isinstance(load, OpenLoop)}) == 2


def test_a_room_is_not_split() -> None:
    with pytest.raises(ScenarioError, match=r"`processes`: pairs has one part, too few for 2"):
        plans([pair("one")], processes=2)


def test_without_being_told_there_are_no_more_generators_than_rooms() -> None:
    assert len(plans([pair("one")])) == 1


def test_orders_are_published_on_the_topic_of_the_servers() -> None:
    room = Room([Connection(AT)], buyers=[Buyer(0, "buyer", "seller", "c")])
    [plan] = plans([room], name="order-events")
    assert plan.orders is not None
    assert (plan.orders.brokers, plan.orders.topic) == ("127.0.0.1:9092", "x.commerce.orders.v1")


def test_orders_need_a_kafka() -> None:
    scenario = load_scenario("order-events")
    with pytest.raises(ScenarioError, match="KAFKA_BROKERS"):
        plans_of(scenario, [pair("one")], scenario.loads()[-1], deployment())
