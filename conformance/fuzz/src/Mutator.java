import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32C;
import org.apache.kafka.common.utils.ByteUtils;

/** Changes requests: fields to what no client sends, and bytes to anything. */
final class Mutator {
    private static final long[] EXTREMES = {0, -1, 1, -2, Integer.MAX_VALUE, Integer.MIN_VALUE, Long.MAX_VALUE, Long.MIN_VALUE,
        Short.MAX_VALUE, Short.MIN_VALUE, 127, -128, 255, 65_536, 1 << 30};
    private static final int[] SIZES = {0, -1, 1, -2, 2, 127, 128, 1000, 65_535, 1 << 20, 1 << 30, Integer.MAX_VALUE, Integer.MIN_VALUE};
    private static final String[] TEXTS = {"", " ", ".", "..", "a/b", "\u0000", "__consumer_offsets", "__cluster_metadata", "\ud83d\ude00",
        "x".repeat(249), "x".repeat(250), "x".repeat(40_000), "recorded", "recorded-too", "\n", "%s%n", "-1", "ä"};
    private static final byte[][] NO_TEXT = {{(byte) 0xff}, {(byte) 0xc0, (byte) 0x80}, {(byte) 0xed, (byte) 0xa0, (byte) 0x80}};
    private static final int COPIES_MAX = 40;

    private final Random random;

    Mutator(Random random) {
        this.random = random;
    }

    /** Some fields of a well-formed frame changed. */
    byte[] fields(byte[] frame, List<Grammar.Spot> spots) {
        Grammar.Spot spot = spots.get(random.nextInt(spots.size()));
        if (spot.name().equals("batch") || spot.kind() == Grammar.Kind.CONTENT && spot.size() > Grammar.BATCH_HEADER_BYTES && random.nextBoolean()) {
            return batch(frame, spot);
        }
        byte[] changed = frame;
        // From the end: what stands before keeps its place.
        int limit = frame.length + 1;
        for (int n = random.nextInt(3); n >= 0 && spot != null; n--) {
            changed = field(changed, spot);
            limit = spot.of() == null ? spot.start() : spot.of().start();
            spot = before(spots, limit);
        }
        return changed;
    }

    private Grammar.Spot before(List<Grammar.Spot> spots, int limit) {
        Grammar.Spot spot = spots.get(random.nextInt(spots.size()));
        return spot.end() <= limit && !spot.name().equals("batch") ? spot : null;
    }

    private byte[] field(byte[] frame, Grammar.Spot spot) {
        return switch (spot.kind()) {
            case FIXED -> splice(frame, spot.start(), spot.end(), number(frame, spot));
            case COUNT -> splice(frame, spot.start(), spot.end(), int32(size(ByteBuffer.wrap(frame).getInt(spot.start()))));
            case LENGTH -> splice(frame, spot.start(), spot.end(), spot.size() == 2
                    ? int16((short) size(ByteBuffer.wrap(frame).getShort(spot.start())))
                    : int32(size(ByteBuffer.wrap(frame).getInt(spot.start()))));
            case COMPACT_COUNT, COMPACT_LENGTH -> splice(frame, spot.start(), spot.end(), varint(size(0)));
            case CONTENT -> content(frame, spot);
            case ELEMENT -> element(frame, spot);
            case TAGS -> tags(frame, spot);
        };
    }

    private byte[] number(byte[] frame, Grammar.Spot spot) {
        byte[] bytes = new byte[spot.size()];
        int kind = random.nextInt(4);
        if (kind == 0) {
            random.nextBytes(bytes);
            return bytes;
        }
        long value = kind == 1 ? neighbour(frame, spot) : EXTREMES[random.nextInt(EXTREMES.length)];
        for (int at = bytes.length - 1, shift = 0; at >= 0; at--, shift += 8) {
            bytes[at] = (byte) (value >> Math.min(shift, 63));
        }
        return bytes;
    }

    private long neighbour(byte[] frame, Grammar.Spot spot) {
        long value = 0;
        for (int at = spot.start(); at < spot.end(); at++) {
            value = value << 8 | frame[at] & 0xff;
        }
        return value + (random.nextBoolean() ? 1 : -1);
    }

    private int size(int now) {
        return random.nextInt(3) == 0 ? now + random.nextInt(5) - 2 : SIZES[random.nextInt(SIZES.length)];
    }

    /** Other contents under a length that fits. */
    private byte[] content(byte[] frame, Grammar.Spot spot) {
        byte[] text = switch (random.nextInt(4)) {
            case 0 -> NO_TEXT[random.nextInt(NO_TEXT.length)];
            case 1 -> random(random.nextInt(100));
            default -> TEXTS[random.nextInt(TEXTS.length)].getBytes(StandardCharsets.UTF_8);
        };
        Grammar.Spot length = spot.of();
        byte[] announced = length.kind() == Grammar.Kind.COMPACT_LENGTH ? varint(text.length + 1)
                : length.size() == 2 ? int16((short) text.length) : int32(text.length);
        return splice(splice(frame, spot.start(), spot.end(), text), length.start(), length.end(), announced);
    }

    /** An element goes, or comes again and again. */
    private byte[] element(byte[] frame, Grammar.Spot spot) {
        int more = random.nextInt(3) == 0 ? -1 : 1 + random.nextInt(COPIES_MAX);
        byte[] one = Arrays.copyOfRange(frame, spot.start(), spot.end());
        byte[] all = new byte[one.length * (1 + more)];
        for (int at = 0; at < all.length; at += one.length) {
            System.arraycopy(one, 0, all, at, one.length);
        }
        Grammar.Spot count = spot.of();
        byte[] changed = splice(frame, spot.start(), spot.end(), all);
        if (count.kind() == Grammar.Kind.COUNT) {
            return splice(changed, count.start(), count.end(), int32(ByteBuffer.wrap(frame).getInt(count.start()) + more));
        }
        int now = ByteUtils.readUnsignedVarint(ByteBuffer.wrap(frame, count.start(), count.size()));
        return splice(changed, count.start(), count.end(), varint(now + more));
    }

    /** Tagged fields that nobody knows, and lies about them. */
    private byte[] tags(byte[] frame, Grammar.Spot spot) {
        if (spot.size() != 1 || frame[spot.start()] != 0 || random.nextInt(4) == 0) {
            return splice(frame, spot.start(), spot.end(), varint(size(1)));
        }
        int count = 1 + random.nextInt(3);
        byte[] fields = varint(count);
        for (int n = 0; n < count; n++) {
            byte[] field = random(random.nextInt(30));
            int length = random.nextInt(5) == 0 ? size(field.length) : field.length;
            fields = join(fields, varint(random.nextBoolean() ? n : random.nextInt(100_000)), varint(length), field);
        }
        return splice(frame, spot.start(), spot.end(), fields);
    }

    /** Changes inside of a record batch; mostly under a checksum that fits. */
    private byte[] batch(byte[] frame, Grammar.Spot spot) {
        byte[] changed = frame.clone();
        int start = spot.kind() == Grammar.Kind.CONTENT ? spot.start() : spot.of().end();
        int end = start + (spot.kind() == Grammar.Kind.CONTENT ? spot.size() : length(frame, spot.of()));
        if (spot.kind() == Grammar.Kind.CONTENT) {
            int at = start + Grammar.BATCH_HEADER_BYTES + random.nextInt(Math.max(1, spot.size() - Grammar.BATCH_HEADER_BYTES));
            changed[at] = (byte) random.nextInt();
        } else {
            System.arraycopy(number(frame, spot), 0, changed, spot.start(), spot.size());
        }
        if (end - start >= Grammar.BATCH_HEADER_BYTES && random.nextInt(4) > 0) {
            var sum = new CRC32C();
            sum.update(changed, start + 21, end - start - 21);
            ByteBuffer.wrap(changed).putInt(start + 17, (int) sum.getValue());
        }
        return changed;
    }

    private static int length(byte[] frame, Grammar.Spot length) {
        var bytes = ByteBuffer.wrap(frame, length.start(), length.size());
        return length.kind() == Grammar.Kind.COMPACT_LENGTH ? ByteUtils.readUnsignedVarint(bytes) - 1 : bytes.getInt();
    }

    /** Any bytes changed: flipped, cut, doubled, put in, or continued by another frame. */
    byte[] bytes(byte[] frame, byte[] other) {
        byte[] changed = frame.clone();
        int at = random.nextInt(frame.length);
        switch (random.nextInt(5)) {
            case 0 -> {
                for (int n = 1 + random.nextInt(8); n > 0; n--) {
                    changed[random.nextInt(changed.length)] ^= (byte) (1 << random.nextInt(8));
                }
            }
            case 1 -> changed = Arrays.copyOf(changed, at);
            case 2 -> changed = join(Arrays.copyOf(changed, at), Arrays.copyOfRange(other, Math.min(at, other.length - 1), other.length));
            case 3 -> changed = splice(changed, at, at, random(1 + random.nextInt(200)));
            default -> changed = splice(changed, at, Math.min(at + 1 + random.nextInt(20), changed.length), new byte[0]);
        }
        return changed;
    }

    private byte[] random(int count) {
        byte[] bytes = new byte[count];
        random.nextBytes(bytes);
        return bytes;
    }

    static byte[] splice(byte[] bytes, int start, int end, byte[] with) {
        byte[] all = new byte[bytes.length - (end - start) + with.length];
        System.arraycopy(bytes, 0, all, 0, start);
        System.arraycopy(with, 0, all, start, with.length);
        System.arraycopy(bytes, end, all, start + with.length, bytes.length - end);
        return all;
    }

    private static byte[] join(byte[]... pieces) {
        int length = Arrays.stream(pieces).mapToInt(piece -> piece.length).sum();
        ByteBuffer all = ByteBuffer.allocate(length);
        for (byte[] piece : pieces) {
            all.put(piece);
        }
        return all.array();
    }

    private static byte[] int16(short value) {
        return ByteBuffer.allocate(2).putShort(value).array();
    }

    static byte[] int32(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }

    static byte[] varint(int value) {
        ByteBuffer bytes = ByteBuffer.allocate(ByteUtils.sizeOfUnsignedVarint(value));
        ByteUtils.writeUnsignedVarint(value, bytes);
        return bytes.array();
    }
}
