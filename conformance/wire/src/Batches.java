import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Record batches: made for a producer, and shown as JSON. */
final class Batches {
    /** Where the attributes begin: what stands before is the broker's (offset, epoch) or derived (length, CRC). */
    private static final int ATTRIBUTES_AT = DefaultRecordBatch.CRC_OFFSET + 4;

    /** To begin with: it grows. */
    private static final int ROOM_BYTES = 1024;

    private Batches() {}

    /** Who produces: -1 for nobody in particular. */
    record Author(long id, short epoch, int sequence) {
        static final Author NONE =
                new Author(RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE);
    }

    /** One batch of magic 2, as a producer sends it. */
    static MemoryRecords batch(CompressionType codec, Author author, List<SimpleRecord> records) {
        try (var builder = MemoryRecords.builder(ByteBuffer.allocate(ROOM_BYTES), RecordBatch.MAGIC_VALUE_V2,
                Compression.of(codec).build(), TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP, author.id(),
                author.epoch(), author.sequence())) {
            records.forEach(builder::append);
            return builder.build();
        }
    }

    /** The batch with the checksum of what it holds. */
    static ByteBuffer sealed(ByteBuffer batch) {
        var sum = new CRC32C();
        sum.update(batch.duplicate().position(ATTRIBUTES_AT));
        return batch.putInt(DefaultRecordBatch.CRC_OFFSET, (int) sum.getValue());
    }

    /** Whole batches field by field; what follows the last whole one is not shown. */
    static void show(BaseRecords records, ArrayNode into) {
        for (MutableRecordBatch batch : ((MemoryRecords) records).batches()) {
            ObjectNode shown = into.addObject();
            shown.put("baseOffset", batch.baseOffset());
            shown.put("lastOffset", batch.lastOffset());
            shown.put("leaderEpoch", batch.partitionLeaderEpoch());
            shown.put("magic", batch.magic());
            shown.put("valid", batch.isValid());
            shown.put("codec", batch.compressionType().name);
            shown.put("timestampType", batch.timestampType().name);
            shown.put("maxTimestamp", batch.maxTimestamp());
            shown.put("producerId", batch.producerId());
            shown.put("producerEpoch", batch.producerEpoch());
            shown.put("baseSequence", batch.baseSequence());
            shown.put("count", batch.countOrNull());
            shown.put("sizeInBytes", batch.sizeInBytes());
            shown.put("records", contents(batch));
        }
    }

    /** The records' bytes and the attributes as a checksum: not what is shown by itself. */
    private static String contents(MutableRecordBatch batch) {
        ByteBuffer bytes = ByteBuffer.allocate(batch.sizeInBytes());
        batch.writeTo(bytes);
        var sum = new CRC32();
        sum.update(bytes.array(), ATTRIBUTES_AT, 2);
        int at = DefaultRecordBatch.RECORDS_COUNT_OFFSET;
        sum.update(bytes.array(), at, batch.sizeInBytes() - at);
        return Long.toHexString(sum.getValue());
    }
}
