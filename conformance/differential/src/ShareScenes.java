import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ShareAcknowledgeResponseData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.message.ShareGroupHeartbeatResponseData;

/** Members of share groups come, take records, say what becomes of them, are mistaken, and go. No lock ends during a run. */
final class ShareScenes {
    private static final int QUEUES_MAX = 3;
    private static final int TAKERS_MAX = 3;
    private static final int JOINS = 0;
    private static final int LEAVES = -1;
    private static final int SESSION_ENDS = -1;
    /** When there is something: Kafka hands out nothing before it has read what it kept of a partition. */
    private static final int WAIT_MS = 5000;
    /** What a session held when it ended is free some time after the answer, and nothing shows when. */
    private static final long GIVEN_BACK_MS = 300;

    private final Runner runner;
    private final Model model;
    private final ShareTopics topics;
    private final ShareRequests requests;

    ShareScenes(Runner runner, Model model, ShareTopics topics) {
        this.runner = runner;
        this.model = model;
        this.topics = topics;
        requests = new ShareRequests(runner);
    }

    private Queue queue() throws IOException {
        if (model.queues.isEmpty() || model.queues.size() < QUEUES_MAX && model.chance(10)) {
            Queue queue = new Queue(model.name("queue"), topics.some(), model.any(List.of(Queue.Habit.values())));
            topics.settings(queue.name);
            model.queues.add(queue);
        }
        return model.any(model.queues);
    }

    void send() throws IOException {
        topics.send();
    }

    /** Somebody comes: it hears at once or some heartbeats later what it reads, so it asks as if it had just come until it does. */
    void join() throws IOException {
        join(queue());
    }

    private void join(Queue queue) throws IOException {
        if (queue.takers.size() >= TAKERS_MAX) {
            leave(queue);
            return;
        }
        Uuid id = new Uuid(model.random.nextLong(), model.random.nextLong());
        var taker = new Queue.Taker(model.name("taker"), id.toString(), model.chance(50));
        queue.takers.add(taker);
        List<String> names = queue.topics.stream().map(topic -> topic.name).toList();
        int partitions = queue.places().size();
        for (Queue.Taker one : queue.takers) {
            Step heartbeat = requests.heartbeat(queue, one, JOINS, names);
            // With as many members as partitions or fewer, each reads all; it depends on who came when otherwise.
            runner.settle("a member of " + queue.name + " reads something", heartbeat, answer -> {
                var assignment = ((ShareGroupHeartbeatResponseData) answer).assignment();
                return assignment != null && assignment.topicPartitions().stream().mapToInt(part -> part.partitions().size()).sum() > 0
                        && (queue.takers.size() > 1 || assignment.topicPartitions().stream().mapToInt(part -> part.partitions().size()).sum() == partitions);
            });
        }
        for (Queue.Taker one : queue.takers) {
            var answer = (ShareGroupHeartbeatResponseData) runner.ask(requests.heartbeat(queue, one, JOINS, names));
            one.epoch = answer.memberEpoch();
        }
    }

    void leave() throws IOException {
        leave(queue());
    }

    /** The session first: what the member holds is given back before it goes. */
    private void leave(Queue queue) throws IOException {
        // Of a group that nobody is in any more Kafka keeps what it wrote down, which is no batches of the log.
        if (queue.takers.size() <= (queue.habit == Queue.Habit.BATCHES ? 1 : 0)) {
            return;
        }
        Queue.Taker taker = model.any(queue.takers);
        end(queue, taker);
        runner.ask(requests.heartbeat(queue, taker, LEAVES, null));
        queue.takers.remove(taker);
    }

    private void end(Queue queue, Queue.Taker taker) throws IOException {
        if (taker.sessionEpoch == 0) {
            return;
        }
        boolean silent = model.chance(10);
        if (!silent && !taker.held.isEmpty()) {
            acknowledge(queue, taker, releases(taker));
        }
        List<ShareRequests.Verdict> verdicts = model.chance(50) ? verdicts(taker, false, true) : List.of();
        if (model.chance(50)) {
            var answer = (ShareFetchResponseData) runner.ask(requests.fetch(queue, taker, SESSION_ENDS, List.of(), List.of(), verdicts,
                    ShareRequests.Limits.NONE));
            answer.responses().forEach(topic -> topic.partitions().forEach(part ->
                    said(queue, taker, verdicts, topic.topicId(), part.partitionIndex(), part.acknowledgeErrorCode())));
        } else {
            var answer = (ShareAcknowledgeResponseData) runner.ask(requests.acknowledge(queue, taker, SESSION_ENDS, verdicts));
            answer.responses().forEach(topic -> topic.partitions().forEach(part ->
                    said(queue, taker, verdicts, topic.topicId(), part.partitionIndex(), part.errorCode())));
        }
        if (!taker.held.isEmpty()) {
            Runner.pause(GIVEN_BACK_MS);
        }
        taker.held.stream().filter(run -> run.deliveries() < ShareTopics.DELIVERIES_MAX).forEach(queue::givenBack);
        taker.held.clear();
        taker.inSession.clear();
        taker.sessionEpoch = 0;
    }

    void endSession() throws IOException {
        Queue queue = queue();
        if (!queue.takers.isEmpty()) {
            end(queue, model.any(queue.takers));
        }
    }

    void heartbeats() throws IOException {
        Queue queue = queue();
        for (Queue.Taker taker : queue.takers) {
            runner.ask(requests.heartbeat(queue, taker, taker.epoch, null));
        }
    }

    /** A fetch, often with what is to be said of records that came before. */
    void fetch() throws IOException {
        Queue queue = queue();
        if (queue.takers.isEmpty()) {
            join(queue);
        }
        Queue.Taker taker = model.any(queue.takers);
        if (taker.sessionEpoch == 0) {
            open(queue, taker);
            return;
        }
        fetch(queue, taker, List.of(), model.chance(50) ? List.of() : verdicts(taker, model.chance(10), false));
    }

    /**
     * Opens a session, one partition after the other: a fetch waits for the first that has something, and one of which the
     * broker still reads what it kept has nothing. What was there of the others came before.
     */
    private void open(Queue queue, Queue.Taker taker) throws IOException {
        List<Queue.Place> places = queue.places();
        List<Queue.Place> wanted = taker.narrow ? List.of(model.any(places)) : places.stream().filter(place -> model.chance(60)).toList();
        for (Queue.Place place : wanted) {
            fetch(queue, taker, List.of(place), List.of());
        }
    }

    private void fetch(Queue queue, Queue.Taker taker, List<Queue.Place> added, List<ShareRequests.Verdict> verdicts) throws IOException {
        boolean renews = verdicts.stream().anyMatch(ShareRequests.Verdict::renews);
        List<Queue.Place> asked = new ArrayList<>(taker.inSession);
        asked.addAll(added);
        boolean more = !renews && asked.stream().anyMatch(queue::hasMore);
        Step step = requests.fetch(queue, taker, taker.sessionEpoch, added, List.of(), verdicts, limits(queue.habit, taker).waiting(more ? WAIT_MS : 0));
        var answer = (ShareFetchResponseData) runner.ask(step);
        if (answer == null || answer.errorCode() != 0) {
            return;
        }
        taker.sessionWentOn();
        taker.inSession.addAll(added);
        for (var topic : answer.responses()) {
            for (var part : topic.partitions()) {
                said(queue, taker, verdicts, topic.topicId(), part.partitionIndex(), part.acknowledgeErrorCode());
                Queue.Place place = place(queue, topic.topicId(), part.partitionIndex());
                for (var run : part.acquiredRecords()) {
                    queue.handedOut(taker, new Queue.Run(place, run.firstOffset(), run.lastOffset(), run.deliveryCount()));
                }
            }
        }
    }

    private ShareRequests.Limits limits(Queue.Habit habit, Queue.Taker taker) {
        int records = taker.narrow ? model.any(List.of(1, 3, 10, 500)) : ShareRequests.Limits.ALL;
        int batch = model.any(List.of(1, 5, 500));
        return switch (habit) {
            case ALL -> new ShareRequests.Limits(ShareRequests.Limits.ALL, batch, false, 0);
            case BATCHES -> new ShareRequests.Limits(records, 1, false, 0);
            case RECORDS -> new ShareRequests.Limits(records, batch, true, 0);
        };
    }

    void acknowledge() throws IOException {
        Queue queue = queue();
        for (Queue.Taker taker : List.copyOf(queue.takers)) {
            if (taker.sessionEpoch == 0 || taker.held.isEmpty()) {
                continue;
            }
            acknowledge(queue, taker, verdicts(taker, model.chance(10), true));
        }
    }

    private void acknowledge(Queue queue, Queue.Taker taker, List<ShareRequests.Verdict> verdicts) throws IOException {
        var answer = (ShareAcknowledgeResponseData) runner.ask(requests.acknowledge(queue, taker, taker.sessionEpoch, verdicts));
        if (answer == null || answer.errorCode() != 0) {
            return;
        }
        taker.sessionWentOn();
        answer.responses().forEach(topic -> topic.partitions().forEach(part ->
                said(queue, taker, verdicts, topic.topicId(), part.partitionIndex(), part.errorCode())));
    }

    private static List<ShareRequests.Verdict> releases(Queue.Taker taker) {
        return held(taker).stream()
                .map(run -> new ShareRequests.Verdict(run.place(), run.first(), run.last(), List.of(ShareRequests.RELEASE))).toList();
    }

    /** What the member holds, ascending in each partition. */
    private static List<Queue.Run> held(Queue.Taker taker) {
        List<Queue.Run> held = new ArrayList<>(taker.held);
        held.sort(Comparator.comparing((Queue.Run run) -> run.place().topic().name).thenComparing(run -> run.place().partition())
                .thenComparing(Queue.Run::first));
        return held;
    }

    /**
     * Of some runs that the member holds: all of the run, or its beginning; ascending in each partition. What a request that
     * fetches gives back, it may get with its answer or not.
     */
    private List<ShareRequests.Verdict> verdicts(Queue.Taker taker, boolean renews, boolean givesBack) {
        List<ShareRequests.Verdict> all = new ArrayList<>();
        for (Queue.Run run : held(taker)) {
            if (model.chance(25)) {
                continue;
            }
            long last = model.chance(60) ? run.last() : run.first() + model.random.nextInt((int) (run.last() - run.first() + 1));
            List<Byte> types = new ArrayList<>();
            boolean releases = givesBack || run.deliveries() == ShareTopics.DELIVERIES_MAX;
            List<Byte> any = List.of(ShareRequests.ACCEPT, ShareRequests.ACCEPT, ShareRequests.REJECT, releases ? ShareRequests.RELEASE : ShareRequests.ACCEPT);
            int count = model.chance(70) ? 1 : (int) (last - run.first() + 1);
            for (int n = 0; n < count; n++) {
                types.add(renews && model.chance(50) ? ShareRequests.RENEW : model.any(any));
            }
            all.add(new ShareRequests.Verdict(run.place(), run.first(), last, types));
        }
        return all;
    }

    /** Books what became of the records of one partition. */
    private void said(Queue queue, Queue.Taker taker, List<ShareRequests.Verdict> verdicts, Uuid topic, int partition, short error) {
        if (error != 0) {
            return;
        }
        Queue.Place place = place(queue, topic, partition);
        for (ShareRequests.Verdict verdict : verdicts) {
            if (!verdict.place().equals(place)) {
                continue;
            }
            Queue.Run run = taker.held.stream().filter(one -> one.place().equals(place) && one.first() == verdict.first()).findFirst().orElseThrow();
            taker.held.remove(run);
            if (verdict.last() < run.last()) {
                taker.held.add(new Queue.Run(place, verdict.last() + 1, run.last(), run.deliveries()));
            }
            for (long offset = verdict.first(); offset <= verdict.last(); offset++) {
                byte type = verdict.types().size() == 1 ? verdict.types().get(0) : verdict.types().get((int) (offset - verdict.first()));
                Queue.Run one = new Queue.Run(place, offset, offset, run.deliveries());
                if (type == ShareRequests.RENEW) {
                    taker.held.add(one);
                } else if (type == ShareRequests.RELEASE && run.deliveries() < ShareTopics.DELIVERIES_MAX) {
                    queue.givenBack(one);
                }
            }
        }
    }

    private static Queue.Place place(Queue queue, Uuid topic, int partition) {
        return queue.places().stream().filter(one -> one.topic().id.equals(topic) && one.partition() == partition).findFirst().orElseThrow();
    }

    /** What a broker refuses; nothing changes. */
    void mistaken() throws IOException {
        Queue queue = queue();
        var stranger = new Queue.Taker("stranger", new Uuid(1, model.random.nextInt(9)).toString(), true);
        Queue.Taker taker = queue.takers.isEmpty() ? stranger : model.any(queue.takers);
        Queue.Place place = queue.places().get(0);
        var beyond = new ShareRequests.Verdict(place, place.log().end + 5, place.log().end + 9, List.of(ShareRequests.ACCEPT));
        var nowhere = new Queue.Place(new Model.Topic("nowhere", new Uuid(7, 7), 1), 0);
        Step step = switch (model.random.nextInt(12)) {
            case 0 -> requests.heartbeat(queue, stranger, 7, null);
            case 1 -> requests.heartbeat(queue, taker, taker.epoch + 3, null);
            case 2 -> requests.heartbeat(queue, new Queue.Taker("stranger", "", true), 0, List.of(place.topic().name));
            case 3 -> requests.heartbeat(new Queue("", queue.topics, queue.habit), stranger, 0, List.of(place.topic().name));
            case 4 -> requests.heartbeat(queue, stranger, 0, null);
            case 5 -> requests.heartbeat(queue, taker, -3, null);
            case 6 -> requests.fetch(queue, taker, taker.sessionEpoch + 5, List.of(place), List.of(), List.of(), ShareRequests.Limits.NONE);
            case 7 -> requests.fetch(queue, stranger, 3, List.of(place), List.of(), List.of(), ShareRequests.Limits.NONE);
            case 8 -> requests.acknowledge(queue, stranger, 0, List.of(beyond));
            case 9 -> requests.acknowledge(queue, stranger, 4, List.of(beyond));
            case 10 -> requests.acknowledge(queue, taker, taker.sessionEpoch + 9, List.of(beyond));
            default -> requests.fetch(queue, stranger, SESSION_ENDS, List.of(nowhere), List.of(), List.of(), ShareRequests.Limits.NONE);
        };
        runner.ask(step);
    }

    /** Verdicts of records that the member does not hold, or that make no sense: the session goes on. */
    void misjudged() throws IOException {
        Queue queue = queue();
        for (Queue.Taker taker : queue.takers) {
            if (taker.sessionEpoch == 0 || taker.inSession.isEmpty()) {
                continue;
            }
            Queue.Place place = taker.inSession.iterator().next();
            long end = place.log().end;
            var verdict = switch (model.random.nextInt(5)) {
                case 0 -> new ShareRequests.Verdict(place, end + 5, end + 9, List.of(ShareRequests.ACCEPT));
                case 1 -> new ShareRequests.Verdict(place, 3, 1, List.of(ShareRequests.ACCEPT));
                case 2 -> new ShareRequests.Verdict(place, 0, 3, List.of(ShareRequests.ACCEPT, ShareRequests.ACCEPT));
                case 3 -> new ShareRequests.Verdict(place, 0, 0, List.of((byte) 9));
                default -> new ShareRequests.Verdict(place, 0, 0, List.of());
            };
            var answer = (ShareAcknowledgeResponseData) runner.ask(requests.acknowledge(queue, taker, taker.sessionEpoch, List.of(verdict)));
            if (answer != null && answer.errorCode() == 0) {
                taker.sessionWentOn();
            }
        }
    }
}
