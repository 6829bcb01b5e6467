import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;

/** Sends changed conversations of real clients to a broker: BROKER RECORDING REQUESTS SEED CONNECTIONS DIRECTORY. */
public final class Fuzz {
    private static final long SELECT_MS = 50;
    private static final long SAY_EVERY_NS = 5_000_000_000L;

    private final InetSocketAddress broker;
    private final Tally tally = new Tally();
    private final Learnt learnt = new Learnt();
    private final List<Talk> talks = new ArrayList<>();
    private final Writer writer;
    private final long seed;
    private final Path directory;
    private long conversations;

    private Fuzz(String address, Path recording, long seed, Path directory) throws IOException {
        int colon = address.lastIndexOf(':');
        broker = new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
        this.seed = seed;
        this.directory = directory;
        Map<ApiMessageType, short[]> versions = new EnumMap<>(ApiMessageType.class);
        Map<String, Uuid> live = new HashMap<>();
        try (var connection = new Connection(broker, "fuzz")) {
            var served = (ApiVersionsResponseData) ask(connection, ApiMessageType.API_VERSIONS, 0, new ApiVersionsRequestData());
            for (var api : served.apiKeys()) {
                short min = api.apiKey() == ApiMessageType.PRODUCE.apiKey() ? 3 : api.minVersion();
                versions.put(ApiMessageType.fromApiKey(api.apiKey()), new short[] {min, api.maxVersion()});
            }
            var create = new CreateTopicsRequestData().setTimeoutMs(30_000);
            Recording.topics(recording).forEach(name -> create.topics().add(
                    new CreatableTopic().setName(name).setNumPartitions(2).setReplicationFactor((short) 1)));
            ask(connection, ApiMessageType.CREATE_TOPICS, 5, create);
            var all = (MetadataResponseData) ask(connection, ApiMessageType.METADATA, 12, new MetadataRequestData().setTopics(null));
            all.topics().forEach(topic -> live.put(topic.name(), topic.topicId()));
        }
        writer = new Writer(new Recording(recording, versions, live), seed, learnt);
    }

    private static Object ask(Connection connection, ApiMessageType api, int version, org.apache.kafka.common.protocol.ApiMessage body)
            throws IOException {
        connection.send(api, (short) version, body);
        return connection.receive(api, (short) version);
    }

    public static void main(String[] arguments) throws IOException {
        var fuzz = new Fuzz(arguments[0], Path.of(arguments[1]), Long.parseLong(arguments[3]), Path.of(arguments[5]));
        System.out.println(fuzz.run(Long.parseLong(arguments[2]), Integer.parseInt(arguments[4])) ? "nothing broke" : "it broke");
    }

    private boolean run(long requests, int connections) throws IOException {
        long began = System.nanoTime();
        long said = began;
        Talk current = null;
        try (Selector selector = Selector.open()) {
            while (tally.handled < requests || !talks.isEmpty()) {
                while (talks.size() < connections && tally.handled < requests) {
                    current = new Talk(conversations, writer.conversation(conversations), broker, tally, learnt);
                    conversations++;
                    talks.add(current);
                    current.begin(selector);
                }
                selector.select(SELECT_MS);
                for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext();) {
                    SelectionKey key = keys.next();
                    keys.remove();
                    current = (Talk) key.attachment();
                    if (key.isValid() && current.ready(selector)) {
                        talks.remove(current);
                    }
                }
                long now = System.nanoTime();
                for (Iterator<Talk> open = talks.iterator(); open.hasNext();) {
                    current = open.next();
                    if (current.quiet(selector, now)) {
                        open.remove();
                    }
                }
                if (now - said > SAY_EVERY_NS) {
                    said = now;
                    System.out.printf("%.0f s: %s%n", (now - began) / 1e9, tally);
                }
            }
        } catch (Talk.Broken | IOException broken) {
            System.out.println("conversation " + (current == null ? -1 : current.number) + " of seed " + seed + ": " + broken);
            keep(current);
            System.out.println(tally);
            return false;
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf("%s; seed %d, %.0f s, %.0f requests/s%n", tally, seed, seconds, tally.handled / seconds);
        return true;
    }

    /** Writes down what was under way, the conversation at fault first. */
    private void keep(Talk current) throws IOException {
        Path file = directory.resolve("broken-" + seed + ".txt");
        List<String> lines = new ArrayList<>();
        talks.remove(current);
        talks.add(0, current);
        for (Talk talk : talks) {
            lines.add("conversation " + talk.number);
            talk.frames().forEach(sent -> lines.add(sent.correlation() + " " + sent.api().name + " v" + sent.version()
                    + (sent.whole() ? " " : " changed ") + HexFormat.of().formatHex(sent.bytes())));
        }
        Files.write(file, lines);
        System.out.println("all that was under way, this one first: " + file);
    }
}
