import org.apache.kafka.common.Uuid;

/** How one broker calls what the model knows by the reference's values. A request is built once with each. */
interface Names {
    String LEADER_EPOCH = "leader epoch";
    String MEMBER = "member";
    String PRODUCER = "producer";
    String SESSION = "fetch session";
    String TOPIC = "topic id";

    String of(String kind, String reference);

    default Uuid topic(Uuid reference) {
        return Uuid.fromString(of(TOPIC, reference.toString()));
    }

    default String member(String reference) {
        return of(MEMBER, reference);
    }

    default long producer(long reference) {
        return Long.parseLong(of(PRODUCER, Long.toString(reference)));
    }

    default int session(int reference) {
        return Integer.parseInt(of(SESSION, Integer.toString(reference)));
    }

    /** The epoch of this broker's leaders, plus what a mistaken client is off by. */
    default int leaderEpoch(int reference) {
        return Integer.parseInt(of(LEADER_EPOCH, Integer.toString(reference)));
    }
}
