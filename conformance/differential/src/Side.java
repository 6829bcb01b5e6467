import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** One of the two brokers: its connections by the name of who uses them, and how it calls things. */
final class Side implements AutoCloseable {
    /** Clients are named alike at both: Kafka's member ids begin with the name. */
    private static final String CLIENT = "differential";

    final String name;
    final Names names;
    private final InetSocketAddress address;
    private final Map<String, Connection> connections = new HashMap<>();

    Side(String name, String address, Names names) {
        this.name = name;
        this.names = names;
        int colon = address.lastIndexOf(':');
        this.address = new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    }

    void send(String connection, ApiMessageType api, short version, ApiMessage request) throws IOException {
        Connection open = connections.get(connection);
        if (open == null) {
            open = new Connection(address, CLIENT);
            connections.put(connection, open);
        }
        open.send(api, version, request);
    }

    /** Null when the broker closed the connection; the next request opens another one. */
    ApiMessage receive(String connection, ApiMessageType api, short version) throws IOException {
        ApiMessage answer;
        try {
            answer = connections.get(connection).receive(api, version);
        } catch (IOException | RuntimeException error) {
            throw new IOException(name + ", " + api.name + " v" + version + " on connection " + connection + ": " + error,
                    error);
        }
        if (answer == null) {
            forget(connection);
        }
        return answer;
    }

    /** Whether something came on the connection that was not taken yet. */
    boolean hasAnswer(String connection) throws IOException {
        return connections.get(connection).hasAnswer();
    }

    void forget(String connection) throws IOException {
        Connection open = connections.remove(connection);
        if (open != null) {
            open.close();
        }
    }

    @Override
    public void close() throws IOException {
        for (Connection open : connections.values()) {
            open.close();
        }
    }
}
