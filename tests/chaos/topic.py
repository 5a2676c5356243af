"""What must hold of the domain events that were published on Kafka."""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise

from aiokafka.structs import ConsumerRecord

from tests.chaos.verdict import faults
from tests.fault.load import Told
from tests.kafka import headers_of, type_of


def wrong_in_topic(
    records: Sequence[ConsumerRecord], acknowledged: Collection[Told], rooms: Collection[str]
) -> list[str]:
    """Each message acknowledged in these conversations was published, and no other; the events of
    every conversation are in one partition in the order of their ids, repeated ones aside.
    """
    sent = [json.loads(each.value)["message"] for each in records if type_of(each) == "MessageSent"]
    told = {Told.of(message) for message in sent if message["conversation_id"] in rooms}
    wrong = [
        *faults("acknowledged and not on Kafka", set(acknowledged) - told),
        *faults("on Kafka and never acknowledged", told - set(acknowledged)),
    ]
    first: dict[bytes, dict[int, int]] = defaultdict(dict)
    for record in records:
        first[record.key].setdefault(int(headers_of(record)["ce_id"]), record.partition)
    for key, events in first.items():
        if len(set(events.values())) > 1:
            wrong.append(f"{key!r} is in several partitions")
        late = (pair for pair in pairwise(events) if pair[0] > pair[1])
        wrong += faults(f"{key!r} is not in order on Kafka", late)
    return wrong
