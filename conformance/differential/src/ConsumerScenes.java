import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ConsumerGroupDescribeRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData.TopicPartitions;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatResponseData;

/** Groups by the consumer protocol (KIP-848): members join, give up and take what they are told, leave and are mistaken. */
final class ConsumerScenes {
    private static final String CONNECTION = "consumer groups";
    private static final int CROWDS_MAX = 3;
    /** Ranges stay where they were here and go by the order of members in Kafka: alike with two of which the older one's name is first. */
    private static final int MEMBERS_MAX = 2;
    private static final int JOINS = 0;
    private static final int LEAVES = -1;
    private static final int IS_AWAY = -2;
    private static final int OWN_ID_SINCE = 1;
    /** No member takes more heartbeats to get to where nothing changes. */
    private static final int ROUNDS = 6;

    private final Runner runner;
    private final Model model;
    private final ShareTopics topics;
    private final List<Crowd> crowds = new ArrayList<>();
    private int named;

    ConsumerScenes(Runner runner, Model model, ShareTopics topics) {
        this.runner = runner;
        this.model = model;
        this.topics = topics;
    }

    private static final class Member {
        final String id;
        final String instance;
        int epoch;
        /** As it was told last. */
        Map<Uuid, List<Integer>> owned = new LinkedHashMap<>();

        private Member(String id, String instance) {
            this.id = id;
            this.instance = instance;
        }
    }

    /** A group. Its assignor goes by the order of member ids, not by that of a hash map. */
    private static final class Crowd {
        final String name;
        /** Or none is: they would be first. */
        final boolean areStatic;
        final List<Member> members = new ArrayList<>();

        private Crowd(String name, boolean areStatic) {
            this.name = name;
            this.areStatic = areStatic;
        }
    }

    private Crowd crowd() {
        if (crowds.isEmpty() || crowds.size() < CROWDS_MAX && model.chance(10)) {
            crowds.add(new Crowd(model.name("crowd"), model.chance(30)));
        }
        return model.any(crowds);
    }

    private Step heartbeat(Crowd crowd, Member member, int epoch, boolean whole) throws IOException {
        List<String> names = topics.all().stream().map(topic -> topic.name).toList();
        Map<Uuid, List<Integer>> owned = epoch == JOINS ? Map.of() : new LinkedHashMap<>(member.owned);
        short version = runner.version(ApiMessageType.CONSUMER_GROUP_HEARTBEAT, OWN_ID_SINCE);
        return new Step(CONNECTION, ApiMessageType.CONSUMER_GROUP_HEARTBEAT, version, mine -> {
            var request = new ConsumerGroupHeartbeatRequestData().setGroupId(crowd.name).setMemberId(member.id).setMemberEpoch(epoch)
                    .setInstanceId(member.instance).setTopicPartitions(null);
            if (whole) {
                List<TopicPartitions> parts = new ArrayList<>();
                owned.forEach((topic, partitions) -> parts.add(new TopicPartitions().setTopicId(mine.topic(topic)).setPartitions(partitions)));
                request.setRebalanceTimeoutMs(GroupRequests.SESSION_MS).setSubscribedTopicNames(names).setServerAssignor("range").setTopicPartitions(parts);
            }
            return request;
        });
    }

    /** What a member heard. */
    private void heard(Member member, ConsumerGroupHeartbeatResponseData answer) {
        if (answer == null || answer.errorCode() != 0) {
            return;
        }
        member.epoch = answer.memberEpoch();
        if (answer.assignment() != null) {
            member.owned = new LinkedHashMap<>();
            answer.assignment().topicPartitions().forEach(part -> member.owned.put(part.topicId(), List.copyOf(part.partitions())));
        }
    }

    private ConsumerGroupHeartbeatResponseData ask(Step step) throws IOException {
        return (ConsumerGroupHeartbeatResponseData) runner.ask(step);
    }

    /** A name behind all that were given before. */
    private String ordered(String what) {
        return String.format("%s-%08d", what, named++);
    }

    void join() throws IOException {
        Crowd crowd = crowd();
        if (crowd.members.size() >= MEMBERS_MAX) {
            leave();
            return;
        }
        var member = new Member(ordered("member"), crowd.areStatic ? ordered("instance") : null);
        crowd.members.add(member);
        heard(member, ask(heartbeat(crowd, member, JOINS, true)));
        rounds(crowd);
    }

    /** Everybody says what it has, gives up and takes, until nothing changes. */
    private void rounds(Crowd crowd) throws IOException {
        for (int round = 0; round < ROUNDS; round++) {
            for (Member member : crowd.members) {
                heard(member, ask(heartbeat(crowd, member, member.epoch, true)));
            }
        }
    }

    void heartbeats() throws IOException {
        Crowd crowd = crowd();
        for (Member member : crowd.members) {
            heard(member, ask(heartbeat(crowd, member, member.epoch, model.chance(30))));
        }
    }

    void leave() throws IOException {
        Crowd crowd = crowd();
        if (crowd.members.isEmpty()) {
            return;
        }
        Member member = model.any(crowd.members);
        boolean away = member.instance != null && model.chance(50);
        ask(heartbeat(crowd, member, away ? IS_AWAY : LEAVES, false));
        crowd.members.remove(member);
        if (away) {
            var back = new Member(ordered("member"), member.instance);
            crowd.members.add(back);
            heard(back, ask(heartbeat(crowd, back, JOINS, true)));
        }
        rounds(crowd);
    }

    void describe() throws IOException {
        List<String> names = new ArrayList<>();
        crowds.stream().filter(crowd -> model.chance(60)).forEach(crowd -> names.add(crowd.name));
        if (names.isEmpty() || model.chance(15)) {
            names.add(model.chance(50) && !model.groups.isEmpty() ? model.any(model.groups).name : model.name("unknown"));
        }
        short version = runner.version(ApiMessageType.CONSUMER_GROUP_DESCRIBE);
        var request = new ConsumerGroupDescribeRequestData().setGroupIds(names).setIncludeAuthorizedOperations(model.chance(30));
        runner.ask(new Step(CONNECTION, ApiMessageType.CONSUMER_GROUP_DESCRIBE, version, mine -> request));
    }

    /** What a coordinator refuses; nothing changes. */
    void mistaken() throws IOException {
        Crowd crowd = crowd();
        var stranger = new Member(new Uuid(2, model.random.nextInt(9)).toString(), null);
        Member member = crowd.members.isEmpty() ? stranger : model.any(crowd.members);
        Step step = switch (model.random.nextInt(9)) {
            case 0 -> heartbeat(crowd, stranger, 5, false);
            case 1 -> heartbeat(crowd, member, member.epoch + 4, false);
            case 2 -> heartbeat(crowd, new Member("", null), JOINS, true);
            case 3 -> heartbeat(new Crowd("", false), stranger, JOINS, true);
            case 4 -> heartbeat(crowd, stranger, JOINS, false);
            case 5 -> heartbeat(crowd, stranger, -5, false);
            case 6 -> heartbeat(crowd, new Member(stranger.id, "nobody"), IS_AWAY, false);
            case 7 -> heartbeat(crowd, stranger, LEAVES, false);
            default -> heartbeat(crowd, new Member(stranger.id, ""), JOINS, true);
        };
        ask(step);
    }
}
