import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.FetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.FetchResponseData;

/** Consumers without a group: single fetches and fetch sessions. */
final class FetchScenes {
    private static final String CONNECTION = "fetch";
    private static final int EPOCH_SINCE = 9;
    private static final int LAST_EPOCH_SINCE = 12;
    private static final int TOPIC_ID_SINCE = 13;
    private static final int SESSION_SINCE = 7;
    private static final int SESSIONS_MAX = 8;
    private static final int PARTITION_BYTES = 1 << 20;
    private static final int NO_SESSION_EPOCH = -1;

    private final Runner runner;
    private final Model model;
    private final List<Session> sessions = new ArrayList<>();

    FetchScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    /** A place in a log that is asked for. */
    private record Wish(Model.Topic topic, int partition, long offset, int bytesMax, int epochOff, int lastEpochOff) {}

    private static final class Session {
        int id;
        int epoch;
        final boolean byId;
        /** A client does not change it: Kafka fails where an older version cannot tell what the session remembers. */
        final short version;
        final Map<Model.Topic, List<Integer>> wanted = new LinkedHashMap<>();

        private Session(boolean byId, short version) {
            this.byId = byId;
            this.version = version;
        }
    }

    /**
     * One fetch. Limits that bind are asked of single partitions only: how several share a limit depends on Kafka's habit to
     * cut a batch in the middle.
     */
    void once() throws IOException {
        short version = runner.version(ApiMessageType.FETCH);
        boolean alone = model.chance(40);
        List<Wish> wishes = alone ? new ArrayList<>() : wishes(version);
        if (alone) {
            Model.Topic topic = model.any(model.topics);
            wishes.add(wish(version, topic, model.random.nextInt(topic.logs.size()), model.random.nextInt(900)));
        }
        runner.ask(step(version, 0, NO_SESSION_EPOCH, wishes, Map.of(), limits(alone)));
    }

    private record Limits(int waitMs, int bytesMin, int bytesMax, byte isolation) {}

    private Limits limits(boolean binding) {
        int bytesMax = binding && model.chance(50) ? model.random.nextInt(2000) : 50 << 20;
        return new Limits(model.random.nextInt(3), model.random.nextInt(3), bytesMax, (byte) model.random.nextInt(2));
    }

    private List<Wish> wishes(short version) {
        List<Wish> wishes = new ArrayList<>();
        for (Model.Topic topic : model.some(3)) {
            for (int partition : model.partitions(topic, 3)) {
                wishes.add(wish(version, topic, partition, PARTITION_BYTES));
            }
        }
        if (model.chance(5)) {
            Model.Topic topic = model.any(model.topics);
            wishes.add(new Wish(topic, topic.logs.size() + 1, 0, PARTITION_BYTES, 0, 0));
        }
        if (model.chance(5)) {
            Model.Topic gone = model.deleted.isEmpty() || model.chance(30)
                    ? new Model.Topic(model.name("unknown"), new Uuid(9, model.random.nextLong()), 1) : model.any(model.deleted);
            wishes.add(new Wish(gone, 0, 0, PARTITION_BYTES, 0, 0));
        }
        return wishes;
    }

    private Wish wish(short version, Model.Topic topic, int partition, int bytesMax) {
        Model.Log log = topic.logs.get(partition);
        int span = (int) (log.end - log.start);
        long offset = log.start + model.random.nextInt(span + 1);
        if (model.chance(4)) {
            offset = model.any(List.of(log.start - 1, log.end + 1, log.end + 100, -1L));
        } else if (model.chance(50)) {
            // Near the end: whole logs would make a long run slow.
            offset = Math.max(log.start, log.end - model.random.nextInt(20));
        }
        int epochOff = version >= EPOCH_SINCE && model.chance(3) ? 1 : 0;
        int lastEpochOff = version >= LAST_EPOCH_SINCE && model.chance(3) ? 1 : 0;
        return new Wish(topic, partition, offset, bytesMax, epochOff, lastEpochOff);
    }

    private Step step(short version, int session, int epoch, List<Wish> wishes, Map<Model.Topic, List<Integer>> forgotten,
            Limits limits) {
        boolean namesEpoch = version >= EPOCH_SINCE && model.chance(40);
        boolean namesLast = version >= LAST_EPOCH_SINCE && model.chance(40);
        return new Step(CONNECTION, ApiMessageType.FETCH, version, names -> {
            var request = new FetchRequestData().setMaxWaitMs(limits.waitMs()).setMinBytes(limits.bytesMin())
                    .setMaxBytes(limits.bytesMax()).setIsolationLevel(limits.isolation());
            if (version >= SESSION_SINCE) {
                request.setSessionId(names.session(session)).setSessionEpoch(epoch);
            }
            Map<Model.Topic, FetchTopic> byTopic = new LinkedHashMap<>();
            for (Wish wish : wishes) {
                var partition = new FetchPartition().setPartition(wish.partition()).setFetchOffset(wish.offset())
                        .setPartitionMaxBytes(wish.bytesMax());
                if (namesEpoch) {
                    partition.setCurrentLeaderEpoch(names.leaderEpoch(0) + wish.epochOff());
                }
                if (namesLast) {
                    partition.setLastFetchedEpoch(names.leaderEpoch(0) + wish.lastEpochOff());
                }
                byTopic.computeIfAbsent(wish.topic(), topic -> topic(version, topic, names)).partitions().add(partition);
            }
            request.setTopics(new ArrayList<>(byTopic.values()));
            if (version >= SESSION_SINCE) {
                forgotten.forEach((topic, partitions) -> request.forgottenTopicsData().add(forgotten(version, topic, partitions, names)));
            }
            return request;
        });
    }

    private static FetchTopic topic(short version, Model.Topic topic, Names names) {
        return version < TOPIC_ID_SINCE ? new FetchTopic().setTopic(topic.name) : new FetchTopic().setTopicId(names.topic(topic.id));
    }

    private static ForgottenTopic forgotten(short version, Model.Topic topic, List<Integer> partitions, Names names) {
        var gone = new ForgottenTopic().setPartitions(partitions);
        return version < TOPIC_ID_SINCE ? gone.setTopic(topic.name) : gone.setTopicId(names.topic(topic.id));
    }

    /** A step in the life of a session: begins, goes on, changes, is mistaken about its epoch, ends. */
    void session() throws IOException {
        sessions.removeIf(session -> session.wanted.keySet().stream().anyMatch(model.deleted::contains) && model.chance(20));
        if (sessions.isEmpty() || sessions.size() < SESSIONS_MAX && model.chance(10)) {
            begin();
            return;
        }
        Session session = model.any(sessions);
        short version = session.version;
        int fate = model.random.nextInt(30);
        if (fate == 0) {
            runner.ask(step(version, session.id, NO_SESSION_EPOCH, wishes(version), Map.of(), limits(false)));
            sessions.remove(session);
        } else if (fate == 1) {
            runner.ask(step(version, session.id, session.epoch + 2, List.of(), Map.of(), limits(false)));
        } else if (fate == 2) {
            runner.ask(step(version, session.id + 1, session.epoch, List.of(), Map.of(), limits(false)));
        } else if (fate == 3) {
            runner.ask(step(sessionVersion(!session.byId), session.id, session.epoch, List.of(), Map.of(), limits(false)));
        } else {
            goOn(session, version);
        }
    }

    private short sessionVersion(boolean byId) {
        return byId ? runner.version(ApiMessageType.FETCH, TOPIC_ID_SINCE)
                : runner.version(ApiMessageType.FETCH, SESSION_SINCE, TOPIC_ID_SINCE - 1);
    }

    private void begin() throws IOException {
        boolean byId = model.chance(50);
        short version = sessionVersion(byId);
        var session = new Session(byId, version);
        List<Wish> wishes = wishes(version);
        var answer = (FetchResponseData) runner.ask(step(version, 0, 0, wishes, Map.of(), limits(false)));
        if (answer.errorCode() == 0 && answer.sessionId() != 0) {
            session.id = answer.sessionId();
            session.epoch = 1;
            wishes.forEach(wish -> session.wanted.computeIfAbsent(wish.topic(), any -> new ArrayList<>()).add(wish.partition()));
            sessions.add(session);
        }
    }

    private void goOn(Session session, short version) throws IOException {
        List<Wish> wishes = new ArrayList<>();
        Map<Model.Topic, List<Integer>> forgotten = new LinkedHashMap<>();
        if (model.chance(40)) {
            wishes.addAll(wishes(version));
        }
        List<Model.Topic> held = new ArrayList<>(session.wanted.keySet());
        if (!held.isEmpty() && model.chance(20)) {
            Model.Topic topic = model.any(held);
            if (wishes.stream().noneMatch(wish -> wish.topic() == topic)) {
                forgotten.put(topic, List.of(model.any(session.wanted.get(topic))));
            }
        }
        var answer = (FetchResponseData) runner.ask(step(version, session.id, session.epoch, wishes, forgotten, limits(false)));
        if (answer.errorCode() != 0) {
            sessions.remove(session);
            return;
        }
        session.epoch++;
        forgotten.forEach((topic, partitions) -> {
            session.wanted.get(topic).removeAll(partitions);
            session.wanted.values().removeIf(List::isEmpty);
        });
        for (Wish wish : wishes) {
            var partitions = session.wanted.computeIfAbsent(wish.topic(), any -> new ArrayList<>());
            if (!partitions.contains(wish.partition())) {
                partitions.add(wish.partition());
            }
        }
    }
}
