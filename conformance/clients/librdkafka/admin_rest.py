"""librdkafka's admin client: what the other checks leave out. Descriptions with operations, elections, offsets by every spec,
settings of brokers and groups, AlterConfigs, credentials, and the calls from before the admin API."""

import warnings

from confluent_kafka import ElectionType, IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (AclOperation, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType, ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion,
                                   UserScramCredentialUpsertion)

from harness.check import Context, check, equal, eventually, that

from .admin import counts_become, settings_become, topic_config
from .common import ANSWER_BOUND_S, admin_client, answer, consumer, create_topic, error_of, producer, send


def names(operations: list[AclOperation] | None) -> list[str] | None:
    """Operations by name, sorted."""
    return None if operations is None else sorted(operation.name for operation in operations)


ON_TOPICS = ["ALTER", "ALTER_CONFIGS", "CREATE", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"]
ON_CLUSTER = ["ALTER", "ALTER_CONFIGS", "CLUSTER_ACTION", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "IDEMPOTENT_WRITE"]
ON_GROUPS = ["DELETE", "DESCRIBE", "READ"]
"""What a client may do where nobody restricts it. A client's library may know fewer operations than the broker tells."""


@check("librdkafka")
def topics_are_described(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic, absent = create_topic(ctx, partitions=3), ctx.name("absent")
    found = admin.describe_topics(TopicCollection([topic, absent]))
    told = answer(found[topic])
    equal((told.name, told.is_internal, told.authorized_operations), (topic, False, None), "the topic")
    equal([(p.id, p.leader.id, [n.id for n in p.replicas], [n.id for n in p.isr]) for p in told.partitions],
          [(number, 1, [1], [1]) for number in range(3)], "partitions")
    that(len(str(told.topic_id)) == 22, f"topic id {told.topic_id}")
    equal(error_of(found[absent]), "UNKNOWN_TOPIC_OR_PART", "an unknown topic")
    allowed = answer(admin.describe_topics(TopicCollection([topic]), include_authorized_operations=True)[topic])
    that(set(ON_TOPICS) <= set(names(allowed.authorized_operations)), f"operations {names(allowed.authorized_operations)}")
    equal(str(allowed.topic_id), str(told.topic_id), "the topic id, asked again")


@check("librdkafka")
def operations_are_told(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic, group = create_topic(ctx), ctx.name("g")
    cluster = answer(admin.describe_cluster(include_authorized_operations=True))
    that(set(ON_CLUSTER) <= set(names(cluster.authorized_operations)), f"on the cluster {names(cluster.authorized_operations)}")
    equal(answer(admin.describe_cluster()).authorized_operations, None, "on the cluster, when nobody asks")
    client = consumer(ctx, group_id=group)
    client.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    client.close()
    told = answer(admin.describe_consumer_groups([group], include_authorized_operations=True)[group])
    that(set(ON_GROUPS) <= set(names(told.authorized_operations)), f"on the group {names(told.authorized_operations)}")
    equal(answer(admin.describe_consumer_groups([group])[group]).authorized_operations, None, "on the group, when nobody asks")


@check("librdkafka")
def calls_from_before_the_admin_api(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic, group = create_topic(ctx, partitions=2), ctx.name("g")
    client = consumer(ctx, group_id=group)
    client.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    client.close()
    [told] = admin.list_groups(group, timeout=ANSWER_BOUND_S)
    equal((told.id, told.error, told.state, told.protocol, told.members), (group, None, "Empty", "", []), "the group")
    equal(told.broker.id, 1, "its coordinator")
    that(group in [one.id for one in admin.list_groups(timeout=ANSWER_BOUND_S)], "the group is not among all")
    metadata = admin.list_topics(topic, timeout=ANSWER_BOUND_S)
    equal(sorted(metadata.topics), [topic], "topics, when one is asked for")
    that(len(metadata.topics[topic].partitions) == 2 and metadata.controller_id == 1, "its partitions and the controller")
    equal(admin.cluster_id(timeout=ANSWER_BOUND_S), metadata.cluster_id, "the cluster id")


@check("librdkafka")
def leaders_are_elected(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic, absent = create_topic(ctx, partitions=2), ctx.name("absent")
    for kind in (ElectionType.PREFERRED, ElectionType.UNCLEAN):
        places = [TopicPartition(topic, 0), TopicPartition(topic, 7), TopicPartition(absent, 0)]
        found = {(place.topic, place.partition): error for place, error in answer(admin.elect_leaders(kind, places)).items()}
        told = {place: error and error.args[0].name() if isinstance(error, KafkaException) else error and error.name()
                for place, error in found.items()}
        equal(told, {(topic, 0): "ELECTION_NOT_NEEDED", (topic, 7): "UNKNOWN_TOPIC_OR_PART", (absent, 0): "UNKNOWN_TOPIC_OR_PART"},
              f"{kind.name} elections")
    # Of all partitions only those are told where something happened.
    equal(answer(admin.elect_leaders(ElectionType.PREFERRED)), {}, "elections of all partitions")


@check("librdkafka")
def offsets_are_listed_by_every_spec(ctx: Context) -> None:
    admin = admin_client(ctx)
    # Not deleted for its age: the records are of 2001.
    topic = create_topic(ctx, partitions=2, config={"retention.ms": "-1"})
    start = 1_000_000_000_000
    send(producer(ctx, linger_ms=20), topic, ({"value": b"x", "partition": 0, "timestamp": start + 1000 * at} for at in (0, 1, 9, 3)))
    admin.delete_records([TopicPartition(topic, 0, 1)])[TopicPartition(topic, 0, 1)].result(ANSWER_BOUND_S)

    def told(spec: OffsetSpec, partition: int = 0, **more: object) -> tuple[int, int]:
        result = answer(next(iter(admin.list_offsets({TopicPartition(topic, partition): spec}, **more).values())))
        return result.offset, result.timestamp

    equal(told(OffsetSpec.earliest()), (1, -1), "the earliest")
    equal(told(OffsetSpec.latest()), (4, -1), "the latest")
    equal(told(OffsetSpec.latest(), isolation_level=IsolationLevel.READ_COMMITTED), (4, -1), "the latest committed")
    equal(told(OffsetSpec.max_timestamp()), (2, start + 9000), "the greatest timestamp")
    equal(told(OffsetSpec.for_timestamp(start + 1000)), (1, start + 1000), "a time of a record")
    equal(told(OffsetSpec.for_timestamp(start + 1001)), (2, start + 9000), "a time between records")
    equal(told(OffsetSpec.for_timestamp(start + 9001)), (-1, -1), "a time after them")
    equal((told(OffsetSpec.earliest(), 1), told(OffsetSpec.latest(), 1), told(OffsetSpec.max_timestamp(), 1)),
          ((0, -1), (0, -1), (-1, -1)), "an empty partition")
    absent = admin.list_offsets({TopicPartition(ctx.name("absent"), 0): OffsetSpec.latest()}, request_timeout=5)
    equal(error_of(next(iter(absent.values()))), "_NOENT", "an unknown topic")


@check("librdkafka")
def settings_are_replaced(ctx: Context) -> None:
    admin = admin_client(ctx)
    topic = create_topic(ctx, config={"retention.ms": "1000000", "segment.bytes": "2097152"})

    def replace(validate_only: bool = False, **settings: str):
        resource = ConfigResource(ResourceType.TOPIC, topic, set_config={key.replace("_", "."): value for key, value in settings.items()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return admin.alter_configs([resource], validate_only=validate_only)[resource]

    answer(replace(validate_only=True, flush_ms="5000"))
    equal(topic_config(ctx, topic)["retention.ms"].value, "1000000", "after what was only judged")
    answer(replace(flush_ms="5000", segment_bytes="3000000"))
    settings_become(ctx, topic, {"flush.ms": "5000", "segment.bytes": "3000000", "retention.ms": "604800000"}, ["retention.ms"])
    equal(error_of(replace(flush_ms="soon")), "INVALID_CONFIG", "a word for a number")
    equal(error_of(replace(no_such_setting="1")), "INVALID_CONFIG", "an unknown setting")
    equal(topic_config(ctx, topic)["flush.ms"].value, "5000", "after refusals")


@check("librdkafka")
def lists_are_appended_to_and_taken_from(ctx: Context) -> None:
    admin = admin_client(ctx)
    name = ctx.name("throttled")
    answer(admin.create_topics([NewTopic(name, 1, 1)])[name])

    def change(operation: AlterConfigOpType, value: str) -> None:
        entry = ConfigEntry("leader.replication.throttled.replicas", value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        answer(admin.incremental_alter_configs([resource])[resource])

    def becomes(value: str) -> None:
        eventually(lambda: equal(topic_config(ctx, name)["leader.replication.throttled.replicas"].value, value, "the list"))

    eventually(lambda: topic_config(ctx, name))
    change(AlterConfigOpType.SET, "0:1")
    becomes("0:1")
    change(AlterConfigOpType.APPEND, "1:1,2:1")
    becomes("0:1,1:1,2:1")
    change(AlterConfigOpType.APPEND, "2:1")
    becomes("0:1,1:1,2:1")
    change(AlterConfigOpType.SUBTRACT, "1:1")
    becomes("0:1,2:1")
    change(AlterConfigOpType.SUBTRACT, "7:1")
    becomes("0:1,2:1")


@check("librdkafka")
def settings_of_the_broker_are_described(ctx: Context) -> None:
    admin = admin_client(ctx)
    resource = ConfigResource(ResourceType.BROKER, "1")
    found = answer(admin.describe_configs([resource])[resource])
    for key, value in {"message.max.bytes": "1048588", "num.partitions": "1", "compression.type": "producer",
                       "log.segment.bytes": "1073741824"}.items():
        equal((found[key].value, found[key].source), (value, ConfigSource.DEFAULT_CONFIG.value), key)
    equal([found[key].is_read_only for key in ("node.id", "message.max.bytes")], [True, False], "what a start is needed for")
    equal((found["ssl.keystore.password"].value, found["ssl.keystore.password"].is_sensitive), (None, True), "a password")
    synonyms = topic_config(ctx, create_topic(ctx, config={"segment.bytes": "2097152"}))["segment.bytes"].synonyms
    equal([(name, one.value, one.source) for name, one in synonyms.items()],
          [("segment.bytes", "2097152", ConfigSource.DYNAMIC_TOPIC_CONFIG.value),
           ("log.segment.bytes", "1073741824", ConfigSource.DEFAULT_CONFIG.value)], "synonyms of a topic's setting")


@check("librdkafka")
def credentials_are_nobodys(ctx: Context) -> None:
    admin = admin_client(ctx)
    nobody = ctx.name("nobody")
    equal(answer(admin.describe_user_scram_credentials()), {}, "everybody's")
    equal(error_of(admin.describe_user_scram_credentials([nobody])[nobody]), "RESOURCE_NOT_FOUND", "nobody's")
    deletion = UserScramCredentialDeletion(nobody, ScramMechanism.SCRAM_SHA_256)
    equal(error_of(admin.alter_user_scram_credentials([deletion])[nobody]), "RESOURCE_NOT_FOUND", "removing what is not there")
    weak = UserScramCredentialUpsertion(nobody, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 1), b"secret")
    equal(error_of(admin.alter_user_scram_credentials([weak])[nobody]), "UNACCEPTABLE_CREDENTIAL", "one iteration")


@check("librdkafka")
def many_in_one_request(ctx: Context) -> None:
    admin = admin_client(ctx)
    topics = [ctx.name(f"m{number}") for number in range(20)]
    for future in admin.create_topics([NewTopic(name, 2, replica_assignment=[[1], [1]]) for name in topics]).values():
        answer(future)
    counts_become(ctx, topics, [2] * 20, "partitions")
    grown = admin.create_partitions([NewPartitions(name, 3, replica_assignment=[[1]]) for name in topics])
    for future in grown.values():
        answer(future)
    counts_become(ctx, topics, [3] * 20, "partitions, later")
    places = [TopicPartition(name, 2, 0) for name in topics]
    eventually(lambda: [answer(future) for future in admin.delete_records(places).values()])
    for future in admin.delete_topics(topics).values():
        answer(future)
    counts_become(ctx, topics, [None] * 20, "partitions in the end")
