import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgePartition;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgeTopic;
import org.apache.kafka.common.message.ShareFetchRequestData;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchPartition;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchTopic;
import org.apache.kafka.common.message.ShareFetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.ShareGroupHeartbeatRequestData;

/** What members of a share group ask, as a step. */
final class ShareRequests {
    static final byte ACCEPT = 1;
    static final byte RELEASE = 2;
    static final byte REJECT = 3;
    static final byte RENEW = 4;
    static final int MODES_SINCE = 2;
    private static final int BYTES_MAX = 1 << 24;

    private final Runner runner;

    ShareRequests(Runner runner) {
        this.runner = runner;
    }

    /** What is said of the records from `first` to `last`: one type for all, or one for each. */
    record Verdict(Queue.Place place, long first, long last, List<Byte> types) {
        boolean renews() {
            return types.contains(RENEW);
        }
    }

    /** How much a fetch may bring. */
    record Limits(int records, int batch, boolean strict, int waitMs) {
        static final int ALL = 100_000;
        static final Limits NONE = new Limits(ALL, ALL, false, 0);

        Limits waiting(int ms) {
            return new Limits(records, batch, strict, ms);
        }
    }

    Step heartbeat(Queue queue, Queue.Taker taker, int epoch, List<String> topics) {
        short version = runner.version(ApiMessageType.SHARE_GROUP_HEARTBEAT);
        return new Step(taker.connection, ApiMessageType.SHARE_GROUP_HEARTBEAT, version, names -> new ShareGroupHeartbeatRequestData()
                .setGroupId(queue.name).setMemberId(taker.id).setMemberEpoch(epoch).setSubscribedTopicNames(topics));
    }

    /** Verdicts go with places that are in the session; a request that renews fetches nothing. */
    Step fetch(Queue queue, Queue.Taker taker, int sessionEpoch, List<Queue.Place> added, List<Queue.Place> forgotten, List<Verdict> verdicts,
            Limits limits) {
        boolean renews = verdicts.stream().anyMatch(Verdict::renews);
        short version = runner.version(ApiMessageType.SHARE_FETCH, renews || limits.strict() ? MODES_SINCE : 0);
        Map<Queue.Place, List<Verdict>> byPlace = byPlace(added, verdicts);
        return new Step(taker.connection, ApiMessageType.SHARE_FETCH, version, names -> {
            var request = new ShareFetchRequestData().setGroupId(queue.name).setMemberId(taker.id).setShareSessionEpoch(sessionEpoch)
                    .setMaxWaitMs(renews ? 0 : limits.waitMs()).setMinBytes(renews ? 0 : 1).setMaxBytes(renews ? 0 : BYTES_MAX)
                    .setMaxRecords(renews ? 0 : limits.records()).setBatchSize(limits.batch());
            if (version >= MODES_SINCE) {
                request.setShareAcquireMode((byte) (limits.strict() ? 1 : 0)).setIsRenewAck(renews);
            }
            byPlace.forEach((place, said) -> {
                Uuid id = names.topic(place.topic().id);
                var topic = request.topics().find(id);
                if (topic == null) {
                    topic = new FetchTopic().setTopicId(id);
                    request.topics().add(topic);
                }
                var partition = new FetchPartition().setPartitionIndex(place.partition());
                said.forEach(one -> partition.acknowledgementBatches().add(new ShareFetchRequestData.AcknowledgementBatch()
                        .setFirstOffset(one.first()).setLastOffset(one.last()).setAcknowledgeTypes(one.types())));
                topic.partitions().add(partition);
            });
            forgotten.forEach(place -> request.forgottenTopicsData().add(
                    new ForgottenTopic().setTopicId(names.topic(place.topic().id)).setPartitions(List.of(place.partition()))));
            return request;
        });
    }

    Step acknowledge(Queue queue, Queue.Taker taker, int sessionEpoch, List<Verdict> verdicts) {
        boolean renews = verdicts.stream().anyMatch(Verdict::renews);
        short version = runner.version(ApiMessageType.SHARE_ACKNOWLEDGE, renews ? MODES_SINCE : 0);
        Map<Queue.Place, List<Verdict>> byPlace = byPlace(List.of(), verdicts);
        return new Step(taker.connection, ApiMessageType.SHARE_ACKNOWLEDGE, version, names -> {
            var request = new ShareAcknowledgeRequestData().setGroupId(queue.name).setMemberId(taker.id).setShareSessionEpoch(sessionEpoch);
            if (version >= MODES_SINCE) {
                request.setIsRenewAck(renews);
            }
            byPlace.forEach((place, said) -> {
                Uuid id = names.topic(place.topic().id);
                var topic = request.topics().find(id);
                if (topic == null) {
                    topic = new AcknowledgeTopic().setTopicId(id);
                    request.topics().add(topic);
                }
                var partition = new AcknowledgePartition().setPartitionIndex(place.partition());
                said.forEach(one -> partition.acknowledgementBatches().add(new ShareAcknowledgeRequestData.AcknowledgementBatch()
                        .setFirstOffset(one.first()).setLastOffset(one.last()).setAcknowledgeTypes(one.types())));
                topic.partitions().add(partition);
            });
            return request;
        });
    }

    private static Map<Queue.Place, List<Verdict>> byPlace(List<Queue.Place> places, List<Verdict> verdicts) {
        Map<Queue.Place, List<Verdict>> all = new LinkedHashMap<>();
        places.forEach(place -> all.put(place, new ArrayList<>()));
        verdicts.forEach(one -> all.computeIfAbsent(one.place(), any -> new ArrayList<>()).add(one));
        return all;
    }
}
