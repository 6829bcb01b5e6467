import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceDataCollection;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Producers: plain, idempotent, without acknowledgement, mistaken. */
final class ProduceScenes {
    private static final String CONNECTION = "produce";
    private static final int FIRST_THAT_WORKS = 3;
    private static final int TOPIC_ID_SINCE = 13;
    private static final int ZSTD_SINCE = 7;
    private static final int TIMEOUT_MS = 30_000;
    private static final int PRODUCERS_MAX = 8;

    private final Runner runner;
    private final Model model;
    private final Settling settling;

    ProduceScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
        settling = new Settling(runner);
    }

    /** Where a batch goes, how many records it holds, and how it is made for each broker. */
    private record Part(Model.Topic topic, int partition, int count, Function<Names, MemoryRecords> batch) {}

    void plain() throws IOException {
        short version = runner.version(ApiMessageType.PRODUCE, FIRST_THAT_WORKS);
        List<Part> parts = new ArrayList<>();
        for (Model.Topic topic : model.some(3)) {
            for (int partition : model.partitions(topic, 3)) {
                parts.add(part(version, topic, partition));
            }
        }
        send(version, acks(), parts);
    }

    private short acks() {
        return (short) (model.chance(50) ? -1 : 1);
    }

    private Part part(short version, Model.Topic topic, int partition) {
        CompressionType codec = codec(version);
        List<SimpleRecord> records = records(1 + model.random.nextInt(8));
        return new Part(topic, partition, records.size(), names -> Batches.batch(codec, Batches.Author.NONE, records));
    }

    private CompressionType codec(short version) {
        CompressionType codec = model.chance(50) ? CompressionType.NONE : model.any(List.of(CompressionType.values()));
        return codec == CompressionType.ZSTD && version < ZSTD_SINCE ? CompressionType.GZIP : codec;
    }

    private List<SimpleRecord> records(int count) {
        List<SimpleRecord> records = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            records.add(record(model.nextMs()));
        }
        return records;
    }

    private SimpleRecord record(long timeMs) {
        byte[] key = model.chance(40) ? null : bytes(model.random.nextInt(20));
        byte[] value = model.chance(10) ? null : bytes(model.random.nextInt(model.chance(5) ? 4000 : 60));
        Header[] headers = new Header[model.chance(30) ? model.random.nextInt(3) : 0];
        for (int h = 0; h < headers.length; h++) {
            headers[h] = new RecordHeader("h" + model.random.nextInt(2), model.chance(20) ? null : bytes(model.random.nextInt(9)));
        }
        return new SimpleRecord(timeMs, key, value, headers);
    }

    private byte[] bytes(int count) {
        byte[] bytes = new byte[count];
        for (int at = 0; at < count; at++) {
            bytes[at] = (byte) ('a' + model.random.nextInt(8));
        }
        return bytes;
    }

    /** Sends the parts and moves the model's logs by the reference's answer. */
    private ProduceResponseData send(short version, short acks, List<Part> parts) throws IOException {
        var answer = (ProduceResponseData) runner.ask(step(CONNECTION, version, acks, parts));
        if (answer == null) {
            return null;
        }
        for (var topic : answer.responses()) {
            for (var partition : topic.partitionResponses()) {
                if (partition.errorCode() == 0) {
                    Part part = find(parts, topic.name(), topic.topicId(), partition.index());
                    Model.Log log = part.topic().logs.get(part.partition());
                    log.end = Math.max(log.end, partition.baseOffset() + part.count());
                }
            }
        }
        return answer;
    }

    private static Part find(List<Part> parts, String name, Uuid id, int partition) {
        return parts.stream().filter(part -> part.partition() == partition
                && (part.topic().name.equals(name) || part.topic().id.equals(id))).findFirst().orElseThrow();
    }

    private static Step step(String connection, short version, short acks, List<Part> parts) {
        return new Step(connection, ApiMessageType.PRODUCE, version, names -> {
            Map<Model.Topic, TopicProduceData> byTopic = new LinkedHashMap<>();
            for (Part part : parts) {
                Model.Topic topic = part.topic();
                byTopic.computeIfAbsent(topic, any -> version < TOPIC_ID_SINCE ? new TopicProduceData().setName(topic.name)
                                : new TopicProduceData().setTopicId(names.topic(topic.id)))
                        .partitionData().add(new PartitionProduceData().setIndex(part.partition()).setRecords(part.batch().apply(names)));
            }
            var topics = new TopicProduceDataCollection();
            topics.addAll(byTopic.values());
            return new ProduceRequestData().setAcks(acks).setTimeoutMs(TIMEOUT_MS).setTopicData(topics);
        });
    }

    void newProducer() throws IOException {
        short version = runner.version(ApiMessageType.INIT_PRODUCER_ID);
        boolean again = version >= 3 && !model.producers.isEmpty() && model.chance(30);
        Model.Producer old = again ? model.any(model.producers) : null;
        Step step = new Step(CONNECTION, ApiMessageType.INIT_PRODUCER_ID, version, names -> {
            var request = new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000);
            return old == null ? request : request.setProducerId(names.producer(old.id)).setProducerEpoch(old.epoch);
        });
        var answer = (InitProducerIdResponseData) runner.ask(step);
        if (answer.errorCode() == 0) {
            model.producers.add(new Model.Producer(answer.producerId(), answer.producerEpoch()));
            if (model.producers.size() > PRODUCERS_MAX) {
                model.producers.remove(0);
            }
        }
    }

    /** The next batch of an idempotent producer, or the last once more, or one out of order, or of another epoch. */
    void idempotent() throws IOException {
        if (model.producers.isEmpty()) {
            newProducer();
            return;
        }
        short version = runner.version(ApiMessageType.PRODUCE, FIRST_THAT_WORKS);
        Model.Producer producer = model.any(model.producers);
        Model.Topic topic = model.any(model.topics);
        int partition = model.random.nextInt(topic.logs.size());
        Model.Log log = topic.logs.get(partition);
        int next = log.sequence.getOrDefault(producer, 0);
        Model.Sent last = log.last.get(producer);
        int mistake = model.random.nextInt(20);
        Model.Sent sent = new Model.Sent(next, 1 + model.random.nextInt(4), model.nextMs());
        short epoch = producer.epoch;
        if (mistake == 0) {
            sent = new Model.Sent(next + 1 + model.random.nextInt(5), 1, model.nextMs());
        } else if (mistake < 4 && last != null) {
            sent = last;
        } else if (mistake == 4) {
            epoch++;
        } else if (mistake == 5 && last != null) {
            sent = new Model.Sent(last.sequence(), last.count() + 1, model.nextMs());
        }
        CompressionType codec = codec(version);
        var records = sequenced(sent);
        int first = sent.sequence();
        short used = epoch;
        Part part = new Part(topic, partition, sent.count(), names -> Batches.batch(codec,
                new Batches.Author(names.producer(producer.id), used, first), records));
        var answer = send(version, acks(), List.of(part));
        boolean taken = answer.responses().iterator().next().partitionResponses().get(0).errorCode() == 0;
        if (taken && epoch == producer.epoch && sent != last) {
            log.sequence.put(producer, sent.sequence() + sent.count());
            log.last.put(producer, sent);
        } else if (taken && epoch != producer.epoch) {
            // The new epoch is the producer's from now on, here; elsewhere the old one still works.
            model.producers.remove(producer);
        }
    }

    private List<SimpleRecord> sequenced(Model.Sent sent) {
        List<SimpleRecord> records = new ArrayList<>();
        for (int n = 0; n < sent.count(); n++) {
            records.add(new SimpleRecord(sent.firstMs(), null, ("sequence " + (sent.sequence() + n)).getBytes()));
        }
        return records;
    }

    /** acks=0: nothing is answered, but to the request behind it; a mistake closes the connection. */
    void unacknowledged() throws IOException {
        short version = runner.version(ApiMessageType.PRODUCE, FIRST_THAT_WORKS);
        boolean mistake = model.chance(30);
        Model.Topic topic = model.any(model.topics);
        int partition = mistake ? topic.logs.size() : model.random.nextInt(topic.logs.size());
        Part part = part(version, topic, partition);
        Step behind = new Step("unacknowledged", ApiMessageType.API_VERSIONS, (short) 0, names -> new ApiVersionsRequestData());
        runner.askBehind(step("unacknowledged", version, (short) 0, List.of(part)), behind);
        if (!mistake && fits(part)) {
            topic.logs.get(partition).end += part.count();
        }
        settling.ends(topic);
    }

    private static boolean fits(Part part) {
        return part.batch().apply((kind, value) -> value).sizeInBytes() <= part.topic().batchBytesMax;
    }

    void mistaken() throws IOException {
        short version = runner.version(ApiMessageType.PRODUCE, FIRST_THAT_WORKS);
        Model.Topic topic = model.any(model.topics);
        int partition = model.random.nextInt(topic.logs.size());
        List<SimpleRecord> few = List.of(new SimpleRecord(model.nextMs(), null, bytes(5)));
        Part good = new Part(topic, partition, 1, names -> Batches.batch(CompressionType.NONE, Batches.Author.NONE, few));
        int attributesAt = 21;
        boolean badAcks = model.chance(10);
        Part part = badAcks ? good : switch (model.random.nextInt(11)) {
            case 0 -> new Part(new Model.Topic(model.name("unknown"), new Uuid(7, model.random.nextLong()), 1), 0, 1, good.batch());
            case 1 -> new Part(topic, topic.logs.size() + model.random.nextInt(3), 1, good.batch());
            case 2 -> new Part(topic, -1, 1, good.batch());
            case 3 -> changed(good, 17, 1, false);
            case 4 -> changed(good, attributesAt + 1, 0x20, true);
            case 5 -> changed(good, attributesAt + 1, 0x10, true);
            case 6 -> changed(good, 26, 1, true);
            case 7 -> new Part(topic, partition, 1, names -> MemoryRecords.EMPTY);
            case 8 -> twice(good);
            case 9 -> late(version, topic, partition);
            // Records that are null are left out: Kafka never answers them.
            default -> large(topic, partition);
        };
        short acks = badAcks ? (short) 2 : acks();
        send(version, acks, List.of(part));
    }

    /** A batch with one byte changed; `sealed` gives it the checksum it then needs. */
    private static Part changed(Part good, int at, int mask, boolean sealed) {
        return new Part(good.topic(), good.partition(), good.count(), names -> {
            ByteBuffer bytes = copy(good.batch().apply(names));
            bytes.put(at, (byte) (bytes.get(at) ^ mask));
            return MemoryRecords.readableRecords(sealed ? Batches.sealed(bytes) : bytes);
        });
    }

    private static Part twice(Part good) {
        return new Part(good.topic(), good.partition(), good.count(), names -> {
            ByteBuffer once = copy(good.batch().apply(names));
            ByteBuffer both = ByteBuffer.allocate(2 * once.remaining());
            return MemoryRecords.readableRecords(both.put(once.duplicate()).put(once).flip());
        });
    }

    private static ByteBuffer copy(MemoryRecords records) {
        ByteBuffer bytes = ByteBuffer.allocate(records.sizeInBytes());
        return bytes.put(records.buffer().duplicate()).flip();
    }

    /** A record of the year 2200: more than an hour ahead. */
    private Part late(short version, Model.Topic topic, int partition) {
        CompressionType codec = codec(version);
        var records = List.of(record(7_258_118_400_000L));
        return new Part(topic, partition, 1, names -> Batches.batch(codec, Batches.Author.NONE, records));
    }

    private Part large(Model.Topic topic, int partition) {
        int over = Math.min(topic.batchBytesMax, 30_000);
        var records = List.of(new SimpleRecord(model.nextMs(), null, bytes(over)));
        return new Part(topic, partition, 1, names -> Batches.batch(CompressionType.NONE, Batches.Author.NONE, records));
    }
}
