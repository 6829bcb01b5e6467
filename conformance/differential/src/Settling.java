import java.io.IOException;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.ListOffsetsResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchResponseData;

/** Waits until both brokers have applied what they answered: Kafka's controller answers before its broker knows. */
final class Settling {
    private static final short METADATA = 9;
    private static final short LIST_OFFSETS = 5;
    private static final short OFFSET_FETCH = 7;
    private static final short FIND_COORDINATOR = 2;
    /** Enough to meet all of a few partitions. */
    private static final int COORDINATOR_NAMES = 40;
    private static final long LATEST = -1;

    private final Runner runner;

    Settling(Runner runner) {
        this.runner = runner;
    }

    /** Until producer ids are given out: Kafka's broker asks its controller for the first ones. */
    void producerIds() throws IOException {
        Step step = new Step("", ApiMessageType.INIT_PRODUCER_ID, (short) 0,
                names -> new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(60_000));
        runner.settle("producer ids", step, answer -> ((InitProducerIdResponseData) answer).errorCode() == 0);
    }

    /** Until the offsets topic is made and every partition of it is read. */
    void coordinators() throws IOException {
        for (int n = 0; n < COORDINATOR_NAMES; n++) {
            String group = "nobody-" + n;
            Step find = new Step("", ApiMessageType.FIND_COORDINATOR, FIND_COORDINATOR,
                    names -> new FindCoordinatorRequestData().setKey(group));
            runner.settle("a coordinator", find, answer -> ((FindCoordinatorResponseData) answer).errorCode() == 0);
            Step fetch = new Step("", ApiMessageType.OFFSET_FETCH, OFFSET_FETCH,
                    names -> new OffsetFetchRequestData().setGroupId(group).setTopics(null));
            runner.settle("the coordinator works", fetch, answer -> ((OffsetFetchResponseData) answer).errorCode() == 0);
        }
    }

    void topicServed(String name, int partitions) throws IOException {
        metadata(name, partitions);
        Step step = new Step("", ApiMessageType.LIST_OFFSETS, LIST_OFFSETS, names -> latest(name, partitions));
        runner.settle(name + " is served", step, answer -> ((ListOffsetsResponseData) answer).topics().get(0).partitions()
                .stream().allMatch(partition -> partition.errorCode() == 0));
    }

    /** Until each partition of the topic ends where the model says. */
    void ends(Model.Topic topic) throws IOException {
        Step step = new Step("", ApiMessageType.LIST_OFFSETS, LIST_OFFSETS, names -> latest(topic.name, topic.logs.size()));
        runner.settle(topic.name + " ends where it should", step, answer ->
                ((ListOffsetsResponseData) answer).topics().get(0).partitions().stream().allMatch(
                        partition -> partition.offset() == topic.logs.get(partition.partitionIndex()).end));
    }

    void topicGone(Model.Topic topic, List<Group> groups) throws IOException {
        metadata(topic.name, 0);
        Step step = new Step("", ApiMessageType.LIST_OFFSETS, LIST_OFFSETS, names -> latest(topic.name, 1));
        runner.settle(topic.name + " is served no more", step, answer ->
                ((ListOffsetsResponseData) answer).topics().get(0).partitions().get(0).errorCode() != 0);
        for (Group group : groups) {
            if (group.committed.remove(topic)) {
                Step offsets = new Step("", ApiMessageType.OFFSET_FETCH, OFFSET_FETCH,
                        names -> new OffsetFetchRequestData().setGroupId(group.name).setTopics(null));
                runner.settle("offsets of a deleted topic are forgotten", offsets, answer ->
                        ((OffsetFetchResponseData) answer).topics().stream().noneMatch(one -> one.name().equals(topic.name)));
            }
        }
    }

    private void metadata(String name, int partitions) throws IOException {
        Step step = new Step("", ApiMessageType.METADATA, METADATA, names -> new MetadataRequestData()
                .setAllowAutoTopicCreation(false).setTopics(List.of(new MetadataRequestTopic().setName(name))));
        runner.settle(name + " has " + partitions + " partitions", step, answer -> {
            var topic = ((MetadataResponseData) answer).topics().find(name);
            return topic.partitions().size() == partitions && topic.partitions().stream().allMatch(one -> one.errorCode() == 0);
        });
    }

    private static ListOffsetsRequestData latest(String name, int partitions) {
        var topic = new ListOffsetsTopic().setName(name);
        for (int index = 0; index < partitions; index++) {
            topic.partitions().add(new ListOffsetsPartition().setPartitionIndex(index).setTimestamp(LATEST));
        }
        return new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(topic));
    }
}
