import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.internal.BaseRecords;

/** Kafka's generated message classes: frames of every API and version, and what they hold as JSON. */
final class Messages {
    private static final Map<Class<?>, MethodHandle> WRITERS = new HashMap<>();

    private Messages() {}

    /** A frame without its length: header and body. */
    static ByteBuffer request(ApiMessageType api, short version, int correlation, String client, ApiMessage body) {
        short headerVersion = api.requestHeaderVersion(version);
        var header = new RequestHeaderData()
                .setRequestApiKey(api.apiKey())
                .setRequestApiVersion(version)
                .setCorrelationId(correlation)
                .setClientId(client);
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header, headerVersion).buffer();
        ByteBuffer tail = MessageUtil.toByteBufferAccessor(body, version).buffer();
        ByteBuffer frame = ByteBuffer.allocate(head.remaining() + tail.remaining());
        return frame.put(head).put(tail).flip();
    }

    /** The body of a response; its header was not read yet. Fails when it is not exactly that. */
    static ApiMessage response(ApiMessageType api, short version, int correlation, ByteBuffer frame) {
        var from = new ByteBufferAccessor(frame);
        var header = new ResponseHeaderData(from, api.responseHeaderVersion(version));
        if (header.correlationId() != correlation) {
            throw new IllegalStateException("correlation id " + header.correlationId() + ", expected " + correlation);
        }
        ApiMessage body = api.newResponse();
        body.read(from, version);
        if (from.remaining() > 0) {
            throw new IllegalStateException(from.remaining() + " bytes behind the answer");
        }
        return body;
    }

    /** A message as JSON; the records of a fetch are opened batch by batch. */
    static JsonNode json(ApiMessage message, short version) {
        try {
            JsonNode json = (JsonNode) writer(message.getClass()).invoke(message, version, false);
            if (message instanceof FetchResponseData fetched) {
                openRecords(fetched.responses().stream().map(topic -> topic.partitions().stream().map(one -> one.records()).toList()).toList(), json);
            } else if (message instanceof ShareFetchResponseData fetched) {
                openRecords(fetched.responses().stream().map(topic -> topic.partitions().stream().map(one -> one.records()).toList()).toList(), json);
            }
            return json;
        } catch (RuntimeException | Error error) {
            throw error;
        } catch (Throwable thrown) {
            throw new IllegalStateException(thrown);
        }
    }

    private static MethodHandle writer(Class<?> type) {
        return WRITERS.computeIfAbsent(type, missing -> {
            try {
                Class<?> converter = Class.forName(missing.getName() + "JsonConverter");
                MethodType shape = MethodType.methodType(JsonNode.class, missing, short.class, boolean.class);
                return MethodHandles.lookup().findStatic(converter, "write", shape)
                        .asType(shape.changeParameterType(0, ApiMessage.class).changeReturnType(JsonNode.class));
            } catch (ReflectiveOperationException error) {
                throw new IllegalStateException(error);
            }
        });
    }

    /** Records by topic and partition, as they stand in the answer; null where there are none. */
    private static void openRecords(List<List<BaseRecords>> topics, JsonNode json) {
        for (int t = 0; t < topics.size(); t++) {
            for (int p = 0; p < topics.get(t).size(); p++) {
                ObjectNode shown = (ObjectNode) json.get("responses").get(t).get("partitions").get(p);
                shown.remove("recordsSizeInBytes");
                ArrayNode batches = shown.putArray("records");
                var records = topics.get(t).get(p);
                if (records != null) {
                    Batches.show(records, batches);
                } else {
                    shown.set("records", JsonNodeFactory.instance.nullNode());
                }
            }
        }
    }
}
