import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.apache.kafka.common.protocol.ApiMessage;

/** One conversation: all its frames sent without waiting, over as many connections as the broker makes of it. */
final class Talk {
    /** A broker that works answers, or closes, in a small part of it. */
    private static final long ANSWER_BOUND_NS = 60_000_000_000L;
    /** Of a request that may wait by right, or a frame that never ends: then the client goes away. */
    private static final long PATIENCE_NS = 300_000_000L;
    private static final int ANSWER_BYTES_MAX = 64 << 20;
    private static final int READ_BYTES = 1 << 16;

    /** What the broker did that it must not. */
    static final class Broken extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Broken(String what) {
            super(what);
        }
    }

    final long number;
    private final InetSocketAddress broker;
    private final Tally tally;
    private final Learnt learnt;
    private Deque<Sent> left;
    private final Deque<Sent> asked = new ArrayDeque<>();
    private SocketChannel channel;
    private SelectionKey key;
    private ByteBuffer out = ByteBuffer.allocate(0);
    private ByteBuffer in = ByteBuffer.allocate(READ_BYTES);
    private boolean astray;
    private long lastNews;
    private final List<Sent> all;

    Talk(long number, List<Sent> frames, InetSocketAddress broker, Tally tally, Learnt learnt) {
        this.number = number;
        this.broker = broker;
        this.tally = tally;
        this.learnt = learnt;
        all = List.copyOf(frames);
        left = new ArrayDeque<>(frames);
    }

    List<Sent> frames() {
        return all;
    }

    /** Connects and sends all that is left. */
    void begin(Selector selector) throws IOException {
        channel = SocketChannel.open();
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        // Thousands of closed connections would hold their ports for a minute each.
        channel.setOption(StandardSocketOptions.SO_LINGER, 0);
        channel.connect(broker);
        channel.configureBlocking(false);
        key = channel.register(selector, SelectionKey.OP_READ | SelectionKey.OP_WRITE, this);
        out = ByteBuffer.allocate(left.stream().mapToInt(sent -> sent.bytes().length).sum());
        left.forEach(sent -> out.put(sent.bytes()));
        out.flip();
        asked.clear();
        asked.addAll(left);
        left.clear();
        in.clear();
        astray = false;
        lastNews = System.nanoTime();
        tally.connections++;
    }

    /** Goes on; true when the conversation is over. */
    boolean ready(Selector selector) throws IOException {
        boolean open;
        try {
            if (key.isWritable()) {
                put();
            }
            open = take();
        } catch (IOException reset) {
            open = false;
        }
        if (!open) {
            tally.closedByBroker++;
            return reopened(selector);
        }
        return over();
    }

    private void put() {
        int before = out.remaining();
        try {
            channel.write(out);
        } catch (IOException reset) {
            // What the broker said before it closed is still to be read.
            out.position(out.limit());
        }
        if (out.remaining() < before) {
            lastNews = System.nanoTime();
        }
        if (!out.hasRemaining()) {
            key.interestOps(SelectionKey.OP_READ);
        }
    }

    private boolean take() throws IOException {
        while (true) {
            int count = channel.read(in);
            if (count <= 0) {
                return count == 0;
            }
            lastNews = System.nanoTime();
            in.flip();
            while (in.remaining() >= 4) {
                int length = in.getInt(in.position());
                if (length < 4 || length > ANSWER_BYTES_MAX) {
                    throw new Broken("an answer of " + length + " bytes");
                }
                if (in.remaining() < 4 + length) {
                    break;
                }
                byte[] frame = new byte[length];
                in.getInt();
                in.get(frame);
                answered(frame);
            }
            in.compact();
            if (!in.hasRemaining()) {
                ByteBuffer larger = ByteBuffer.allocate(Math.min(2 * in.capacity(), 4 + ANSWER_BYTES_MAX));
                in = larger.put(in.flip());
            }
        }
    }

    private void answered(byte[] frame) {
        int correlation = ByteBuffer.wrap(frame).getInt();
        while (!asked.isEmpty()) {
            Sent sent = asked.poll();
            astray |= !sent.framed();
            tally.handled++;
            if (sent.isAnsweredAs(correlation)) {
                tally.answered++;
                // Ids were changed too: one that was not owed an answer and one behind it may be called the same.
                astray |= sent.mayBeSilent() && asked.stream().anyMatch(other -> other.isAnsweredAs(correlation));
                if (sent.whole()) {
                    read(sent, frame);
                }
                return;
            }
            if (!sent.mayBeSilent() && !astray) {
                throw new Broken("an answer with correlation id " + correlation + " while " + sent.correlation()
                        + " (" + sent.api().name + " v" + sent.version() + ") has none yet");
            }
        }
        if (!astray) {
            throw new Broken("an answer with correlation id " + correlation + " to nothing that was asked");
        }
    }

    /** A whole request is owed an answer that Kafka's own classes can read. */
    private void read(Sent sent, byte[] frame) {
        try {
            ApiMessage answer = Messages.response(sent.api(), sent.version(), sent.correlation(), ByteBuffer.wrap(frame));
            learnt.from(answer);
        } catch (RuntimeException error) {
            throw new Broken("the answer to " + sent.api().name + " v" + sent.version() + " cannot be read: " + error);
        }
    }

    /** The connection is gone, by the request that has no answer: goes on behind it. */
    private boolean reopened(Selector selector) throws IOException {
        end();
        Sent cause = asked.poll();
        if (cause != null) {
            tally.handled++;
            // A changed one behind it may be the cause: the reset that follows can overtake answers.
            if (cause.whole() && !cause.mayBeSilent() && !astray && asked.stream().allMatch(Sent::whole)) {
                throw new Broken("closed the connection on a well-formed " + cause.api().name + " v" + cause.version()
                        + ", correlation id " + cause.correlation());
            }
        }
        left = new ArrayDeque<>(asked);
        if (left.isEmpty()) {
            return true;
        }
        begin(selector);
        return false;
    }

    private boolean over() throws IOException {
        if (asked.isEmpty() && !out.hasRemaining()) {
            end();
            return true;
        }
        return false;
    }

    /** Nothing came for a while. True when the conversation is over. */
    boolean quiet(Selector selector, long now) throws IOException {
        long silent = now - lastNews;
        boolean lied = asked.stream().anyMatch(sent -> !sent.framed()) || astray;
        Sent head = asked.peek();
        boolean byRight = lied || head == null || asked.stream().anyMatch(Sent::mayWait) || head.mayBeSilent();
        if (silent > PATIENCE_NS && byRight) {
            if (head != null) {
                tally.leftWaiting++;
            }
            // As when the broker closes: what is in the way goes, the rest is asked anew.
            end();
            skipWhatWaits();
            if (left.isEmpty()) {
                return true;
            }
            begin(selector);
            return false;
        }
        if (silent > ANSWER_BOUND_NS) {
            throw new Broken("no answer for " + ANSWER_BOUND_NS / 1_000_000_000L + " s to " + head.api().name + " v" + head.version()
                    + ", correlation id " + head.correlation());
        }
        return false;
    }

    private void skipWhatWaits() {
        left = new ArrayDeque<>(asked);
        Sent gone = left.poll();
        tally.handled += gone == null ? 0 : 1;
        while (gone != null && gone.framed() && !gone.mayWait() && !left.isEmpty()) {
            gone = left.poll();
            tally.handled++;
        }
    }

    void end() throws IOException {
        if (key != null) {
            key.cancel();
        }
        channel.close();
    }
}
