import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestPartition;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestTopicCollection;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DeleteShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.DeleteShareGroupOffsetsRequestData.DeleteShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData.DescribeShareGroupOffsetsRequestGroup;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData.DescribeShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.ShareGroupDescribeRequestData;

/** Share groups as an administrator sees them. Offsets are moved and removed of groups that never have members. */
final class ShareAdminScenes {
    private static final String CONNECTION = "share groups";
    private static final int MOVED_MAX = 3;

    private final Runner runner;
    private final Model model;
    private final ShareTopics topics;
    private final List<String> moved = new ArrayList<>();
    private final Set<String> altered = new HashSet<>();

    ShareAdminScenes(Runner runner, Model model, ShareTopics topics) {
        this.runner = runner;
        this.model = model;
        this.topics = topics;
    }

    private List<String> some() {
        List<String> names = new ArrayList<>();
        model.queues.stream().filter(queue -> model.chance(60)).forEach(queue -> names.add(queue.name));
        moved.stream().filter(name -> model.chance(30)).forEach(names::add);
        if (names.isEmpty() || model.chance(15)) {
            names.add(model.chance(30) && !model.groups.isEmpty() ? model.any(model.groups).name : model.chance(20) ? "" : model.name("unknown"));
        }
        return names;
    }

    private String movedGroup() {
        if (moved.isEmpty() || moved.size() < MOVED_MAX && model.chance(20)) {
            moved.add(model.name("moved"));
        }
        return model.any(moved);
    }

    void describe() throws IOException {
        short version = runner.version(ApiMessageType.SHARE_GROUP_DESCRIBE);
        var request = new ShareGroupDescribeRequestData().setGroupIds(some()).setIncludeAuthorizedOperations(model.chance(30));
        runner.ask(new Step(CONNECTION, ApiMessageType.SHARE_GROUP_DESCRIBE, version, names -> request));
    }

    void offsets() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_SHARE_GROUP_OFFSETS);
        var request = new DescribeShareGroupOffsetsRequestData();
        for (String name : some()) {
            var group = new DescribeShareGroupOffsetsRequestGroup().setGroupId(name).setTopics(null);
            if (model.chance(50)) {
                List<DescribeShareGroupOffsetsRequestTopic> wanted = new ArrayList<>();
                for (Model.Topic topic : topics.all()) {
                    wanted.add(new DescribeShareGroupOffsetsRequestTopic().setTopicName(topic.name).setPartitions(model.partitions(topic, 2)));
                }
                if (model.chance(10)) {
                    wanted.add(new DescribeShareGroupOffsetsRequestTopic().setTopicName("nowhere").setPartitions(List.of(0, 1)));
                }
                group.setTopics(wanted);
            }
            request.groups().add(group);
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_SHARE_GROUP_OFFSETS, version, names -> request));
    }

    void alter() throws IOException {
        short version = runner.version(ApiMessageType.ALTER_SHARE_GROUP_OFFSETS);
        var wanted = new AlterShareGroupOffsetsRequestTopicCollection();
        Model.Topic topic = model.any(topics.all());
        String group = named();
        // Where nothing is altered Kafka has an empty group from then on, until it starts anew.
        boolean mistaken = !moved.contains(group) || altered.contains(group);
        altered.add(group);
        var asked = new AlterShareGroupOffsetsRequestTopic().setTopicName(mistaken && model.chance(8) ? "nowhere" : topic.name);
        for (int partition : model.partitions(topic, 2)) {
            long offset = model.random.nextInt((int) topic.logs.get(partition).end + 1);
            asked.partitions().add(new AlterShareGroupOffsetsRequestPartition().setPartitionIndex(mistaken && model.chance(5) ? 77 + partition : partition).setStartOffset(offset));
        }
        wanted.add(asked);
        var request = new AlterShareGroupOffsetsRequestData().setGroupId(group).setTopics(wanted);
        runner.ask(new Step(CONNECTION, ApiMessageType.ALTER_SHARE_GROUP_OFFSETS, version, names -> request));
    }

    void delete() throws IOException {
        short version = runner.version(ApiMessageType.DELETE_SHARE_GROUP_OFFSETS);
        var request = new DeleteShareGroupOffsetsRequestData().setGroupId(named());
        request.topics().add(new DeleteShareGroupOffsetsRequestTopic().setTopicName(model.chance(8) ? "nowhere" : model.any(topics.all()).name));
        runner.ask(new Step(CONNECTION, ApiMessageType.DELETE_SHARE_GROUP_OFFSETS, version, names -> request));
    }

    /** A group that never has members; or one that has some, or is of another kind, or is not there, and is refused. */
    private String named() {
        if (model.chance(80)) {
            return movedGroup();
        }
        var busy = model.queues.stream().filter(queue -> !queue.takers.isEmpty()).findFirst();
        if (busy.isPresent() && model.chance(50)) {
            return busy.get().name;
        }
        // Without members it would become a share group.
        List<Group> others = model.groups.stream().filter(group -> !group.members.isEmpty()).toList();
        return others.isEmpty() || model.chance(30) ? "" : model.any(others).name;
    }
}
