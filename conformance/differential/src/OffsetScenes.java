import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsPartition;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsTopic;
import org.apache.kafka.common.message.DeleteRecordsResponseData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderPartition;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopic;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection;

/** Where logs begin, end, and hold a time or an epoch; and records that are deleted. */
final class OffsetScenes {
    private static final String CONNECTION = "offsets";
    private static final int ISOLATION_SINCE = 2;
    private static final int EPOCH_SINCE = 4;
    private static final int TIMEOUT_SINCE = 10;
    /** Latest, earliest, greatest time, earliest local, latest tiered, earliest to be uploaded: first versions. */
    private static final int GREATEST_TIME = 2;
    private static final int[] SPECIAL_SINCE = {1, 1, 7, 8, 9, 11};

    private final Runner runner;
    private final Model model;

    OffsetScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    private record Wish(String topic, int partition, long number, int epochOff, int currentOff) {}

    void list() throws IOException {
        short version = runner.version(ApiMessageType.LIST_OFFSETS);
        List<Wish> wishes = new ArrayList<>();
        for (Model.Topic topic : model.some(3)) {
            for (int partition : model.partitions(topic, 3)) {
                wishes.add(new Wish(topic.name, partition, time(version, topic, topic.logs.get(partition)), 0, model.chance(3) ? 1 : 0));
            }
        }
        addMistake(wishes);
        boolean namesEpoch = version >= EPOCH_SINCE && model.chance(40);
        byte isolation = (byte) (version >= ISOLATION_SINCE ? model.random.nextInt(2) : 0);
        runner.ask(new Step(CONNECTION, ApiMessageType.LIST_OFFSETS, version, names -> {
            List<ListOffsetsTopic> topics = new ArrayList<>();
            for (Wish wish : wishes) {
                if (topics.isEmpty() || !topics.get(topics.size() - 1).name().equals(wish.topic())) {
                    topics.add(new ListOffsetsTopic().setName(wish.topic()));
                }
                var partition = new ListOffsetsPartition().setPartitionIndex(wish.partition()).setTimestamp(wish.number());
                if (namesEpoch) {
                    partition.setCurrentLeaderEpoch(names.leaderEpoch(0) + wish.currentOff());
                }
                topics.get(topics.size() - 1).partitions().add(partition);
            }
            var request = new ListOffsetsRequestData().setReplicaId(-1).setIsolationLevel(isolation).setTopics(topics);
            return version >= TIMEOUT_SINCE ? request.setTimeoutMs(30_000) : request;
        }));
    }

    private void addMistake(List<Wish> wishes) {
        if (model.chance(5)) {
            // Beside the topic's other partitions: Kafka makes one of two entries of one name.
            String topic = wishes.get(wishes.size() - 1).topic();
            wishes.add(new Wish(topic, 100, -1, 0, 0));
        }
        if (model.chance(5)) {
            wishes.add(new Wish(model.name("unknown"), 0, -1, 0, 0));
        }
        if (model.chance(3)) {
            wishes.add(wishes.get(0));
        }
    }

    private long time(short version, Model.Topic topic, Model.Log log) {
        if (model.chance(60)) {
            int special = model.random.nextInt(SPECIAL_SINCE.length);
            if (special == GREATEST_TIME && (topic.stampedByBroker || log.start > 0)) {
                // Which of several batches of one millisecond is the first of it is up to the clock; and Kafka goes on to tell
                // of a record that was deleted.
                return -1;
            }
            // One version too early now and then.
            return version >= SPECIAL_SINCE[special] || model.chance(3) ? -1 - special : -1;
        }
        return model.chance(3) ? -100 : model.nowMs() - model.random.nextInt(200_000) + 1000;
    }

    void epochs() throws IOException {
        short version = runner.version(ApiMessageType.OFFSET_FOR_LEADER_EPOCH);
        List<Wish> wishes = new ArrayList<>();
        for (Model.Topic topic : model.some(2)) {
            for (int partition : model.partitions(topic, 2)) {
                int off = model.chance(20) ? 1 + model.random.nextInt(2) : 0;
                wishes.add(new Wish(topic.name, partition, 0, off, model.chance(5) ? 1 : 0));
            }
        }
        addMistake(wishes);
        boolean namesCurrent = model.chance(50);
        runner.ask(new Step(CONNECTION, ApiMessageType.OFFSET_FOR_LEADER_EPOCH, version, names -> {
            var topics = new OffsetForLeaderTopicCollection();
            for (Wish wish : wishes) {
                var topic = topics.find(wish.topic());
                if (topic == null) {
                    topic = new OffsetForLeaderTopic().setTopic(wish.topic());
                    topics.add(topic);
                }
                int known = names.leaderEpoch(0);
                topic.partitions().add(new OffsetForLeaderPartition().setPartition(wish.partition())
                        .setLeaderEpoch(known + wish.epochOff())
                        .setCurrentLeaderEpoch(namesCurrent ? known + wish.currentOff() : -1));
            }
            return new OffsetForLeaderEpochRequestData().setReplicaId(-1).setTopics(topics);
        }));
    }

    void deleteRecords() throws IOException {
        short version = runner.version(ApiMessageType.DELETE_RECORDS);
        var request = new DeleteRecordsRequestData().setTimeoutMs(30_000);
        List<Model.Topic> chosen = model.some(2);
        for (Model.Topic topic : chosen) {
            var wanted = new DeleteRecordsTopic().setName(topic.name);
            for (int partition : model.partitions(topic, 2)) {
                Model.Log log = topic.logs.get(partition);
                long before = log.start + model.random.nextInt((int) (log.end - log.start) / 2 + 1);
                if (model.chance(15)) {
                    before = model.any(List.of(-1L, log.end + 1, log.start - 1, -2L));
                }
                wanted.partitions().add(new DeleteRecordsPartition().setPartitionIndex(partition).setOffset(before));
            }
            request.topics().add(wanted);
        }
        if (model.chance(10)) {
            var unknown = new DeleteRecordsTopic().setName(model.name("unknown"));
            unknown.partitions().add(new DeleteRecordsPartition().setPartitionIndex(0).setOffset(1));
            request.topics().add(unknown);
        }
        var answer = (DeleteRecordsResponseData) runner.ask(
                new Step(CONNECTION, ApiMessageType.DELETE_RECORDS, version, names -> request));
        for (Model.Topic topic : chosen) {
            for (var done : answer.topics().find(topic.name).partitions()) {
                if (done.errorCode() == 0) {
                    topic.logs.get(done.partitionIndex()).start = done.lowWatermark();
                }
            }
        }
    }

    static Model.Topic unknown(Model model) {
        return new Model.Topic(model.name("unknown"), new Uuid(11, model.random.nextLong()), 1);
    }
}
