import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.utils.ByteUtils;

/** Where the fields of a request stand in its bytes, by Kafka's own schemas. */
final class Grammar {
    enum Kind {
        /** A number of fixed size, a boolean, a UUID. */
        FIXED,
        /** How many elements follow: four bytes, or a varint of one more. */
        COUNT, COMPACT_COUNT,
        /** How many bytes follow: two or four bytes, or a varint of one more. */
        LENGTH, COMPACT_LENGTH,
        /** What a length announced; the spot before it is the length. */
        CONTENT,
        /** One element of an array; `of` is the spot of its count. */
        ELEMENT,
        /** How many tagged fields follow. */
        TAGS
    }

    record Spot(Kind kind, int start, int end, String name, Spot of) {
        int size() {
            return end - start;
        }
    }

    /** Fields of a batch's header: offset and size. */
    private static final int[][] BATCH = {{0, 8}, {8, 4}, {12, 4}, {16, 1}, {17, 4}, {21, 2}, {23, 4}, {27, 8}, {35, 8}, {43, 8},
        {51, 2}, {53, 4}, {57, 4}};
    static final int BATCH_HEADER_BYTES = 61;

    private final ByteBuffer bytes;
    private final List<Spot> spots = new ArrayList<>();

    private Grammar(byte[] frame) {
        bytes = ByteBuffer.wrap(frame);
    }

    /** Fails when the frame is not what its key and version say. */
    static List<Spot> spots(byte[] frame) {
        var grammar = new Grammar(frame);
        ApiMessageType api = ApiMessageType.fromApiKey(grammar.bytes.getShort(0));
        short version = grammar.bytes.getShort(2);
        short headerVersion = api.requestHeaderVersion(version);
        grammar.fixed("api_key", 2);
        grammar.fixed("api_version", 2);
        grammar.fixed("correlation_id", 4);
        if (headerVersion >= 1) {
            grammar.content("client_id", 2, false);
        }
        if (headerVersion >= 2) {
            grammar.tags();
        }
        grammar.walk("", api.requestSchemas()[version]);
        if (grammar.bytes.hasRemaining()) {
            // librdkafka ends its Metadata 13 with fields that only older versions have.
            grammar.fixed("behind", grammar.bytes.remaining());
        }
        return grammar.spots;
    }

    private void walk(String name, Type type) {
        if (type instanceof Schema schema) {
            // A struct that may be missing begins with a byte that says so.
            if (type.isNullable() && fixed(name, 1)[0] < 0) {
                return;
            }
            for (BoundField field : schema.fields()) {
                walk(field.def.name, field.def.type);
            }
        } else if (type instanceof TaggedFields) {
            tags();
        } else if (type.isArray()) {
            array(name, type);
        } else {
            plain(name, type);
        }
    }

    private void array(String name, Type type) {
        boolean compact = type instanceof CompactArrayOf;
        int start = bytes.position();
        int count = compact ? ByteUtils.readUnsignedVarint(bytes) - 1 : bytes.getInt();
        Spot counted = add(compact ? Kind.COMPACT_COUNT : Kind.COUNT, start, name, null);
        for (int n = 0; n < count; n++) {
            int begins = bytes.position();
            int at = spots.size();
            walk(name, type.arrayElementType().orElseThrow());
            spots.add(at, new Spot(Kind.ELEMENT, begins, bytes.position(), name, counted));
        }
    }

    private void plain(String name, Type type) {
        switch (((Type.DocumentedType) type).typeName()) {
            case "STRING", "NULLABLE_STRING" -> content(name, 2, false);
            case "BYTES", "NULLABLE_BYTES" -> content(name, 4, false);
            case "RECORDS", "NULLABLE_RECORDS" -> content(name, 4, true);
            case "COMPACT_STRING", "COMPACT_NULLABLE_STRING", "COMPACT_BYTES", "COMPACT_NULLABLE_BYTES" -> content(name, 0, false);
            case "COMPACT_RECORDS", "COMPACT_NULLABLE_RECORDS" -> content(name, 0, true);
            default -> {
                int start = bytes.position();
                type.read(bytes);
                add(Kind.FIXED, start, name, null);
            }
        }
    }

    /** A length of so many bytes (0: a varint) and what it announces. */
    private void content(String name, int lengthBytes, boolean records) {
        int start = bytes.position();
        int length = switch (lengthBytes) {
            case 0 -> ByteUtils.readUnsignedVarint(bytes) - 1;
            case 2 -> bytes.getShort();
            default -> bytes.getInt();
        };
        Spot announced = add(lengthBytes == 0 ? Kind.COMPACT_LENGTH : Kind.LENGTH, start, name, null);
        int begins = bytes.position();
        bytes.position(begins + Math.max(length, 0));
        add(Kind.CONTENT, begins, name, announced);
        if (records && length >= BATCH_HEADER_BYTES) {
            for (int[] field : BATCH) {
                spots.add(new Spot(Kind.FIXED, begins + field[0], begins + field[0] + field[1], "batch", announced));
            }
        }
    }

    private void tags() {
        int start = bytes.position();
        int count = ByteUtils.readUnsignedVarint(bytes);
        add(Kind.TAGS, start, "tags", null);
        for (int n = 0; n < count; n++) {
            ByteUtils.readUnsignedVarint(bytes);
            int length = ByteUtils.readUnsignedVarint(bytes);
            int begins = bytes.position();
            bytes.position(begins + length);
            add(Kind.FIXED, begins, "tagged", null);
        }
    }

    private byte[] fixed(String name, int size) {
        int start = bytes.position();
        byte[] value = new byte[size];
        bytes.get(value);
        add(Kind.FIXED, start, name, null);
        return value;
    }

    private Spot add(Kind kind, int start, String name, Spot of) {
        Spot spot = new Spot(kind, start, bytes.position(), name, of);
        spots.add(spot);
        return spot;
    }
}
