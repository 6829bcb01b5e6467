import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeConfigsResponseData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResourceCollection;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfigCollection;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceDataCollection;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** Topics that only share groups read, and that stay: what becomes of the records of one that goes is not asked here. */
final class ShareTopics {
    private static final String CONNECTION = "share topics";
    private static final int COUNT = 2;
    private static final int PARTITIONS = 2;
    private static final int RECORDS_MAX = 12;
    /** Of one record. */
    static final int DELIVERIES_MAX = 2;
    /** Versions that name topics. */
    private static final int PRODUCE_SINCE = 3;
    private static final int PRODUCE_BY_NAME_UNTIL = 12;
    private static final byte GROUP = 32;
    /** Kafka's group coordinators hear of a topic some time after its broker serves it, and nothing shows when. */
    private static final long HEARD_MS = 1000;

    private final Runner runner;
    private final Model model;
    private final TopicScenes scenes;
    private final List<Model.Topic> topics = new ArrayList<>();

    ShareTopics(Runner runner, Model model, TopicScenes scenes) {
        this.runner = runner;
        this.model = model;
        this.scenes = scenes;
    }

    /** All of them, which are made now if they were not. */
    List<Model.Topic> all() throws IOException {
        boolean isNew = topics.isEmpty();
        while (topics.size() < COUNT) {
            topics.add(scenes.apart(model.name("shared"), PARTITIONS));
        }
        if (isNew) {
            Runner.pause(HEARD_MS);
        }
        return topics;
    }

    List<Model.Topic> some() throws IOException {
        return model.chance(50) ? List.of(model.any(all())) : List.copyOf(all());
    }

    /** A batch to one partition. */
    void send() throws IOException {
        Model.Topic topic = model.any(all());
        int partition = model.random.nextInt(PARTITIONS);
        List<SimpleRecord> records = new ArrayList<>();
        int count = 1 + model.random.nextInt(RECORDS_MAX);
        for (int n = 0; n < count; n++) {
            records.add(new SimpleRecord(model.nextMs(), null, ("record " + n).getBytes()));
        }
        short version = runner.version(ApiMessageType.PRODUCE, PRODUCE_SINCE, PRODUCE_BY_NAME_UNTIL);
        CompressionType codec = model.any(List.of(CompressionType.NONE, CompressionType.GZIP));
        Step step = new Step(CONNECTION, ApiMessageType.PRODUCE, version, names -> {
            var part = new PartitionProduceData().setIndex(partition).setRecords(Batches.batch(codec, Batches.Author.NONE, records));
            var wanted = new TopicProduceDataCollection();
            wanted.add(new TopicProduceData().setName(topic.name).setPartitionData(List.of(part)));
            return new ProduceRequestData().setAcks((short) -1).setTimeoutMs(Model.TIMEOUT_MS).setTopicData(wanted);
        });
        var answer = (ProduceResponseData) runner.ask(step);
        if (answer.responses().iterator().next().partitionResponses().get(0).errorCode() == 0) {
            topic.logs.get(partition).end += count;
        }
    }

    /**
     * By default a group begins where the logs end when it first asks, which is no two brokers' same moment. Records that
     * come a third time are delivered few at a time, which depends on with which others they came before.
     */
    void settings(String group) throws IOException {
        var wanted = Map.of("share.auto.offset.reset", "earliest", "share.delivery.count.limit", "" + DELIVERIES_MAX);
        var changes = new AlterableConfigCollection();
        wanted.forEach((name, value) -> changes.add(new AlterableConfig().setName(name).setValue(value).setConfigOperation((byte) 0)));
        var resources = new AlterConfigsResourceCollection();
        resources.add(new AlterConfigsResource().setResourceType(GROUP).setResourceName(group).setConfigs(changes));
        var request = new IncrementalAlterConfigsRequestData().setResources(resources);
        short version = runner.version(ApiMessageType.INCREMENTAL_ALTER_CONFIGS);
        runner.ask(new Step(CONNECTION, ApiMessageType.INCREMENTAL_ALTER_CONFIGS, version, names -> request));
        var asked = new DescribeConfigsResource().setResourceType(GROUP).setResourceName(group).setConfigurationKeys(List.copyOf(wanted.keySet()));
        var question = new DescribeConfigsRequestData().setResources(List.of(asked));
        runner.settle("settings of " + group, new Step("", ApiMessageType.DESCRIBE_CONFIGS, (short) 4, names -> question), shown -> {
            var configs = ((DescribeConfigsResponseData) shown).results().get(0).configs();
            return configs.size() == wanted.size() && configs.stream().allMatch(one -> wanted.get(one.name()).equals(one.value()));
        });
    }
}
