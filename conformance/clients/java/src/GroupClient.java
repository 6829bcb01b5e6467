import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's Java consumer in groups by the consumer protocol: `GroupClient SCENARIO BOOTSTRAP WORD`. Exits with 1 when something does not hold. */
public final class GroupClient {
    private static final Duration BOUND = Duration.ofSeconds(90);
    private static final Map<String, String> CONSUMER = Map.of("group.protocol", "consumer");
    private static final Map<String, String> CLASSIC = Map.of("group.protocol", "classic", "heartbeat.interval.ms", "200");

    private final String bootstrap;
    private final String word;
    private final String group;
    private int sent;

    private GroupClient(String bootstrap, String word) {
        this.bootstrap = bootstrap;
        this.word = word;
        this.group = word + "-group";
    }

    public static void main(String[] arguments) throws Exception {
        GroupClient client = new GroupClient(arguments[1], arguments[2]);
        switch (arguments[0]) {
            case "share" -> client.share();
            case "pattern" -> client.pattern();
            case "statics" -> client.statics();
            case "change" -> client.change();
            case "unsupported" -> client.unsupported();
            default -> throw new IllegalArgumentException("no scenario " + arguments[0]);
        }
        System.out.println(arguments[0] + ": everything held");
    }

    /** Members join one by one and leave: every partition has one of them, every record comes once, and commits go on where they were. */
    private void share() throws Exception {
        create("a", 3);
        create("b", 3);
        Set<TopicPartition> places = places(Map.of("a", 3, "b", 3));
        List<Member> members = new ArrayList<>();
        List<Member> gone = new ArrayList<>();
        for (int count = 1; count <= 3; count++) {
            members.add(new Member(CONSUMER, topics("a", "b")));
            await(members, () -> divided(members, places), count + " members that share all partitions");
            everyRecordOnce(members, gone, places);
        }
        for (Member member : members) {
            hold(member.owned.size(), 2, "partitions of each of three members");
        }
        hold(described().type(), GroupType.CONSUMER, "type");
        hold(described().members().size(), 3, "members");
        gone.add(members.remove(0));
        gone.get(0).close();
        await(members, () -> divided(members, places), "two members that took over");
        everyRecordOnce(members, gone, places);
        while (!members.isEmpty()) {
            gone.add(members.remove(0));
            gone.get(gone.size() - 1).close();
        }
        // The group outlives its members, and so do its offsets.
        eventually(() -> hold(described().groupState(), GroupState.EMPTY, "state"));
        members.add(new Member(CONSUMER, topics("a", "b")));
        await(members, () -> divided(members, places), "one that came later");
        everyRecordOnce(members, gone, places);
        members.get(0).close();
    }

    /** A pattern that the broker looks up: topics that come and grow are found, others are not; what is no pattern is refused. */
    private void pattern() throws Exception {
        create("one", 1);
        create("other", 1);
        String like = Pattern.quote(word) + "-(one|two)";
        List<Member> members = List.of(new Member(CONSUMER, new SubscriptionPattern(like)));
        Member member = members.get(0);
        await(members, () -> member.owned.equals(places(Map.of("one", 1))), "the topic that is there");
        create("two", 2);
        await(members, () -> member.owned.equals(places(Map.of("one", 1, "two", 2))), "the topic that came later");
        try (Admin admin = Admin.create(common())) {
            admin.createPartitions(Map.of(topic("one"), NewPartitions.increaseTo(3))).all().get();
        }
        await(members, () -> member.owned.equals(places(Map.of("one", 3, "two", 2))), "the partitions that came later");
        hold(described().members().iterator().next().targetAssignment().map(target -> target.topicPartitions().size()),
                Optional.of(5), "partitions of the target");
        member.client.unsubscribe();
        member.client.subscribe(topics("other"), member);
        await(members, () -> member.owned.equals(places(Map.of("other", 1))), "a topic by its name instead");
        member.close();
        for (String pattern : List.of("(", "a{2,1}", "[z-a]")) {
            Member wrong = new Member(CONSUMER, new SubscriptionPattern(pattern));
            Exception refused = fails(wrong);
            hold(refused.getClass(), InvalidRegularExpression.class, "the refusal of " + pattern);
            wrong.close();
        }
    }

    /** Static members keep their partitions while they are away, and nobody else may be them. */
    private void statics() throws Exception {
        create("t", 4);
        Set<TopicPartition> places = places(Map.of("t", 4));
        Member stays = new Member(named("stays"), topics("t"));
        Member goes = new Member(named("goes"), topics("t"));
        await(List.of(stays, goes), () -> divided(List.of(stays, goes), places), "two owners");
        Set<TopicPartition> had = Set.copyOf(goes.owned);
        List<String> told = List.copyOf(stays.told);
        Member rival = new Member(named("goes"), topics("t"));
        Exception refused = fails(rival, List.of(stays, goes));
        hold(refused.getClass(), UnreleasedInstanceIdException.class, "the refusal of a second one");
        rival.close();
        goes.close();
        beat(List.of(stays), Duration.ofSeconds(1));
        Member back = new Member(named("goes"), topics("t"));
        await(List.of(stays, back), () -> back.owned.equals(had), "the partitions of the one that came back");
        beat(List.of(stays, back), Duration.ofSeconds(1));
        hold(stays.told, told, "what the other member was told");
        back.close();
        stays.close();
    }

    /** A group changes from the classic to the consumer protocol and back while it has members of both. */
    private void change() throws Exception {
        create("t", 6);
        Set<TopicPartition> places = places(Map.of("t", 6));
        List<Member> members = new ArrayList<>();
        List<Member> gone = new ArrayList<>();
        members.add(new Member(CLASSIC, topics("t")));
        members.add(new Member(CLASSIC, topics("t")));
        changed(members, gone, places, GroupType.CLASSIC, 0);
        members.add(new Member(CONSUMER, topics("t")));
        changed(members, gone, places, GroupType.CONSUMER, 2);
        leave(members, gone);
        changed(members, gone, places, GroupType.CONSUMER, 1);
        leave(members, gone);
        changed(members, gone, places, GroupType.CONSUMER, 0);
        members.add(new Member(CLASSIC, topics("t")));
        changed(members, gone, places, GroupType.CONSUMER, 1);
        leave(members, gone);
        changed(members, gone, places, GroupType.CLASSIC, 0);
        leave(members, gone);
    }

    private void leave(List<Member> members, List<Member> gone) {
        gone.add(members.remove(0));
        gone.get(gone.size() - 1).close();
    }

    /** All partitions are shared, all records come once, and the group is of its type with so many members to upgrade. */
    private void changed(List<Member> members, List<Member> gone, Set<TopicPartition> places, GroupType type, int old)
            throws Exception {
        await(members, () -> divided(members, places), members.size() + " members of a " + type + " group");
        everyRecordOnce(members, gone, places);
        ConsumerGroupDescription found = described();
        hold(found.type(), type, "type");
        hold(found.members().size(), members.size(), "members");
        if (type == GroupType.CONSUMER) {
            long upgraded = found.members().stream().map(MemberDescription::upgraded).filter(Optional.of(true)::equals).count();
            hold(upgraded, (long) members.size() - old, "upgraded members");
        }
    }

    /** Where the consumer protocol is off its members are told so, and those by the classic one work. */
    private void unsupported() throws Exception {
        create("t", 2);
        Member member = new Member(CONSUMER, topics("t"));
        hold(fails(member).getClass(), UnsupportedVersionException.class, "the refusal");
        member.close();
        List<Member> classic = List.of(new Member(CLASSIC, topics("t")));
        await(classic, () -> divided(classic, places(Map.of("t", 2))), "a classic member");
        classic.get(0).close();
    }

    /** A consumer that writes down what it has, what it was told, and what it got. */
    private final class Member implements ConsumerRebalanceListener {
        private final KafkaConsumer<byte[], byte[]> client;
        private final Set<TopicPartition> owned = new HashSet<>();
        private final List<String> told = new ArrayList<>();
        private final List<Integer> got = new ArrayList<>();

        private Member(Map<String, String> config) {
            Properties properties = common();
            properties.put("group.id", group);
            properties.put("enable.auto.commit", "false");
            properties.put("auto.offset.reset", "earliest");
            properties.put("metadata.max.age.ms", "1000");
            properties.putAll(config);
            client = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        private Member(Map<String, String> config, List<String> topics) {
            this(config);
            client.subscribe(topics, this);
        }

        private Member(Map<String, String> config, SubscriptionPattern pattern) {
            this(config);
            client.subscribe(pattern, this);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            told.add("assigned " + partitions);
            owned.addAll(partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            told.add("revoked " + partitions);
            owned.removeAll(partitions);
        }

        private void beat() {
            client.poll(Duration.ofMillis(20)).forEach(
                    record -> got.add(Integer.valueOf(new String(record.value(), StandardCharsets.UTF_8))));
        }

        private void close() {
            client.close();
        }
    }

    private static void beat(List<Member> members, Duration time) {
        long end = System.nanoTime() + time.toNanos();
        while (System.nanoTime() < end) {
            members.forEach(Member::beat);
        }
    }

    /** Beats the members until something holds. */
    private static void await(List<Member> members, BooleanSupplier until, String what) {
        long deadline = System.nanoTime() + BOUND.toNanos();
        while (!until.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("never: " + what + "; owned: "
                        + members.stream().map(member -> member.owned).toList());
            }
            members.forEach(Member::beat);
        }
    }

    /** What a member ends with, while others go on. */
    private static Exception fails(Member member, List<Member> others) {
        long deadline = System.nanoTime() + BOUND.toNanos();
        while (System.nanoTime() < deadline) {
            others.forEach(Member::beat);
            try {
                member.beat();
            } catch (RuntimeException error) {
                return error;
            }
        }
        throw new AssertionError("no error where one was expected; owned: " + member.owned);
    }

    private static Exception fails(Member member) {
        return fails(member, List.of());
    }

    private static boolean divided(List<Member> members, Set<TopicPartition> places) {
        List<TopicPartition> held = members.stream().flatMap(member -> member.owned.stream()).toList();
        return held.size() == places.size() && places.equals(Set.copyOf(held))
                && members.stream().noneMatch(member -> member.owned.isEmpty());
    }

    /** Sends a number to each partition ten times over; members get each number once, and commit. */
    private void everyRecordOnce(List<Member> members, List<Member> gone, Set<TopicPartition> places) throws Exception {
        Properties properties = common();
        try (var producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int turn = 0; turn < 10; turn++) {
                for (TopicPartition place : places) {
                    byte[] value = String.valueOf(sent++).getBytes(StandardCharsets.UTF_8);
                    producer.send(new ProducerRecord<>(place.topic(), place.partition(), null, value));
                }
            }
            producer.flush();
        }
        List<Member> all = new ArrayList<>(members);
        all.addAll(gone);
        await(members, () -> all.stream().mapToInt(member -> member.got.size()).sum() >= sent, sent + " records");
        beat(members, Duration.ofMillis(200));
        List<Integer> got = all.stream().flatMap(member -> member.got.stream()).sorted().toList();
        hold(got, IntStream.range(0, sent).boxed().toList(), "records");
        members.forEach(member -> member.client.commitSync());
        Map<TopicPartition, OffsetAndMetadata> committed = members.get(0).client.committed(places);
        long sum = committed.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        hold(sum, (long) sent, "committed offsets together");
    }

    private ConsumerGroupDescription described() throws Exception {
        try (Admin admin = Admin.create(common())) {
            return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof GroupIdNotFoundException) {
                throw new AssertionError("the group is not there");
            }
            throw error;
        }
    }

    private interface Body {
        void run() throws Exception;
    }

    private static void eventually(Body body) throws Exception {
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

    private String topic(String name) {
        return word + "-" + name;
    }

    private List<String> topics(String... names) {
        return List.of(names).stream().map(this::topic).toList();
    }

    private Set<TopicPartition> places(Map<String, Integer> counts) {
        return new TreeMap<>(counts).entrySet().stream()
                .flatMap(entry -> IntStream.range(0, entry.getValue())
                        .mapToObj(number -> new TopicPartition(topic(entry.getKey()), number)))
                .collect(Collectors.toSet());
    }

    private void create(String name, int partitions) throws Exception {
        try (Admin admin = Admin.create(common())) {
            admin.createTopics(List.of(new NewTopic(topic(name), partitions, (short) 1))).all().get();
            eventually(() -> hold(admin.describeTopics(List.of(topic(name))).allTopicNames().get().get(topic(name)).partitions().size(),
                    partitions, "partitions"));
        }
    }

    private Map<String, String> named(String instance) {
        Map<String, String> config = new HashMap<>(CONSUMER);
        config.put("group.instance.id", instance);
        return config;
    }

    private Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
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
