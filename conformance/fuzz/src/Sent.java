import java.nio.ByteBuffer;
import org.apache.kafka.common.message.ApiMessageType;

/**
 * One frame on its way, length prefix included.
 *
 * @param whole a request as a client could have sent it: the broker owes an answer that can be read
 * @param framed its length prefix is true, so the broker finds the next frame
 */
record Sent(byte[] bytes, int correlation, ApiMessageType api, short version, boolean whole, boolean framed) {
    private static final int API_AT = 4;
    private static final int CORRELATION_AT = 8;

    /** The API that the broker sees. */
    short keySeen() {
        return bytes.length >= API_AT + 2 ? ByteBuffer.wrap(bytes).getShort(API_AT) : -1;
    }

    /** Whether an answer with this correlation id may be to it. */
    boolean isAnsweredAs(int seen) {
        return bytes.length >= CORRELATION_AT + 4 && ByteBuffer.wrap(bytes).getInt(CORRELATION_AT) == seen;
    }

    /** It may take its time: fetches wait for records, members for each other. */
    boolean mayWait() {
        short key = keySeen();
        return key == ApiMessageType.FETCH.apiKey() || key == ApiMessageType.JOIN_GROUP.apiKey()
                || key == ApiMessageType.SYNC_GROUP.apiKey();
    }

    /** With acks=0 there is no answer. */
    boolean mayBeSilent() {
        return keySeen() == ApiMessageType.PRODUCE.apiKey();
    }
}
