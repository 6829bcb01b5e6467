import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** One connection to a broker on which one request waits for its answer at a time. */
final class Connection implements AutoCloseable {
    /** Ends a wait for an answer that never comes; a broker that works needs a small part of it. */
    private static final int ANSWER_BOUND_MS = 20_000;
    private static final int FRAME_BYTES_MAX = 64 << 20;

    private final Socket socket = new Socket();
    private final String client;
    private final DataInputStream in;
    private final OutputStream out;
    private int correlation;

    Connection(InetSocketAddress broker, String client) throws IOException {
        this.client = client;
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(ANSWER_BOUND_MS);
        socket.connect(broker, ANSWER_BOUND_MS);
        in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 1 << 16));
        out = socket.getOutputStream();
    }

    void send(ApiMessageType api, short version, ApiMessage body) throws IOException {
        ByteBuffer frame = Messages.request(api, version, ++correlation, client, body);
        byte[] bytes = new byte[4 + frame.remaining()];
        ByteBuffer.wrap(bytes).putInt(frame.remaining()).put(frame);
        try {
            out.write(bytes);
        } catch (SocketException closed) {
            // The broker closed it; reading says so.
        }
    }

    /** The answer to the last request; null when the broker closed the connection instead. */
    ApiMessage receive(ApiMessageType api, short version) throws IOException {
        try {
            int length = in.readInt();
            if (length < 0 || length > FRAME_BYTES_MAX) {
                throw new IllegalStateException("an answer of " + length + " bytes");
            }
            byte[] bytes = new byte[length];
            in.readFully(bytes);
            return Messages.response(api, version, correlation, ByteBuffer.wrap(bytes));
        } catch (EOFException | SocketException closed) {
            return null;
        }
    }

    /** Whether an answer, or the beginning of one, is there. */
    boolean hasAnswer() throws IOException {
        return in.available() > 0;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
