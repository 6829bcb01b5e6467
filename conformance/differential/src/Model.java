import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.Uuid;

/** What the brokers should hold, by the reference's answers: enough to ask for things that make sense. */
final class Model {
    static final int TIMEOUT_MS = 30_000;

    /** Times of records: fixed, so that a run depends on its seed only. */
    private static final long FIRST_RECORD_MS = 1_700_000_000_000L;

    /** A time that no run and none of its records is old enough for, in settings. */
    static final String LONG_MS = "8640000000000";

    static final class Topic {
        final String name;
        final Uuid id;
        final List<Log> logs = new ArrayList<>();
        boolean stampedByBroker;
        int batchBytesMax = 1_048_588;

        Topic(String name, Uuid id, int partitions) {
            this.name = name;
            this.id = id;
            grow(partitions);
        }

        void grow(int partitions) {
            while (logs.size() < partitions) {
                logs.add(new Log());
            }
        }
    }

    /** One partition. */
    static final class Log {
        long start;
        long end;
        /** What producers sent last here: asked for once more, it is a duplicate. */
        final Map<Producer, Sent> last = new HashMap<>();
        final Map<Producer, Integer> sequence = new HashMap<>();
    }

    record Sent(int sequence, int count, long firstMs) {}

    static final class Producer {
        final long id;
        final short epoch;

        Producer(long id, short epoch) {
            this.id = id;
            this.epoch = epoch;
        }
    }

    final Random random;
    final List<Topic> topics = new ArrayList<>();
    final List<Topic> deleted = new ArrayList<>();
    final List<Producer> producers = new ArrayList<>();
    final List<Group> groups = new ArrayList<>();
    final List<Queue> queues = new ArrayList<>();
    private long nowMs = FIRST_RECORD_MS;
    private int names;

    Model(Random random) {
        this.random = random;
    }

    /** A name that nothing had yet. */
    String name(String word) {
        return word + "-" + names++;
    }

    <T> T any(List<T> of) {
        return of.get(random.nextInt(of.size()));
    }

    /** How long an answer may take; now and then no time at all. */
    int timeoutMs() {
        return chance(4) ? -random.nextInt(2) : TIMEOUT_MS;
    }

    boolean chance(int percent) {
        return random.nextInt(100) < percent;
    }

    /** The time of the next record: mostly later than the one before. */
    long nextMs() {
        nowMs += random.nextInt(50);
        return chance(5) ? nowMs - random.nextInt(2000) : nowMs;
    }

    long nowMs() {
        return nowMs;
    }

    /** A few different topics. */
    List<Topic> some(int most) {
        List<Topic> left = new ArrayList<>(topics);
        List<Topic> chosen = new ArrayList<>();
        int wanted = 1 + random.nextInt(most);
        while (chosen.size() < wanted && !left.isEmpty()) {
            chosen.add(left.remove(random.nextInt(left.size())));
        }
        return chosen;
    }

    /** A few different partitions of a topic. */
    List<Integer> partitions(Topic topic, int most) {
        List<Integer> left = new ArrayList<>();
        for (int index = 0; index < topic.logs.size(); index++) {
            left.add(index);
        }
        List<Integer> chosen = new ArrayList<>();
        int wanted = 1 + random.nextInt(most);
        while (chosen.size() < wanted && !left.isEmpty()) {
            chosen.add(left.remove(random.nextInt(left.size())));
        }
        return chosen;
    }
}
