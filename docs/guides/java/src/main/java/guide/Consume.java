package guide;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Consumes in a group: {@code Consume TOPIC GROUP [COUNT]}. Ends after COUNT records, or with Ctrl-C. */
public final class Consume {
    private Consume() {}

    public static void main(String[] arguments) {
        if (arguments.length < 2) {
            System.err.println("usage: Consume TOPIC GROUP [COUNT]");
            System.exit(2);
        }
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG,
                System.getenv().getOrDefault("BOOTSTRAP_SERVERS", "127.0.0.1:9092"));
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, arguments[1]);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"); // where a group begins that has committed nothing
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        long count = arguments.length > 2 ? Long.parseLong(arguments[2]) : Long.MAX_VALUE;
        // Closing leaves the group: others take over at once.
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            wakeOnExit(consumer);
            consumer.subscribe(List.of(arguments[0]));
            consume(consumer, count);
        } catch (WakeupException ending) {
            // Ctrl-C: what was not committed comes again.
        }
    }

    private static void consume(KafkaConsumer<String, String> consumer, long count) {
        while (count > 0) {
            Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                System.out.printf("partition %d, offset %d: %s=%s%n",
                        record.partition(), record.offset(), record.key(), record.value());
                // A committed offset is that of the next record to read.
                done.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                if (--count == 0) {
                    break;
                }
            }
            consumer.commitSync(done);
        }
    }

    /** Ends poll when the process is told to end, and keeps the process until the consumer is closed. */
    private static void wakeOnExit(KafkaConsumer<String, String> consumer) {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException ended) {
                Thread.currentThread().interrupt();
            }
        }));
    }
}
