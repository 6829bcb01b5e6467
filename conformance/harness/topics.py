"""Making topics for checks and measurements, and waiting until they serve."""

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from .check import eventually, that

ANSWER_BOUND_S = 60
"""Ends a wait for an answer that never comes."""


def create(admin: AdminClient, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> None:
    """Creates a topic and waits until all of it serves."""
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([topic])[name].result(ANSWER_BOUND_S)
    await_served(admin, name, partitions)


def await_served(admin: AdminClient, name: str, partitions: int) -> None:
    """Waits until every partition answers: a producer's first tries would else fail, and come again out of order."""

    def served() -> None:
        # One call asks for the leaders once and then waits in vain: what Metadata shows comes first.
        known = admin.list_topics(timeout=ANSWER_BOUND_S).topics
        that(name in known and len(known[name].partitions) == partitions, f"{name} is not there")
        ends(admin, name, partitions)

    eventually(served)


def ends(admin: AdminClient, name: str, partitions: int) -> dict[int, int]:
    """End offsets by partition."""
    asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}
    answers = admin.list_offsets(asked, request_timeout=5)
    return {place.partition: future.result(ANSWER_BOUND_S).offset for place, future in answers.items()}
