import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.OffsetCommitResponseData;
import org.apache.kafka.common.message.OffsetDeleteRequestData;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestPartition;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopics;

/** Committed offsets: by members, by nobody in particular, by the mistaken; asked for and deleted. */
final class CommitScenes {
    private static final String CONNECTION = "commits";
    private static final int COMMIT_INSTANCE_SINCE = 7;
    private static final int COMMIT_EPOCH_SINCE = 6;
    private static final int TOPIC_ID_SINCE = 10;
    private static final int FETCH_GROUPS_SINCE = 8;
    private static final int FETCH_ALL_SINCE = 2;
    private static final int FETCH_STABLE_SINCE = 7;
    private static final int METADATA_BYTES_TOO_MANY = 4097;

    private final Runner runner;
    private final Model model;

    CommitScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    private record Place(Model.Topic topic, int partition, long offset, int epochOff, String metadata) {}

    private List<Place> places(boolean tooLongMay) {
        List<Place> places = new ArrayList<>();
        for (Model.Topic topic : model.some(2)) {
            for (int partition : model.partitions(topic, 3)) {
                String metadata = tooLongMay && model.chance(5) ? "x".repeat(METADATA_BYTES_TOO_MANY) : model.any(List.of("", "here", "there"));
                places.add(new Place(topic, partition, model.random.nextInt(1000), model.random.nextInt(3) - 1,
                        model.chance(10) ? null : metadata));
            }
        }
        if (model.chance(10)) {
            places.add(new Place(OffsetScenes.unknown(model), 0, 5, -1, ""));
        }
        if (model.chance(5)) {
            Model.Topic topic = places.get(0).topic();
            places.add(0, new Place(topic, topic.logs.size() + 1, 5, -1, ""));
        }
        return places;
    }

    private Group group() {
        return model.groups.isEmpty() || model.chance(10) ? simple() : model.any(model.groups);
    }

    /** A group that nobody joined yet. */
    private Group simple() {
        if (model.groups.size() < 8) {
            model.groups.add(new Group(model.name("simple")));
        }
        return model.any(model.groups);
    }

    void commit() throws IOException {
        Group group = group();
        boolean byMember = !group.members.isEmpty() && model.chance(85);
        Group.Member member = byMember ? model.any(group.members) : new Group.Member(CONNECTION, null, "");
        int generation = byMember ? group.generation : -1;
        String id = member.id;
        if (model.chance(8)) {
            switch (model.random.nextInt(3)) {
                case 0 -> generation++;
                case 1 -> id = "nobody";
                default -> generation = 0;
            }
        }
        short version = runner.version(ApiMessageType.OFFSET_COMMIT, member.instance == null ? 0 : COMMIT_INSTANCE_SINCE);
        // Of a group that is not there yet Kafka keeps the name, even if it refuses all of the commit.
        List<Place> places = places(!group.members.isEmpty() || !group.committed.isEmpty());
        String who = id;
        int claimed = generation;
        boolean epochs = version >= COMMIT_EPOCH_SINCE && model.chance(50);
        var answer = (OffsetCommitResponseData) runner.ask(new Step(member.connection, ApiMessageType.OFFSET_COMMIT, version, names -> {
            var request = new OffsetCommitRequestData().setGroupId(group.name).setMemberId(names.member(who))
                    .setGenerationIdOrMemberEpoch(claimed).setGroupInstanceId(member.instance);
            OffsetCommitRequestTopic topic = null;
            Model.Topic before = null;
            for (Place place : places) {
                if (place.topic() != before) {
                    before = place.topic();
                    topic = version < TOPIC_ID_SINCE ? new OffsetCommitRequestTopic().setName(before.name)
                            : new OffsetCommitRequestTopic().setTopicId(names.topic(before.id));
                    request.topics().add(topic);
                }
                topic.partitions().add(new OffsetCommitRequestPartition().setPartitionIndex(place.partition())
                        .setCommittedOffset(place.offset()).setCommittedMetadata(place.metadata())
                        .setCommittedLeaderEpoch(epochs ? place.epochOff() : -1));
            }
            return request;
        }));
        for (var topic : answer.topics()) {
            if (topic.partitions().stream().anyMatch(partition -> partition.errorCode() == 0)) {
                for (Place place : places) {
                    boolean meant = place.topic().name.equals(topic.name()) || place.topic().id.equals(topic.topicId());
                    if (meant && !group.committed.contains(place.topic())) {
                        group.committed.add(place.topic());
                    }
                }
            }
        }
    }

    void fetch() throws IOException {
        short version = runner.version(ApiMessageType.OFFSET_FETCH);
        List<Group> groups = new ArrayList<>(List.of(group()));
        if (version >= FETCH_GROUPS_SINCE && model.chance(40)) {
            groups.add(model.chance(20) ? new Group(model.name("unknown")) : group());
        }
        boolean all = version >= FETCH_ALL_SINCE && model.chance(40);
        List<List<Place>> wanted = groups.stream().map(group -> places(false)).toList();
        boolean stable = version >= FETCH_STABLE_SINCE && model.chance(50);
        runner.ask(new Step(CONNECTION, ApiMessageType.OFFSET_FETCH, version, names -> {
            var request = new OffsetFetchRequestData().setRequireStable(stable);
            if (version < FETCH_GROUPS_SINCE) {
                return request.setGroupId(groups.get(0).name).setTopics(all ? null : topics(wanted.get(0)));
            }
            for (int n = 0; n < groups.size(); n++) {
                request.groups().add(new OffsetFetchRequestGroup().setGroupId(groups.get(n).name)
                        .setTopics(all ? null : topics(version, wanted.get(n), names)));
            }
            return request;
        }));
    }

    private static List<OffsetFetchRequestTopic> topics(List<Place> places) {
        List<OffsetFetchRequestTopic> topics = new ArrayList<>();
        for (Place place : places) {
            if (topics.isEmpty() || !topics.get(topics.size() - 1).name().equals(place.topic().name)) {
                topics.add(new OffsetFetchRequestTopic().setName(place.topic().name));
            }
            topics.get(topics.size() - 1).partitionIndexes().add(place.partition());
        }
        return topics;
    }

    private static List<OffsetFetchRequestTopics> topics(short version, List<Place> places, Names names) {
        List<OffsetFetchRequestTopics> topics = new ArrayList<>();
        Model.Topic before = null;
        for (Place place : places) {
            if (place.topic() != before) {
                before = place.topic();
                topics.add(version < TOPIC_ID_SINCE ? new OffsetFetchRequestTopics().setName(before.name)
                        : new OffsetFetchRequestTopics().setTopicId(names.topic(before.id)));
            }
            topics.get(topics.size() - 1).partitionIndexes().add(place.partition());
        }
        return topics;
    }

    void delete() throws IOException {
        Group group = model.chance(10) ? new Group(model.name("unknown")) : group();
        var request = new OffsetDeleteRequestData().setGroupId(group.name);
        for (Place place : places(false)) {
            var topic = request.topics().find(place.topic().name);
            if (topic == null) {
                topic = new OffsetDeleteRequestTopic().setName(place.topic().name);
                request.topics().add(topic);
            }
            topic.partitions().add(new OffsetDeleteRequestPartition().setPartitionIndex(place.partition()));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.OFFSET_DELETE, (short) 0, names -> request));
    }
}
