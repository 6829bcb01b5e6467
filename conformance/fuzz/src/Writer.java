import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.message.ApiMessageType;

/** Writes conversations: number n of a seed is always the same, but for what was learnt from answers. */
final class Writer {
    private static final int FRAMES_MAX = 60;
    private static final int CORRELATION_AT = 4;
    /** Far apart and far from what fields are changed to: a changed one must not be taken for another's. */
    private static final int CORRELATION_FIRST = 12_345_678;
    private static final int CORRELATION_STEP = 1013;

    private final Recording recording;
    private final long seed;
    private final Learnt learnt;

    Writer(Recording recording, long seed, Learnt learnt) {
        this.recording = recording;
        this.seed = seed;
        this.learnt = learnt;
    }

    List<Sent> conversation(long number) {
        Random random = new Random(seed * 1_000_003 + number);
        var mutator = new Mutator(random);
        List<Recording.Request> recorded = recording.conversations.get(random.nextInt(recording.conversations.size()));
        List<Sent> frames = new ArrayList<>();
        int length = 5 + random.nextInt(FRAMES_MAX);
        int at = random.nextInt(recorded.size());
        while (frames.size() < length) {
            // Mostly in the recorded order, from anywhere.
            at = random.nextInt(10) == 0 ? random.nextInt(recorded.size()) : (at + 1) % recorded.size();
            Recording.Request request = recorded.get(at);
            int correlation = CORRELATION_FIRST + frames.size() * CORRELATION_STEP;
            frames.add(frame(random, mutator, request, correlation));
        }
        return frames;
    }

    private Sent frame(Random random, Mutator mutator, Recording.Request recorded, int correlation) {
        Recording.Request request = recorded;
        if (!recorded.others().isEmpty() && random.nextInt(4) == 0) {
            request = recorded.others().get(random.nextInt(recorded.others().size()));
        }
        byte[] frame = numbered(learnt.putInto(request, random), correlation);
        int fate = random.nextInt(100);
        if (fate < 45) {
            return sent(frame, frame.length, correlation, request, true);
        }
        if (fate < 85) {
            // What was learnt may have moved the fields.
            var spots = Grammar.spots(frame);
            byte[] changed = mutator.fields(frame, spots);
            return sent(changed, changed.length, correlation, request, false);
        }
        if (fate < 97) {
            var any = recording.conversations.get(random.nextInt(recording.conversations.size()));
            byte[] changed = mutator.bytes(frame, any.get(random.nextInt(any.size())).frame());
            return sent(changed, changed.length, correlation, request, false);
        }
        int[] lies = {0, -1, 1, 4, Integer.MAX_VALUE, Integer.MIN_VALUE, frame.length + 1, frame.length - 1, frame.length + 1_000_000};
        return sent(frame, lies[random.nextInt(lies.length)], correlation, request, false);
    }

    private static byte[] numbered(byte[] frame, int correlation) {
        byte[] copy = frame.clone();
        ByteBuffer.wrap(copy).putInt(CORRELATION_AT, correlation);
        return copy;
    }

    private static Sent sent(byte[] frame, int prefix, int correlation, Recording.Request request, boolean whole) {
        byte[] bytes = ByteBuffer.allocate(4 + frame.length).putInt(prefix).put(frame).array();
        ApiMessageType api = request.api();
        return new Sent(bytes, correlation, api, request.version(), whole, prefix == frame.length);
    }
}
