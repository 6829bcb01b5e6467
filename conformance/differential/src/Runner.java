import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.util.EnumMap;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** Sends steps to both brokers, awaits both, and has the answers compared. */
final class Runner {
    /** Where questions go that only wait for a broker to get somewhere: they are neither counted nor compared. */
    private static final String PROBE = "probe";
    private static final long SETTLE_BOUND_MS = 20_000;

    final Random random;
    private final Side reference;
    private final Side target;
    private final Comparison comparison;
    private final Report report;
    private final Map<ApiMessageType, short[]> versions = new EnumMap<>(ApiMessageType.class);
    private long count;

    Runner(Side reference, Side target, Comparison comparison, Report report, Random random) {
        this.reference = reference;
        this.target = target;
        this.comparison = comparison;
        this.report = report;
        this.random = random;
    }

    /** A request that was sent and whose answers were not taken yet. */
    record Pending(long index, Step step) {}

    long count() {
        return count;
    }

    void serves(ApiMessageType api, short min, short max) {
        versions.put(api, new short[] {min, max});
    }

    /** Any version that both serve, from `min` on. */
    short version(ApiMessageType api, int min) {
        return version(api, min, Short.MAX_VALUE);
    }

    short version(ApiMessageType api, int min, int max) {
        short[] served = versions.get(api);
        if (served == null) {
            throw new IllegalStateException(api.name + " is not served by both");
        }
        int low = Math.max(min, served[0]);
        return (short) (low + random.nextInt(Math.min(max, served[1]) - low + 1));
    }

    short version(ApiMessageType api) {
        return version(api, 0);
    }

    /** Asks both; gives the reference's answer, which the model follows. Null when it closed the connection. */
    ApiMessage ask(Step step) throws IOException {
        return await(send(step));
    }

    /** Sends one that is not answered, and another one behind it: both count. */
    void askBehind(Step silent, Step step) throws IOException {
        send(silent);
        report.counted(silent.api());
        ask(step);
    }

    Pending send(Step step) throws IOException {
        for (Side side : new Side[] {reference, target}) {
            side.send(step.connection(), step.api(), step.version(), step.request().apply(side.names));
        }
        return new Pending(count++, step);
    }

    ApiMessage await(Pending pending) throws IOException {
        Step step = pending.step();
        ApiMessage expected = reference.receive(step.connection(), step.api(), step.version());
        report.exchanged(pending, step.request().apply(reference.names), expected);
        ApiMessage actual = target.receive(step.connection(), step.api(), step.version());
        report.counted(step.api());
        JsonNode left = shown(expected, step.version());
        JsonNode right = shown(actual, step.version());
        var differences = comparison.compare(step.api().name, left, right);
        if (!differences.isEmpty()) {
            JsonNode asked = Messages.json(step.request().apply(reference.names), step.version());
            report.differ(pending, asked, left, right, differences);
        }
        if ((expected == null) != (actual == null)) {
            reference.forget(step.connection());
            target.forget(step.connection());
        }
        return expected;
    }

    private static JsonNode shown(ApiMessage answer, short version) {
        return answer == null ? JsonNodeFactory.instance.objectNode().put("connection", "closed")
                : Messages.json(answer, version);
    }

    /** What an answer must look like before the run goes on. */
    interface Settled {
        boolean in(ApiMessage answer);
    }

    /** Asks both again and again until they got there. A broker that does not is a difference of its own. */
    void settle(String what, Step step, Settled settled) throws IOException {
        for (Side side : new Side[] {reference, target}) {
            long deadline = System.currentTimeMillis() + SETTLE_BOUND_MS;
            while (true) {
                side.send(PROBE, step.api(), step.version(), step.request().apply(side.names));
                ApiMessage answer = side.receive(PROBE, step.api(), step.version());
                if (answer != null && settled.in(answer)) {
                    break;
                }
                if (System.currentTimeMillis() > deadline) {
                    report.neverSettled(count, side.name, what, answer == null ? null : Messages.json(answer, step.version()));
                    break;
                }
                pause(2);
            }
        }
    }

    /**
     * Whether `other` shows at the reference that the pending request waits for more; false when it was answered. The
     * target is awaited in the same place.
     */
    boolean waits(Pending pending, Step other, Settled waiting) throws IOException {
        long deadline = System.currentTimeMillis() + SETTLE_BOUND_MS;
        while (!reference.hasAnswer(pending.step().connection())) {
            ApiMessage answer = question(reference, other);
            if (waiting.in(answer)) {
                settle("as the reference waits", other, waiting);
                return true;
            }
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("request " + pending.index() + " is neither answered nor does it wait");
            }
            pause(1);
        }
        return false;
    }

    /** Asks only one side, without comparing: before the run. */
    static ApiMessage question(Side side, Step step) throws IOException {
        side.send(PROBE, step.api(), step.version(), step.request().apply(side.names));
        return side.receive(PROBE, step.api(), step.version());
    }

    static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }
}
