package guide;

import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads again from a time: {@code Replay TOPIC TIME}, for example {@code Replay orders 2026-11-22T10:00:00Z} */
public final class Replay {
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSX").withZone(ZoneOffset.UTC);

    private Replay() {}

    public static void main(String[] arguments) {
        if (arguments.length != 2) {
            System.err.println("usage: Replay TOPIC TIME");
            System.exit(2);
        }
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG,
                System.getenv().getOrDefault("BOOTSTRAP_SERVERS", "127.0.0.1:9092"));
        settings.put(ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, "false");
        // Without a group: partitions are assigned by hand, and nothing is committed.
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            long count = replay(consumer, arguments[0], Instant.parse(arguments[1]));
            System.out.printf("%d records since %s%n", count, arguments[1]);
        }
    }

    /** Prints what is there from {@code since} to the end as it is now; returns how many records that were. */
    private static long replay(KafkaConsumer<String, String> consumer, String topic, Instant since) {
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(partition -> new TopicPartition(topic, partition.partition()))
                .toList();
        if (partitions.isEmpty()) {
            throw new IllegalArgumentException("there is no topic " + topic);
        }
        Map<TopicPartition, Long> asked = partitions.stream()
                .collect(Collectors.toMap(partition -> partition, partition -> since.toEpochMilli()));
        Map<TopicPartition, OffsetAndTimestamp> starts = new HashMap<>(consumer.offsetsForTimes(asked));
        starts.values().removeIf(Objects::isNull); // a partition without a record that late
        Map<TopicPartition, Long> ends = consumer.endOffsets(starts.keySet());
        consumer.assign(starts.keySet());
        starts.forEach((partition, start) -> consumer.seek(partition, start.offset()));

        long count = 0;
        Set<TopicPartition> left = new HashSet<>(starts.keySet());
        while (!left.isEmpty()) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
                    count++;
                    System.out.printf("%s partition %d, offset %d: %s=%s%n", TIME.format(Instant.ofEpochMilli(record.timestamp())),
                            record.partition(), record.offset(), record.key(), record.value());
                }
            }
            left.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
        }
        return count;
    }
}
