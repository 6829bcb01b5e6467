import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.CreatePartitionsRequestData;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsAssignment;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsTopic;
import org.apache.kafka.common.message.CreatePartitionsRequestData.CreatePartitionsTopicCollection;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableReplicaAssignment;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicCollection;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicConfig;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.DeleteTopicsRequestData;
import org.apache.kafka.common.message.DeleteTopicsRequestData.DeleteTopicState;
import org.apache.kafka.common.message.DeleteTopicsResponseData;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData.Cursor;
import org.apache.kafka.common.message.DescribeTopicPartitionsRequestData.TopicRequest;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataRequestData.MetadataRequestTopic;
import org.apache.kafka.common.message.MetadataResponseData;

/** Topics come, grow, go and are described. */
final class TopicScenes {
    private static final String CONNECTION = "topics";
    private static final int TOPICS_MAX = 12;
    private static final int TOPICS_MIN = 4;
    private static final int PARTITIONS_MAX = 8;
    /** num.partitions of both brokers. */
    private static final int PARTITIONS_DEFAULT = 2;
    /** First version in which a topic may be deleted by its id, and in which CreateTopics tells it. */
    private static final int DELETE_BY_ID_SINCE = 6;
    private static final int CREATE_TELLS_ID_SINCE = 7;
    private static final int METADATA_BY_ID_SINCE = 12;
    private static final int DEFAULTS_SINCE = 4;

    private final Runner runner;
    private final Model model;
    private final Settling settling;

    TopicScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
        settling = new Settling(runner);
    }

    void first() throws IOException {
        while (model.topics.size() < TOPICS_MIN) {
            create();
        }
    }

    void create() throws IOException {
        if (model.topics.size() >= TOPICS_MAX) {
            delete();
            return;
        }
        short version = runner.version(ApiMessageType.CREATE_TOPICS);
        boolean onlyValidate = model.topics.size() >= TOPICS_MIN && model.chance(10);
        var wanted = new CreatableTopicCollection();
        int count = 1 + model.random.nextInt(2);
        for (int n = 0; n < count; n++) {
            wanted.add(model.topics.size() >= TOPICS_MIN && model.chance(25) ? mistaken(version) : valid(version));
        }
        var request = new CreateTopicsRequestData().setTopics(wanted).setTimeoutMs(model.timeoutMs()).setValidateOnly(onlyValidate);
        var answer = (CreateTopicsResponseData) runner.ask(
                new Step(CONNECTION, ApiMessageType.CREATE_TOPICS, version, names -> request));
        for (var created : answer.topics()) {
            if (created.errorCode() == 0 && !onlyValidate) {
                CreatableTopic asked = wanted.find(created.name());
                int asDefault = asked.numPartitions() < 0 ? PARTITIONS_DEFAULT : asked.numPartitions();
                int partitions = asked.assignments().isEmpty() ? asDefault : asked.assignments().size();
                Uuid id = learnId(created.name(), partitions);
                remember(asked, new Model.Topic(created.name(), id, partitions));
            }
        }
    }

    /** A topic that these scenes do not touch again. */
    Model.Topic apart(String name, int partitions) throws IOException {
        short version = runner.version(ApiMessageType.CREATE_TOPICS);
        var wanted = new CreatableTopicCollection();
        wanted.add(new CreatableTopic().setName(name).setReplicationFactor((short) 1).setNumPartitions(partitions));
        var request = new CreateTopicsRequestData().setTopics(wanted).setTimeoutMs(Model.TIMEOUT_MS);
        runner.ask(new Step(CONNECTION, ApiMessageType.CREATE_TOPICS, version, names -> request));
        return new Model.Topic(name, learnId(name, partitions), partitions);
    }

    private void remember(CreatableTopic asked, Model.Topic topic) {
        for (CreatableTopicConfig config : asked.configs()) {
            if (config.name().equals("message.timestamp.type")) {
                topic.stampedByBroker = config.value().equals("LogAppendTime");
            } else if (config.name().equals("max.message.bytes")) {
                topic.batchBytesMax = Integer.parseInt(config.value());
            }
        }
        model.topics.add(topic);
    }

    /** Waits for the topic, and has its id compared, so that both names of it are known. */
    private Uuid learnId(String name, int partitions) throws IOException {
        settling.topicServed(name, partitions);
        short version = runner.version(ApiMessageType.METADATA, METADATA_BY_ID_SINCE);
        var asked = new MetadataRequestData().setTopics(List.of(new MetadataRequestTopic().setName(name)));
        var answer = (MetadataResponseData) runner.ask(new Step(CONNECTION, ApiMessageType.METADATA, version, names -> asked));
        return answer.topics().find(name).topicId();
    }

    private CreatableTopic valid(short version) {
        var topic = new CreatableTopic().setName(model.name("topic")).setReplicationFactor((short) 1)
                .setNumPartitions(1 + model.random.nextInt(4));
        if (version >= DEFAULTS_SINCE && model.chance(20)) {
            topic.setNumPartitions(-1).setReplicationFactor((short) -1);
        } else if (model.chance(20)) {
            topic.setNumPartitions(-1).setReplicationFactor((short) -1);
            for (int index = 0; index < 2; index++) {
                topic.assignments().add(new CreatableReplicaAssignment().setPartitionIndex(index).setBrokerIds(List.of(1)));
            }
        }
        if (model.chance(40)) {
            config(topic, model.any(List.of("retention.ms", "segment.ms")), Model.LONG_MS);
        }
        if (model.chance(20)) {
            config(topic, "message.timestamp.type", "LogAppendTime");
        }
        if (model.chance(20)) {
            config(topic, "max.message.bytes", model.any(List.of("1000", "20000")));
        }
        return topic;
    }

    private CreatableTopic mistaken(short version) {
        CreatableTopic topic = valid(version);
        switch (model.random.nextInt(9)) {
            case 0 -> topic.setName(model.any(model.topics).name);
            case 1 -> topic.setName(model.any(List.of("", ".", "..", "a topic", "x".repeat(250), "ä", "a\nb")));
            case 2 -> config(topic, "no.such.setting", "1");
            case 3 -> config(topic, "retention.bytes", "many");
            case 4 -> config(topic, "segment.bytes", null);
            case 5 -> topic.setNumPartitions(0);
            case 6 -> topic.setReplicationFactor((short) 2);
            case 7 -> topic.assignments().add(new CreatableReplicaAssignment().setPartitionIndex(3).setBrokerIds(List.of(1)));
            default -> topic.setReplicationFactor((short) 0);
        }
        return topic;
    }

    private static void config(CreatableTopic topic, String name, String value) {
        topic.configs().add(new CreatableTopicConfig().setName(name).setValue(value));
    }

    void delete() throws IOException {
        if (model.topics.size() <= TOPICS_MIN) {
            create();
            return;
        }
        short version = runner.version(ApiMessageType.DELETE_TOPICS);
        List<Model.Topic> leave = model.chance(85) ? List.of(model.any(model.topics)) : List.of();
        boolean byId = version >= DELETE_BY_ID_SINCE && model.chance(60);
        boolean mistake = leave.isEmpty() || model.chance(15);
        String unknown = model.name("unknown");
        Uuid unknownId = new Uuid(model.random.nextLong(), model.random.nextLong());
        int timeoutMs = model.timeoutMs();
        Step step = new Step(CONNECTION, ApiMessageType.DELETE_TOPICS, version, names -> {
            var request = new DeleteTopicsRequestData().setTimeoutMs(timeoutMs);
            List<String> byName = new ArrayList<>(leave.stream().map(topic -> topic.name).toList());
            if (mistake) {
                byName.add(unknown);
            }
            if (version < DELETE_BY_ID_SINCE) {
                return request.setTopicNames(byName);
            }
            List<DeleteTopicState> states = new ArrayList<>();
            leave.forEach(topic -> states.add(byId ? new DeleteTopicState().setName(null).setTopicId(names.topic(topic.id))
                    : new DeleteTopicState().setName(topic.name)));
            if (mistake) {
                states.add(byId ? new DeleteTopicState().setName(null).setTopicId(unknownId) : new DeleteTopicState().setName(unknown));
            }
            return request.setTopics(states);
        });
        var answer = (DeleteTopicsResponseData) runner.ask(step);
        for (Model.Topic topic : leave) {
            boolean gone = answer.responses().stream().anyMatch(one -> one.errorCode() == 0
                    && (topic.name.equals(one.name()) || topic.id.equals(one.topicId())));
            if (gone) {
                model.topics.remove(topic);
                model.deleted.add(topic);
                settling.topicGone(topic, model.groups);
            }
        }
    }

    void grow() throws IOException {
        short version = runner.version(ApiMessageType.CREATE_PARTITIONS);
        Model.Topic topic = model.any(model.topics);
        int now = topic.logs.size();
        boolean onlyValidate = model.chance(20);
        var wanted = new CreatePartitionsTopic().setName(topic.name).setCount(now + 1).setAssignments(null);
        if (now >= PARTITIONS_MAX || model.chance(30)) {
            switch (model.random.nextInt(5)) {
                case 0 -> wanted.setName(model.name("unknown"));
                case 1 -> wanted.setCount(now);
                case 2 -> wanted.setCount(0);
                case 3 -> wanted.setAssignments(List.of());
                default -> wanted.setCount(now - 1);
            }
        } else if (model.chance(30)) {
            wanted.setAssignments(List.of(new CreatePartitionsAssignment().setBrokerIds(List.of(1))));
        }
        var topics = new CreatePartitionsTopicCollection();
        topics.add(wanted);
        var request = new CreatePartitionsRequestData().setTopics(topics).setTimeoutMs(model.timeoutMs()).setValidateOnly(onlyValidate);
        var answer = (org.apache.kafka.common.message.CreatePartitionsResponseData) runner.ask(
                new Step(CONNECTION, ApiMessageType.CREATE_PARTITIONS, version, names -> request));
        if (answer.results().get(0).errorCode() == 0 && !onlyValidate) {
            topic.grow(wanted.count());
            settling.topicServed(topic.name, wanted.count());
        }
    }

    void describe() throws IOException {
        if (model.chance(30)) {
            describePartitions();
            return;
        }
        short version = runner.version(ApiMessageType.METADATA);
        List<Model.Topic> chosen = model.some(3);
        boolean all = model.chance(15);
        boolean byId = version >= METADATA_BY_ID_SINCE && model.chance(40);
        boolean mistake = model.chance(15);
        boolean operations = version >= 8 && model.chance(30);
        String unknown = mistake && model.chance(20) ? "not a name" : model.name("unknown");
        Uuid unknownId = mistake && !model.deleted.isEmpty() && model.chance(50) ? model.any(model.deleted).id
                : new Uuid(model.random.nextLong(), model.random.nextLong());
        Step step = new Step(CONNECTION, ApiMessageType.METADATA, version, names -> {
            List<MetadataRequestTopic> topics = new ArrayList<>();
            chosen.forEach(topic -> topics.add(byId ? new MetadataRequestTopic().setName(null).setTopicId(names.topic(topic.id))
                    : new MetadataRequestTopic().setName(topic.name)));
            if (mistake) {
                topics.add(byId ? new MetadataRequestTopic().setName(null).setTopicId(names.topic(unknownId))
                        : new MetadataRequestTopic().setName(unknown));
            }
            List<MetadataRequestTopic> everything = version == 0 ? List.of() : null;
            return new MetadataRequestData().setTopics(all ? everything : topics)
                    .setIncludeTopicAuthorizedOperations(operations)
                    .setIncludeClusterAuthorizedOperations(operations && version <= 10);
        });
        runner.ask(step);
    }

    private void describePartitions() throws IOException {
        List<Model.Topic> chosen = model.some(3);
        var request = new DescribeTopicPartitionsRequestData();
        if (model.chance(80)) {
            chosen.forEach(topic -> request.topics().add(new TopicRequest().setName(topic.name)));
        }
        if (model.chance(20)) {
            request.topics().add(new TopicRequest().setName(model.name("unknown")));
        }
        if (model.chance(50)) {
            request.setResponsePartitionLimit(1 + model.random.nextInt(4));
        }
        if (model.chance(30)) {
            request.setCursor(new Cursor().setTopicName(chosen.get(0).name)
                    .setPartitionIndex(model.random.nextInt(chosen.get(0).logs.size())));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_TOPIC_PARTITIONS, (short) 0, names -> request));
    }
}
