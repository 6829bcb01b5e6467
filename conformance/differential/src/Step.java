import java.util.function.Function;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** One request to both brokers: each gets it in its own names. */
record Step(String connection, ApiMessageType api, short version, Function<Names, ApiMessage> request) {}
