import com.fasterxml.jackson.databind.JsonNode;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** Gathers differences: one line for each API and path, with the first request that showed it. */
final class Report {
    private static final int LAST_KEPT = 25;
    private static final int SHOWN_CHARACTERS_MAX = 6000;

    private static final class Group {
        final String shown;
        final List<String> examples = new ArrayList<>();
        long count;

        private Group(String shown) {
            this.shown = shown;
        }
    }

    private final long seed;
    private final PrintStream trace;
    private final Map<ApiMessageType, Long> asked = new EnumMap<>(ApiMessageType.class);
    private final Map<String, Group> groups = new LinkedHashMap<>();
    private final Deque<Supplier<String>> last = new ArrayDeque<>();

    /** With TRACE in the environment every exchange with the reference goes to the file of that name. */
    Report(long seed) throws IOException {
        this.seed = seed;
        String file = System.getenv("TRACE");
        trace = file == null ? null : new PrintStream(new FileOutputStream(file), true);
    }

    void counted(ApiMessageType api) {
        asked.merge(api, 1L, Long::sum);
    }

    /** Keeps the last few exchanges, to be shown when the run stops short. */
    void exchanged(Runner.Pending pending, ApiMessage request, ApiMessage answer) {
        Step step = pending.step();
        if (last.size() == LAST_KEPT) {
            last.removeFirst();
        }
        Supplier<String> line = () -> pending.index() + " " + step.connection() + " " + step.api().name + " v" + step.version() + " "
                + cut(Messages.json(request, step.version())) + " -> "
                + (answer == null ? "closed" : cut(Messages.json(answer, step.version())));
        last.add(line);
        if (trace != null) {
            trace.println(line.get());
        }
    }

    void printLast() {
        last.forEach(line -> System.out.println(line.get()));
    }

    void differ(Runner.Pending pending, JsonNode request, JsonNode reference, JsonNode target,
            List<Comparison.Difference> differences) {
        Step step = pending.step();
        String where = String.format("request %d of seed %d: %s v%d on connection %s%n    request   %s%n    reference %s%n    target    %s",
                pending.index(), seed, step.api().name, step.version(), step.connection(), cut(request), cut(reference), cut(target));
        for (Comparison.Difference difference : differences) {
            note(step.api().name + " " + difference.path(), where, difference.toString() + "  (v" + step.version()
                    + ", request " + pending.index() + ")");
        }
    }

    void neverSettled(long index, String side, String what, JsonNode answer) {
        note(side + " did not settle: " + what, "at request " + index + " of seed " + seed + ": " + cut(answer),
                "at request " + index);
    }

    private void note(String key, String where, String example) {
        Group group = groups.computeIfAbsent(key, any -> new Group(where));
        group.count++;
        if (group.examples.size() < 4) {
            group.examples.add(example);
        }
    }

    private static String cut(JsonNode json) {
        String text = String.valueOf(json);
        return text.length() <= SHOWN_CHARACTERS_MAX ? text : text.substring(0, SHOWN_CHARACTERS_MAX) + "...";
    }

    /** Prints everything; says whether all was equal. */
    boolean print(long requests, double seconds) {
        StringBuilder line = new StringBuilder();
        asked.entrySet().stream().sorted(Comparator.comparing(one -> one.getKey().name))
                .forEach(one -> line.append(one.getKey().name).append(' ').append(one.getValue()).append(", "));
        System.out.println("requests by API: " + line.substring(0, Math.max(0, line.length() - 2)));
        for (var entry : groups.entrySet()) {
            System.out.printf("%n%6d x %s%n", entry.getValue().count, entry.getKey());
            entry.getValue().examples.forEach(example -> System.out.println("         " + example));
            System.out.println("  " + entry.getValue().shown);
        }
        if (!groups.isEmpty()) {
            System.out.println();
            groups.forEach((key, group) -> System.out.printf("%8d x %s  %s%n", group.count, key, group.examples.get(0)));
        }
        System.out.printf("%d requests of seed %d in %.0f s, %d kinds of difference%n", requests, seed, seconds, groups.size());
        return groups.isEmpty();
    }
}
