import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's tools one after the other in one JVM: a line is a class and its arguments, separated by tabs; the tool's
 * output follows, and a line of U+0001 and the exit status.
 */
public final class ToolRunner {
    private ToolRunner() {}

    /** An exit of a tool, caught here so that the next one can run. */
    private static final class Exited extends RuntimeException {
        private static final long serialVersionUID = 1L;
        private final int status;

        private Exited(int status) {
            this.status = status;
        }
    }

    public static void main(String[] none) throws Exception {
        PrintStream out = System.out;
        System.setErr(out);
        Exit.setExitProcedure((status, message) -> {
            throw new Exited(status);
        });
        Exit.setHaltProcedure((status, message) -> {
            throw new Exited(status);
        });
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split("\t");
            int status = run(words[0], Arrays.copyOfRange(words, 1, words.length));
            out.println("\n\u0001" + status);
            out.flush();
        }
    }

    private static int run(String tool, String[] arguments) throws ReflectiveOperationException {
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return 0;
        } catch (InvocationTargetException thrown) {
            if (thrown.getCause() instanceof Exited exited) {
                return exited.status;
            }
            thrown.getCause().printStackTrace(System.out);
            return 1;
        }
    }
}
