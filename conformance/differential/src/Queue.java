import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A share group and its members, between two scenes. */
final class Queue {
    record Place(Model.Topic topic, int partition) {
        Model.Log log() {
            return topic.logs.get(partition);
        }
    }

    /**
     * What all members of a group ask for. Kafka puts batches of the log together as they are first handed out, and hands that
     * out as one thing later; so a group keeps to requests of which the answers do not depend on it.
     */
    enum Habit {
        /** All that there is. */
        ALL,
        /** Whole batches of the log, which are not put together. */
        BATCHES,
        /** No record above the limit. */
        RECORDS
    }

    /** Records that a member was handed together. */
    record Run(Place place, long first, long last, int deliveries) {}

    /** A member. Its share session is one with its connection. */
    static final class Taker {
        final String connection;
        final String id;
        /** It asks for one partition only, so that limits say which records come: how several share one is Kafka's habit. */
        final boolean narrow;
        final Set<Place> inSession = new LinkedHashSet<>();
        final List<Run> held = new ArrayList<>();
        int epoch;
        int sessionEpoch;

        Taker(String connection, String id, boolean narrow) {
            this.connection = connection;
            this.id = id;
            this.narrow = narrow;
        }

        /** A session's epochs go on from 1 behind the greatest. */
        void sessionWentOn() {
            sessionEpoch = sessionEpoch == Integer.MAX_VALUE ? 1 : sessionEpoch + 1;
        }
    }

    final String name;
    final List<Model.Topic> topics;
    final Habit habit;
    final List<Taker> takers = new ArrayList<>();
    /** What was given back and may be handed out again. */
    final Map<Place, Long> givenBack = new LinkedHashMap<>();
    /** What was handed out first begins here. */
    final Map<Place, Long> next = new LinkedHashMap<>();

    Queue(String name, List<Model.Topic> topics, Habit habit) {
        this.name = name;
        this.topics = topics;
        this.habit = habit;
    }

    List<Place> places() {
        List<Place> all = new ArrayList<>();
        topics.forEach(topic -> {
            for (int partition = 0; partition < topic.logs.size(); partition++) {
                all.add(new Place(topic, partition));
            }
        });
        return all;
    }

    boolean hasMore(Place place) {
        return next.getOrDefault(place, 0L) < place.log().end || givenBack.getOrDefault(place, 0L) > 0;
    }

    void handedOut(Taker taker, Run run) {
        taker.held.add(run);
        long fresh = Math.max(0, run.last() + 1 - Math.max(run.first(), next.getOrDefault(run.place(), 0L)));
        next.merge(run.place(), run.last() + 1, Math::max);
        long again = run.last() - run.first() + 1 - fresh;
        givenBack.merge(run.place(), -again, Long::sum);
    }

    void givenBack(Run run) {
        givenBack.merge(run.place(), run.last() - run.first() + 1, Long::sum);
    }
}
