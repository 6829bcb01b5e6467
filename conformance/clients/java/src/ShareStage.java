import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A topic and a share group on a broker, and members of the group that write down what they got. */
class ShareStage {
    static final Duration BOUND = Duration.ofSeconds(60);
    /** In which nothing comes that should not: heartbeats and polls are many times as frequent. */
    private static final Duration QUIET = Duration.ofSeconds(1);
    private static final int SECOND_MS = 1000;

    final String topic;
    final String word;
    /** Members that are made from now on, settings and offsets are of this one. */
    String group;
    private final String bootstrap;

    ShareStage(String bootstrap, String word) {
        this.bootstrap = bootstrap;
        this.word = word;
        topic = word + "-t";
        group = word + "-group";
    }

    /** A share consumer, by default with explicit acknowledgement, that writes down what it got. */
    final class Member {
        final KafkaShareConsumer<byte[], byte[]> client;
        final List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        final List<Integer> polled = new ArrayList<>();
        private List<ConsumerRecord<byte[], byte[]>> held = List.of();

        Member(String... config) {
            Properties properties = common();
            properties.put("group.id", group);
            properties.put("share.acknowledgement.mode", "explicit");
            properties.putAll(pairs(config));
            client = new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            client.subscribe(List.of(topic));
        }

        private List<ConsumerRecord<byte[], byte[]>> poll(int ms) {
            List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
            client.poll(Duration.ofMillis(ms)).forEach(records::add);
            if (!records.isEmpty()) {
                got.addAll(records);
                polled.add(records.size());
            }
            return records;
        }

        /** One poll, and what is to be said of it, which the broker agrees to. */
        void beat(Function<ConsumerRecord<byte[], byte[]>, AcknowledgeType> verdict) {
            poll(20).forEach(record -> client.acknowledge(record, verdict.apply(record)));
            committed();
        }

        /** The next poll that brings something; it must be so much. Nothing is said of it. */
        List<ConsumerRecord<byte[], byte[]>> hold(int count) {
            long deadline = System.nanoTime() + BOUND.toNanos();
            do {
                that(System.nanoTime() < deadline, "no record came");
                held = poll(100);
            } while (held.isEmpty());
            ShareStage.hold(held.size(), count, "records of one poll");
            return held;
        }

        void acknowledgeHeld() {
            held.forEach(record -> client.acknowledge(record, AcknowledgeType.ACCEPT));
            committed();
        }

        void committed() {
            client.commitSync().forEach((place, error) -> ShareStage.hold(error, Optional.empty(), "acknowledgements of " + place));
        }

        /** What the broker says against what was acknowledged of the one partition. */
        Class<?> refusal() {
            var answers = client.commitSync().values();
            ShareStage.hold(answers.size(), 1, "partitions in the answer");
            return answers.iterator().next().<Class<?>>map(Object::getClass).orElse(null);
        }

        void close() {
            client.close();
        }
    }

    static int number(ConsumerRecord<byte[], byte[]> record) {
        return Integer.parseInt(new String(record.value(), StandardCharsets.UTF_8));
    }

    static int deliveries(ConsumerRecord<byte[], byte[]> record) {
        return record.deliveryCount().orElseThrow();
    }

    /** The delivery counts with which each number must have come, for numbers from `first` on. */
    static Map<Integer, List<Integer>> numbers(int first, int end, IntFunction<List<Integer>> counts) {
        Map<Integer, List<Integer>> all = new TreeMap<>();
        IntStream.range(first, end).forEach(n -> all.put(n, counts.apply(n)));
        return all;
    }

    /** Beats the members until they got what they should, and for a while longer. */
    static void await(Function<ConsumerRecord<byte[], byte[]>, AcknowledgeType> verdict, Map<Integer, List<Integer>> expected,
            Member... members) {
        long deadline = System.nanoTime() + BOUND.toNanos();
        int wanted = expected.values().stream().mapToInt(List::size).sum();
        long quietUntil = 0;
        while (quietUntil == 0 || System.nanoTime() < quietUntil) {
            if (quietUntil == 0 && count(members) >= wanted || System.nanoTime() > deadline) {
                quietUntil = System.nanoTime() + QUIET.toNanos();
                deadline = Long.MAX_VALUE;
            }
            for (Member member : members) {
                member.beat(verdict);
            }
        }
        Map<Integer, List<Integer>> got = new TreeMap<>();
        for (Member member : members) {
            member.got.forEach(record -> got.computeIfAbsent(number(record), n -> new ArrayList<>()).add(deliveries(record)));
        }
        got.values().forEach(counts -> counts.sort(null));
        hold(got, expected, "delivery counts by number");
    }

    private static int count(Member... members) {
        return List.of(members).stream().mapToInt(member -> member.got.size()).sum();
    }

    /** Nothing is left for the group. Where it begins says less: Kafka writes down the beginning of a moment before. */
    void finished() throws Exception {
        eventually(() -> {
            try (Admin admin = Admin.create(common())) {
                var found = admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).all().get().get(group).values();
                that(!found.isEmpty(), "the group has no offsets");
                hold(found.stream().mapToLong(info -> info.lag().orElse(-1L)).sum(), 0L, "lag");
            }
        });
    }

    /** Start and lag of partition 0. */
    List<Object> offsets() throws Exception {
        try (Admin admin = Admin.create(common())) {
            var info = admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).all().get().get(group).get(new TopicPartition(topic, 0));
            return List.of(info.startOffset(), info.lag());
        }
    }

    /** A topic, and a group with these settings. */
    void begin(int partitions, String... settings) throws Exception {
        try (Admin admin = Admin.create(common())) {
            var wanted = new NewTopic(topic, partitions, (short) 1).configs(Map.of("retention.ms", "-1"));
            admin.createTopics(List.of(wanted)).all().get();
            eventually(() -> hold(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), partitions, "partitions"));
        }
        set(settings);
    }

    void set(String... settings) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        Map<String, String> wanted = pairs(settings);
        Collection<AlterConfigOp> changes = wanted.entrySet().stream()
                .map(one -> new AlterConfigOp(new ConfigEntry(one.getKey(), one.getValue()), AlterConfigOp.OpType.SET)).toList();
        try (Admin admin = Admin.create(common())) {
            admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
            eventually(() -> {
                var shown = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                wanted.forEach((name, value) -> hold(shown.get(name).value(), value, name));
            });
        }
    }

    void send(int first, int end) {
        send(first, end, System.currentTimeMillis());
    }

    /** One batch for each partition. */
    void send(int first, int end, long timeMs) {
        Properties properties = common();
        properties.put("linger.ms", SECOND_MS);
        properties.put("batch.size", 1 << 20);
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            int partitions = producer.partitionsFor(topic).size();
            for (int n = first; n < end; n++) {
                byte[] value = String.valueOf(n).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, n % partitions, timeMs, null, value));
            }
            producer.flush();
        }
    }

    interface Body {
        void run() throws Exception;
    }

    /** The class of what an answer ends with. */
    static Class<?> refused(Body body) throws Exception {
        try {
            body.run();
        } catch (ExecutionException error) {
            return error.getCause().getClass();
        }
        return null;
    }

    static void eventually(Body body) throws Exception {
        long deadline = System.nanoTime() + BOUND.toNanos();
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

    private static Map<String, String> pairs(String... words) {
        Map<String, String> all = new HashMap<>();
        for (int n = 0; n < words.length; n += 2) {
            all.put(words[n], words[n + 1]);
        }
        return all;
    }

    Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void hold(Object actual, Object expected, String what) {
        if (!Objects.equals(actual, expected)) {
            throw new AssertionError(what + ": " + brief(actual) + ", expected " + brief(expected));
        }
    }

    private static String brief(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 400 ? text : text.substring(0, 400) + "...";
    }
}
