import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's Java clients without a group: `AssignedClient SCENARIO BOOTSTRAP TOPIC`. Exits with 1 when something does not hold. */
public final class AssignedClient {
    private static final Duration ANSWER_BOUND = Duration.ofSeconds(60);

    private final String bootstrap;
    private final String topic;

    private AssignedClient(String bootstrap, String topic) {
        this.bootstrap = bootstrap;
        this.topic = topic;
    }

    public static void main(String[] arguments) throws Exception {
        AssignedClient client = new AssignedClient(arguments[1], arguments[2]);
        switch (arguments[0]) {
            case "roundTrip" -> client.roundTrip();
            case "positions" -> client.positions();
            case "tail" -> client.tail();
            case "admin" -> client.admin();
            case "large" -> client.large();
            default -> throw new IllegalArgumentException("no scenario " + arguments[0]);
        }
        System.out.println(arguments[0] + ": everything held");
    }

    /** What the producer writes, with each codec, is what an assigned consumer reads: keys, values, headers, times, order. */
    private void roundTrip() throws Exception {
        create(3, Map.of());
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        long start = System.currentTimeMillis();
        Map<Integer, List<String>> sent = new HashMap<>();
        for (String codec : codecs) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", "20"))) {
                List<Future<RecordMetadata>> answers = new ArrayList<>();
                List<String> keys = new ArrayList<>();
                for (int n = 0; n < 600; n++) {
                    var record = new ProducerRecord<>(topic, n % 3, start + n, n % 7 == 0 ? null : bytes("key " + n),
                            n % 11 == 0 ? null : bytes(codec + " value " + n));
                    record.headers().add("codec", bytes(codec)).add("n", bytes("" + n)).add("codec", null).add("", new byte[0]);
                    answers.add(producer.send(record));
                    keys.add(shown(record.key(), record.value(), start + n, Arrays.asList(record.headers().toArray())));
                }
                for (int n = 0; n < answers.size(); n++) {
                    List<String> log = sent.computeIfAbsent(n % 3, p -> new ArrayList<>());
                    hold(answers.get(n).get().offset(), (long) log.size(), "offset that was answered to record " + n);
                    log.add(keys.get(n));
                }
            }
        }
        try (var consumer = consumer(Map.of())) {
            consumer.assign(partitions(3));
            consumer.seekToBeginning(partitions(3));
            Map<Integer, List<String>> found = new HashMap<>();
            for (var record : take(consumer, codecs.size() * 600)) {
                found.computeIfAbsent(record.partition(), p -> new ArrayList<>())
                        .add(shown(record.key(), record.value(), record.timestamp(), Arrays.asList(record.headers().toArray())));
            }
            hold(found, sent, "records");
        }
    }

    /** Beginning, end, times, seeks, pauses, what is out of range. */
    private void positions() throws Exception {
        create(2, Map.of());
        long start = System.currentTimeMillis() - 1_000_000;
        try (var producer = producer(Map.of("linger.ms", "20"))) {
            for (int n = 0; n < 1000; n++) {
                producer.send(new ProducerRecord<>(topic, n % 2, start + 10L * n, null, bytes("" + n)));
            }
        }
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        try (var consumer = consumer(Map.of("auto.offset.reset", "none"))) {
            hold(consumer.partitionsFor(topic).size(), 2, "partitions of the topic");
            hold(consumer.listTopics().containsKey(topic), true, "listed");
            hold(consumer.beginningOffsets(partitions(2)), Map.of(zero, 0L, one, 0L), "beginning offsets");
            hold(consumer.endOffsets(partitions(2)), Map.of(zero, 500L, one, 500L), "end offsets");
            Map<TopicPartition, OffsetAndTimestamp> times = consumer.offsetsForTimes(Map.of(zero, start + 4001, one, start + 10_000));
            hold(times.get(zero).offset(), 201L, "offset for a time");
            hold(times.get(zero).timestamp(), start + 4020, "the time found");
            hold(times.get(one), null, "offset for a time after the last record");
            consumer.assign(List.of(zero));
            for (long target : new long[] {250, 0, 499, 1}) {
                consumer.seek(zero, target);
                var record = take(consumer, 1).get(0);
                hold(record.offset(), target, "offset after seek");
                hold(text(record.value()), "" + 2 * target, "value after seek");
            }
            consumer.seekToEnd(List.of(zero));
            hold(consumer.position(zero), 500L, "position at the end");
            consumer.assign(List.of(zero, one));
            consumer.seekToBeginning(List.of(zero, one));
            consumer.pause(List.of(zero));
            for (var record : take(consumer, 500)) {
                hold(record.partition(), 1, "partition while the other is paused");
            }
            consumer.resume(List.of(zero));
            hold(take(consumer, 500).size(), 500, "records after resume");
            consumer.seek(zero, 501);
            try {
                take(consumer, 1);
                throw new AssertionError("offset 501 of 500 was read");
            } catch (OffsetOutOfRangeException expected) {
                hold(expected.partitions(), Set.of(zero), "partitions out of range");
            }
        }
    }

    /** An assigned consumer at the end sees each record as it is written. */
    private void tail() throws Exception {
        create(4, Map.of());
        try (var producer = producer(Map.of("linger.ms", "0"));
                var consumer = consumer(Map.of("fetch.max.wait.ms", "5000", "isolation.level", "read_committed"))) {
            consumer.assign(partitions(4));
            consumer.seekToEnd(partitions(4));
            for (TopicPartition partition : partitions(4)) {
                hold(consumer.position(partition), 0L, "position of an empty partition");
            }
            for (int n = 0; n < 100; n++) {
                producer.send(new ProducerRecord<>(topic, n % 4, null, bytes("" + n))).get();
                var record = take(consumer, 1).get(0);
                hold(text(record.value()), "" + n, "the newest value");
                hold(record.offset(), n / 4L, "its offset");
            }
        }
    }

    /** The Java admin client: by name and by id. */
    private void admin() throws Exception {
        try (Admin admin = Admin.create(common())) {
            admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "7654321")))).all().get();
            TopicDescription described = described(admin, 2);
            Uuid id = described.topicId();
            hold(described.isInternal(), false, "internal");
            var cluster = admin.describeCluster();
            hold(cluster.nodes().get().size(), 1, "nodes");
            hold(cluster.clusterId().get().isEmpty(), false, "empty cluster id");
            hold(described.partitions().get(0).leader().id(), cluster.nodes().get().iterator().next().id(), "leader");
            hold(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).topicIdValues().get(id).get().name(), topic,
                    "the topic by its id");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get();
            described(admin, 4);
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                    new AlterConfigOp(new ConfigEntry("max.message.bytes", "5000"), AlterConfigOp.OpType.SET),
                    new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE)))).all().get();
            eventually(() -> {
                var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                hold(config.get("max.message.bytes").value(), "5000", "max.message.bytes");
                hold(config.get("max.message.bytes").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
                hold(config.get("retention.ms").isDefault(), true, "retention.ms is the default");
            });
            try (var producer = producer(Map.of())) {
                for (int n = 0; n < 50; n++) {
                    producer.send(new ProducerRecord<>(topic, 3, null, bytes("" + n)));
                }
            }
            TopicPartition last = new TopicPartition(topic, 3);
            hold(admin.deleteRecords(Map.of(last, RecordsToDelete.beforeOffset(20))).lowWatermarks().get(last).get().lowWatermark(),
                    20L, "low watermark");
            hold(offset(admin, last, OffsetSpec.earliest()), 20L, "earliest");
            hold(offset(admin, last, OffsetSpec.latest()), 50L, "latest");
            hold(offset(admin, last, OffsetSpec.earliestLocal()), 20L, "earliest local");
            hold(offset(admin, last, OffsetSpec.latestTiered()), -1L, "latest tiered");
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            eventually(() -> {
                refused(admin.describeTopics(List.of(topic)).topicNameValues().get(topic), UnknownTopicOrPartitionException.class);
                refused(admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).topicIdValues().get(id),
                        UnknownTopicIdException.class);
            });
        }
    }

    /** Up to the default limit of a batch; above it a refusal that the producer understands. */
    private void large() throws Exception {
        create(1, Map.of());
        Random random = new Random(5);
        List<byte[]> sent = new ArrayList<>();
        for (int size : new int[] {1, 1_000_000, 1_048_000, 70_000, 1_048_000, 10}) {
            byte[] value = new byte[size];
            random.nextBytes(value);
            sent.add(value);
        }
        try (var producer = producer(Map.of("max.request.size", "3000000"))) {
            for (byte[] value : sent) {
                producer.send(new ProducerRecord<>(topic, 0, null, value));
            }
            producer.flush();
            Future<RecordMetadata> tooLarge = producer.send(new ProducerRecord<>(topic, 0, null, new byte[1_100_000]));
            try {
                tooLarge.get();
                throw new AssertionError("1,100,000 bytes were taken");
            } catch (ExecutionException error) {
                hold(error.getCause().getClass(), RecordTooLargeException.class, "the refusal");
            }
        }
        try (var consumer = consumer(Map.of("max.partition.fetch.bytes", "1000", "fetch.max.bytes", "1000"))) {
            consumer.assign(partitions(1));
            consumer.seekToBeginning(partitions(1));
            var found = take(consumer, sent.size());
            for (int n = 0; n < sent.size(); n++) {
                hold(Arrays.equals(found.get(n).value(), sent.get(n)), true, "contents of value " + n);
            }
        }
    }

    private interface Body {
        void run() throws Exception;
    }

    /** Kafka answers a change before its broker has applied it. */
    private static void eventually(Body body) throws Exception {
        long deadline = System.nanoTime() + ANSWER_BOUND.toNanos();
        while (true) {
            try {
                body.run();
                return;
            } catch (Exception | AssertionError error) {
                if (System.nanoTime() > deadline) {
                    throw error;
                }
                Thread.sleep(50);
            }
        }
    }

    private TopicDescription described(Admin admin, int partitions) throws Exception {
        TopicDescription[] found = new TopicDescription[1];
        eventually(() -> {
            found[0] = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            hold(found[0].partitions().size(), partitions, "partitions");
        });
        return found[0];
    }

    private static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    private static void refused(KafkaFuture<?> future, Class<?> expected) throws Exception {
        try {
            throw new AssertionError("an answer where a refusal was expected: " + future.get());
        } catch (ExecutionException error) {
            hold(error.getCause().getClass(), expected, "the refusal");
        }
    }

    private void create(int partitions, Map<String, String> config) throws Exception {
        try (Admin admin = Admin.create(common())) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(config))).all().get();
            described(admin, partitions);
        }
    }

    private List<TopicPartition> partitions(int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            all.add(new TopicPartition(topic, number));
        }
        return all;
    }

    private static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        long deadline = System.nanoTime() + ANSWER_BOUND.toNanos();
        while (taken.size() < count) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(taken.size() + " of " + count + " records");
            }
            consumer.poll(Duration.ofSeconds(1)).forEach(taken::add);
        }
        return taken;
    }

    private Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, String> more) {
        Properties properties = common();
        properties.putAll(more);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, String> more) {
        Properties properties = common();
        properties.putAll(more);
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static String shown(byte[] key, byte[] value, long time, Collection<Header> headers) {
        StringBuilder text = new StringBuilder(text(key) + "=" + text(value) + "@" + time);
        headers.forEach(header -> text.append(' ').append(header.key()).append(':').append(text(header.value())));
        return text.toString();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? "(null)" : new String(bytes, StandardCharsets.UTF_8);
    }

    private static void hold(Object actual, Object expected, String what) {
        if (!Objects.equals(actual, expected)) {
            throw new AssertionError(what + ": " + brief(actual) + ", expected " + brief(expected));
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 400 ? text : text.substring(0, 400) + "...";
    }
}
