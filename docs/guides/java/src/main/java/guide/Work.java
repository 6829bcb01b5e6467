package guide;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Takes jobs from a queue in a share group: {@code Work TOPIC GROUP [COUNT]}. Ends when COUNT jobs are settled, or with Ctrl-C. */
public final class Work {
    /** A job that failed so often is given up. */
    private static final int DELIVERIES_MAX = 3;

    private Work() {}

    public static void main(String[] arguments) throws ExecutionException, InterruptedException {
        if (arguments.length < 2) {
            System.err.println("usage: Work TOPIC GROUP [COUNT]");
            System.exit(2);
        }
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG,
                System.getenv().getOrDefault("BOOTSTRAP_SERVERS", "127.0.0.1:9092"));
        takeAllThatIsThere(settings, arguments[1]);
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, arguments[1]);
        settings.put(ConsumerConfig.SHARE_ACKNOWLEDGEMENT_MODE_CONFIG, "explicit"); // each job is settled by itself
        long count = arguments.length > 2 ? Long.parseLong(arguments[2]) : Long.MAX_VALUE;
        // Closing hands back what is not settled: others get it at once.
        try (var consumer = new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            wakeOnExit(consumer);
            consumer.subscribe(List.of(arguments[0]));
            work(consumer, count);
        } catch (WakeupException ending) {
            // Ctrl-C
        }
    }

    private static void work(KafkaShareConsumer<String, String> consumer, long count) {
        while (count > 0) {
            for (ConsumerRecord<String, String> job : consumer.poll(Duration.ofSeconds(1))) {
                AcknowledgeType outcome = attempt(job);
                consumer.acknowledge(job, outcome);
                if (outcome != AcknowledgeType.RELEASE) {
                    count--;
                }
            }
            // The next poll would say it too, but would not tell what came too late: another may be at that job by now.
            consumer.commitSync().forEach((partition, error) -> error.ifPresent(why ->
                    System.err.printf("partition %d: %s%n", partition.partition(), why.getMessage())));
        }
    }

    /** Does a job. What cannot be done stands for work that fails. */
    private static AcknowledgeType attempt(ConsumerRecord<String, String> job) {
        int delivery = job.deliveryCount().orElse((short) 1);
        boolean done = !job.value().equals("impossible");
        AcknowledgeType outcome = done ? AcknowledgeType.ACCEPT
                : delivery < DELIVERIES_MAX ? AcknowledgeType.RELEASE : AcknowledgeType.REJECT;
        String said = switch (outcome) {
            case ACCEPT -> "done";
            case RELEASE -> "failed, to be tried again";
            default -> "failed, given up";
        };
        System.out.printf("partition %d, offset %d, delivery %d: %s=%s %s%n",
                job.partition(), job.offset(), delivery, job.key(), job.value(), said);
        return outcome;
    }

    /** A group begins with what comes after it. This one also takes what is there already; the broker keeps that for the group. */
    private static void takeAllThatIsThere(Properties settings, String group) throws ExecutionException, InterruptedException {
        try (Admin admin = Admin.create(settings)) {
            var earliest = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), List.of(earliest))).all().get();
        }
    }

    /** Ends poll when the process is told to end, and keeps the process until the consumer is closed. */
    private static void wakeOnExit(KafkaShareConsumer<String, String> consumer) {
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
