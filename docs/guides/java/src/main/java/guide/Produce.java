package guide;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Produces records: {@code Produce TOPIC KEY=VALUE...} */
public final class Produce {
    private Produce() {}

    public static void main(String[] arguments) throws ExecutionException, InterruptedException {
        if (arguments.length < 2 || !Arrays.stream(arguments).skip(1).allMatch(pair -> pair.contains("="))) {
            System.err.println("usage: Produce TOPIC KEY=VALUE...");
            System.exit(2);
        }
        Properties settings = new Properties();
        settings.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG,
                System.getenv().getOrDefault("BOOTSTRAP_SERVERS", "127.0.0.1:9092"));
        // acks=all and idempotence, by which a retry neither repeats nor reorders, are this client's defaults.
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            List<Future<RecordMetadata>> deliveries = new ArrayList<>();
            for (int at = 1; at < arguments.length; at++) {
                String[] pair = arguments[at].split("=", 2);
                // Only queued here: batches leave in the background.
                deliveries.add(producer.send(new ProducerRecord<>(arguments[0], pair[0], pair[1])));
            }
            for (int at = 1; at < arguments.length; at++) {
                RecordMetadata stored = deliveries.get(at - 1).get(); // or throws what kept it from being stored
                System.out.printf("%s -> partition %d, offset %d%n", arguments[at], stored.partition(), stored.offset());
            }
        }
    }
}
