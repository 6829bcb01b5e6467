import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.protocol.ApiMessage;

/** What the broker told last: ids without which most requests of a recording end at the first check. */
final class Learnt {
    private String member = "";
    private int generation = -1;
    private int session;
    private int sessionEpoch;
    private long producer = -1;

    void from(ApiMessage answer) {
        if (answer instanceof JoinGroupResponseData joined && !joined.memberId().isEmpty()) {
            member = joined.memberId();
            generation = Math.max(joined.generationId(), generation);
        } else if (answer instanceof FetchResponseData fetched && fetched.sessionId() != 0) {
            session = fetched.sessionId();
            sessionEpoch = 1;
        } else if (answer instanceof InitProducerIdResponseData given) {
            producer = given.producerId();
        }
    }

    /** The request with some of it in place of what was recorded. */
    byte[] putInto(Recording.Request request, Random random) {
        byte[] frame = request.frame();
        if (random.nextInt(3) == 0) {
            return frame;
        }
        List<Grammar.Spot> spots = request.spots();
        for (int n = spots.size() - 1; n >= 0; n--) {
            Grammar.Spot spot = spots.get(n);
            frame = switch (spot.name()) {
                case "member_id" -> spot.kind() == Grammar.Kind.CONTENT && !member.isEmpty() ? text(frame, spot, member) : frame;
                case "generation_id", "generation_id_or_member_epoch" -> put(frame, spot, generation);
                case "session_id" -> put(frame, spot, session);
                case "session_epoch" -> put(frame, spot, sessionEpoch++);
                case "producer_id" -> put(frame, spot, producer);
                default -> frame;
            };
        }
        return frame;
    }

    private static byte[] put(byte[] frame, Grammar.Spot spot, long value) {
        ByteBuffer number = ByteBuffer.allocate(Long.BYTES).putLong(value);
        byte[] low = new byte[spot.size()];
        number.position(Long.BYTES - low.length).get(low);
        return Mutator.splice(frame, spot.start(), spot.end(), low);
    }

    private static byte[] text(byte[] frame, Grammar.Spot spot, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        Grammar.Spot length = spot.of();
        byte[] announced = length.kind() == Grammar.Kind.COMPACT_LENGTH ? Mutator.varint(bytes.length + 1)
                : ByteBuffer.allocate(2).putShort((short) bytes.length).array();
        return Mutator.splice(Mutator.splice(frame, spot.start(), spot.end(), bytes), length.start(), length.end(), announced);
    }
}
