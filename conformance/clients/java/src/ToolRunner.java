import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's tools one after the other in one JVM: a line is what the tool reads on standard input (U+0003 for line ends, U+0004 for tabs),
 * a class and its arguments, separated by tabs; the tool's output follows, and a line of U+0001 and the exit status. A line of U+0002
 * stands where the tool asked to end: what it says from there on, a process of its own would never have said, up to a line of U+0005,
 * behind which its shutdown hooks speak.
 */
public final class ToolRunner {
    private static final PrintStream OUT = System.out;
    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static Integer ended;

    private ToolRunner() {}

    /** An exit of a tool, caught here so that the next one can run. */
    private static final class Exited extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    public static void main(String[] none) throws Exception {
        System.setErr(OUT);
        Exit.setExitProcedure((status, message) -> end(status));
        Exit.setHaltProcedure((status, message) -> end(status));
        Exit.setShutdownHookAdder((name, hook) -> {
            synchronized (OUT) {
                HOOKS.add(hook);
            }
        });
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split("\t", -1);
            String typed = words[0].replace('\u0003', '\n').replace('\u0004', '\t');
            System.setIn(new ByteArrayInputStream(typed.getBytes(StandardCharsets.UTF_8)));
            int status = run(words[1], Arrays.copyOfRange(words, 2, words.length));
            OUT.println("\n\u0001" + status);
            OUT.flush();
        }
    }

    /** Tools catch what ends them, and then end once more: the first time counts. */
    private static void end(int status) {
        synchronized (OUT) {
            if (ended == null) {
                ended = status;
                OUT.println("\n\u0002");
            }
        }
        throw new Exited();
    }

    private static int run(String tool, String[] arguments) throws ReflectiveOperationException {
        synchronized (OUT) {
            ended = null;
            HOOKS.clear();
        }
        int status = 0;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            status = 1;
            if (!(thrown.getCause() instanceof Exited)) {
                thrown.getCause().printStackTrace(OUT);
            }
        }
        List<Runnable> hooks;
        synchronized (OUT) {
            status = ended == null ? status : ended;
            hooks = List.copyOf(HOOKS);
        }
        if (!hooks.isEmpty()) {
            OUT.println("\n\u0005");
            hooks.forEach(Runnable::run);
        }
        return status;
    }
}
