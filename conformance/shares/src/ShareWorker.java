import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A share consumer that is killed some time: `ShareWorker BOOTSTRAP TOPIC GROUP SEED LOG ACQUIRE_MODE LOCK_MS`. What it got and said it writes to
 * LOG before it goes on (see ledger.py): a kill takes nothing from what a process wrote to a file.
 */
public final class ShareWorker {
    private static final int RELEASED_PERMILLE = 40;
    private static final int REJECTED_PERMILLE = 10;
    /** Of so many polls one is followed by a sleep that is longer than its locks. */
    private static final int POLLS_PER_SLEEP = 150;
    private static final int SLEPT_LONGER_MS = 1500;

    private final KafkaShareConsumer<byte[], byte[]> client;
    private final DataOutputStream log;
    private final Random random;
    private final boolean sleeps;
    private final long lockMs;

    private ShareWorker(String[] arguments) throws IOException {
        random = new Random(Long.parseLong(arguments[3]));
        log = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(arguments[4]), 1 << 16));
        // Whoever prefetches has the locks of what nobody saw yet: a sleep would let them end without a trace.
        sleeps = arguments[5].equals("record_limit");
        lockMs = Long.parseLong(arguments[6]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("group.id", arguments[2]);
        properties.put("share.acknowledgement.mode", "explicit");
        properties.put("share.acquire.mode", arguments[5]);
        client = new KafkaShareConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        client.subscribe(List.of(arguments[1]));
    }

    public static void main(String[] arguments) throws Exception {
        ShareWorker worker = new ShareWorker(arguments);
        while (true) {
            worker.turn();
        }
    }

    private void turn() throws Exception {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        client.poll(Duration.ofMillis(200)).forEach(records::add);
        if (records.isEmpty()) {
            return;
        }
        write('P', 0, System.nanoTime(), 0);
        for (var record : records) {
            long number = Long.parseLong(new String(record.value(), StandardCharsets.UTF_8));
            int drawn = random.nextInt(1000);
            var type = drawn < RELEASED_PERMILLE ? AcknowledgeType.RELEASE
                    : drawn < RELEASED_PERMILLE + REJECTED_PERMILLE ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT;
            // A record's value is its offset.
            char kind = number == record.offset() ? kind(type) : 'X';
            write(kind, record.partition(), record.offset(), record.deliveryCount().orElseThrow());
            client.acknowledge(record, type);
        }
        log.flush();
        if (sleeps && random.nextInt(POLLS_PER_SLEEP) == 0) {
            Thread.sleep(lockMs + SLEPT_LONGER_MS);
            write('S', 0, System.nanoTime(), 0);
        }
        write('T', 0, System.nanoTime(), 0);
        log.flush();
        for (var answer : client.commitSync().entrySet()) {
            var error = answer.getValue();
            error.ifPresent(refused -> System.err.println(answer.getKey() + ": " + refused));
            write(error.isPresent() ? 'F' : 'O', answer.getKey().partition(), System.nanoTime(), 0);
        }
        log.flush();
    }

    private static char kind(AcknowledgeType type) {
        return switch (type) {
            case ACCEPT -> 'a';
            case RELEASE -> 'r';
            case REJECT -> 'j';
            default -> throw new IllegalArgumentException(type.toString());
        };
    }

    private void write(char kind, int partition, long offset, int count) throws IOException {
        log.writeByte(kind);
        log.writeInt(partition);
        log.writeLong(offset);
        log.writeShort(count);
    }
}
