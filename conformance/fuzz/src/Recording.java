import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.message.RequestHeaderData;

/** Conversations of real clients, connection by connection, with the topics of this broker in place of the recorded ones. */
final class Recording {
    /** A request that is well-formed: its bytes without the length, where its fields are, and the same in other versions. */
    record Request(ApiMessageType api, short version, byte[] frame, List<Grammar.Spot> spots, List<Request> others) {}

    final Map<String, Uuid> topics = new LinkedHashMap<>();
    final List<List<Request>> conversations = new ArrayList<>();

    /** `versions` gives the greatest that the broker serves. */
    Recording(Path file, Map<ApiMessageType, short[]> versions, Map<String, Uuid> live) throws IOException {
        Map<String, List<Request>> byConnection = new LinkedHashMap<>();
        Map<Uuid, Uuid> ids = new LinkedHashMap<>();
        for (String line : Files.readAllLines(file)) {
            String[] words = line.split(" ");
            if (words[0].equals("topic")) {
                Uuid recorded = Uuid.fromString(words[2].replace('+', '-').replace('/', '_'));
                topics.put(words[1], recorded);
                ids.put(recorded, live.getOrDefault(words[1], recorded));
                continue;
            }
            byte[] frame = HexFormat.of().parseHex(words[1]);
            ids.forEach((recorded, here) -> replace(frame, recorded, here));
            byConnection.computeIfAbsent(words[0], any -> new ArrayList<>()).add(request(frame, versions));
        }
        conversations.addAll(byConnection.values());
    }

    /** Names of the topics in a recording. */
    static List<String> topics(Path file) throws IOException {
        return Files.readAllLines(file).stream().filter(line -> line.startsWith("topic ")).map(line -> line.split(" ")[1]).toList();
    }

    private static Request request(byte[] frame, Map<ApiMessageType, short[]> versions) {
        ByteBuffer bytes = ByteBuffer.wrap(frame);
        ApiMessageType api = ApiMessageType.fromApiKey(bytes.getShort(0));
        short version = bytes.getShort(2);
        List<Request> others = new ArrayList<>();
        short[] served = versions.get(api);
        for (short other = served[0]; other <= served[1]; other++) {
            byte[] same = encoded(api, version, other, frame);
            if (same != null) {
                others.add(new Request(api, other, same, Grammar.spots(same), List.of()));
            }
        }
        return new Request(api, version, frame, Grammar.spots(frame), others);
    }

    /** The request in another version; null when that cannot say it. */
    private static byte[] encoded(ApiMessageType api, short from, short to, byte[] frame) {
        try {
            var in = new ByteBufferAccessor(ByteBuffer.wrap(frame));
            var header = new RequestHeaderData(in, api.requestHeaderVersion(from));
            ApiMessage body = api.newRequest();
            body.read(in, from);
            ByteBuffer out = Messages.request(api, to, 0, header.clientId(), body);
            byte[] bytes = new byte[out.remaining()];
            out.get(bytes);
            return bytes;
        } catch (RuntimeException cannot) {
            return null;
        }
    }

    private static void replace(byte[] frame, Uuid recorded, Uuid here) {
        long high = recorded.getMostSignificantBits();
        ByteBuffer bytes = ByteBuffer.wrap(frame);
        for (int at = 0; at + 16 <= frame.length; at++) {
            if (bytes.getLong(at) == high && bytes.getLong(at + 8) == recorded.getLeastSignificantBits()) {
                bytes.putLong(at, here.getMostSignificantBits()).putLong(at + 8, here.getLeastSignificantBits());
            }
        }
    }
}
