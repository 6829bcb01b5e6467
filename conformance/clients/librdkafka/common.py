"""librdkafka by confluent-kafka: clients with the checks' defaults, and reading partitions to their end."""

from collections.abc import Iterable
from concurrent.futures import Future

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import topics
from harness.check import CheckFailed, Context, equal, that
from harness.topics import ANSWER_BOUND_S

QUIET = {"log_level": 0}


def admin_client(ctx: Context) -> AdminClient:
    """The check's admin client. It outlives its calls: a future of a collected client fails at once."""
    if "admin" not in ctx.kept:
        ctx.kept["admin"] = AdminClient({"bootstrap.servers": ctx.bootstrap, **QUIET})
    return ctx.kept["admin"]


def answer(future: Future) -> object:
    """The result of an admin call; its Kafka error as an exception."""
    return future.result(ANSWER_BOUND_S)


def error_of(future: Future) -> str:
    """Name of the Kafka error that an admin call ended with; fails when it succeeded."""
    try:
        result = future.result(ANSWER_BOUND_S)
    except KafkaException as error:
        return error.args[0].name()
    raise CheckFailed(f"an error was expected, the answer is {result!r}")


def create_topic(ctx: Context, partitions: int = 1, config: dict[str, str] | None = None, word: str = "t") -> str:
    """A fresh topic, by the admin client; returns its name."""
    name = ctx.name(word)
    topics.create(admin_client(ctx), name, partitions, config)
    return name


def await_served(ctx: Context, topic: str, partitions: int) -> None:
    """Waits until every partition answers."""
    topics.await_served(admin_client(ctx), topic, partitions)


def producer(ctx: Context, **config: object) -> Producer:
    """A producer; option names with underscores for dots."""
    return Producer({"bootstrap.servers": ctx.bootstrap, **QUIET, **dotted(config)})


def consumer(ctx: Context, **config: object) -> Consumer:
    """A consumer for assigned partitions. The client wants a group name; no group is ever joined."""
    defaults = {"bootstrap.servers": ctx.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                "auto.offset.reset": "error", "check.crcs": True, "enable.partition.eof": True, **QUIET}
    return Consumer({**defaults, **dotted(config)})


def dotted(config: dict[str, object]) -> dict[str, object]:
    """Option names with dots for underscores."""
    return {key.replace("_", "."): value for key, value in config.items()}


def said(config: dict[str, object]) -> dict[str, object]:
    """Without options that are None: some may not even be named together with others."""
    return {key: value for key, value in config.items() if value is not None}


class Deliveries:
    """Collects delivery reports: `records` in the order they came, errors by name."""

    def __init__(self):
        self.records: list[Message] = []
        self.errors: list[str] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error:
            self.errors.append(error.name())
        else:
            self.records.append(message)


def flush(client: Producer) -> None:
    """Waits until everything sent is reported."""
    that(client.flush(ANSWER_BOUND_S) == 0, f"{len(client)} messages without a report after {ANSWER_BOUND_S} s")


def send(client: Producer, topic: str, records: Iterable[dict]) -> list[Message]:
    """Sends `records` (arguments of `produce`) and returns their reports; every one must succeed."""
    reports = Deliveries()
    count = 0
    for record in records:
        count += 1
        while True:
            try:
                client.produce(topic, on_delivery=reports, **record)
                break
            except BufferError:
                client.poll(1)
        client.poll(0)
    flush(client)
    equal(reports.errors, [], "delivery errors")
    equal(len(reports.records), count, "delivery reports")
    return reports.records


def read_until_end(client: Consumer, starts: list[TopicPartition]) -> dict[int, list[Message]]:
    """Assigns `starts` and reads each partition to its end."""
    client.assign(starts)
    found: dict[int, list[Message]] = {start.partition: [] for start in starts}
    left = set(found)
    while left:
        # `consume` waits for its full count: so one with patience, then what is there.
        first = client.poll(ANSWER_BOUND_S)
        that(first is not None, f"no message and no end of partition in {ANSWER_BOUND_S} s; partitions left: {left}")
        for message in [first, *client.consume(1000, timeout=0)]:
            if error := message.error():
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                left.discard(message.partition())
            else:
                found[message.partition()].append(message)
    return found


def read_all(ctx: Context, topic: str, partitions: int = 1, start: int = 0, **config: object) -> dict[int, list[Message]]:
    """Everything in `topic` from offset `start`, by partition."""
    client = consumer(ctx, **config)
    try:
        return read_until_end(client, [TopicPartition(topic, number, start) for number in range(partitions)])
    finally:
        client.close()


def next_message(client: Consumer) -> Message:
    """The next message, over ends of partitions; errors as exceptions."""
    while True:
        message = client.poll(ANSWER_BOUND_S)
        that(message is not None, f"no message within {ANSWER_BOUND_S} s")
        if not message.error():
            return message
        if message.error().code() != KafkaError._PARTITION_EOF:
            raise KafkaException(message.error())


def values(messages: list[Message]) -> list[bytes]:
    """The values, in order."""
    return [message.value() for message in messages]


def offsets(messages: list[Message]) -> list[int]:
    """The offsets, in order."""
    return [message.offset() for message in messages]


def again(ctx: Context, kill: bool) -> None:
    """Stops or kills the broker and starts it on what it left."""
    if kill:
        ctx.broker.kill()
    else:
        ctx.broker.stop()
    ctx.broker.start()
