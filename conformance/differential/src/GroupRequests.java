import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData.MemberIdentity;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData.SyncGroupRequestAssignment;
import org.apache.kafka.common.utils.Utils;

/** What members of a group ask, as a step. */
final class GroupRequests {
    /** Longer than any run: no timer may decide anything. */
    static final int SESSION_MS = 10_000_000;
    static final String TYPE = "consumer";
    private static final int JOIN_INSTANCE_SINCE = 5;
    private static final int INSTANCE_SINCE = 3;
    private static final int PROTOCOL_SINCE = 5;
    private static final int LEAVE_LIST_SINCE = 3;

    private final Runner runner;
    private final Model model;

    GroupRequests(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    /** A subscription to topics that exist, under one or two assignors. */
    JoinGroupRequestProtocolCollection protocols() {
        List<String> topics = model.some(2).stream().map(topic -> topic.name).toList();
        byte[] metadata = Utils.toArray(ConsumerProtocol.serializeSubscription(new Subscription(topics)));
        List<String> assignors = model.any(List.of(List.of("range"), List.of("range", "roundrobin"), List.of("roundrobin", "range")));
        var protocols = new JoinGroupRequestProtocolCollection();
        assignors.forEach(assignor -> protocols.add(new JoinGroupRequestProtocol().setName(assignor).setMetadata(metadata)));
        return protocols;
    }

    Step join(Group group, Group.Member member, int versionMin, JoinGroupRequestProtocolCollection protocols) {
        return join(group, member, member.instance == null ? versionMin : Math.max(versionMin, JOIN_INSTANCE_SINCE),
                Short.MAX_VALUE, protocols);
    }

    Step join(Group group, Group.Member member, int versionMin, int versionMax, JoinGroupRequestProtocolCollection protocols) {
        short version = runner.version(ApiMessageType.JOIN_GROUP, versionMin, versionMax);
        String id = member.id;
        return new Step(member.connection, ApiMessageType.JOIN_GROUP, version, names -> new JoinGroupRequestData()
                .setGroupId(group.name).setMemberId(names.member(id)).setGroupInstanceId(member.instance)
                .setSessionTimeoutMs(SESSION_MS).setRebalanceTimeoutMs(SESSION_MS).setProtocolType(TYPE)
                .setProtocols(protocols.duplicate()));
    }

    /** The leader tells what everybody gets, the others ask. */
    Step sync(Group group, Group.Member member, boolean leads) {
        short version = runner.version(ApiMessageType.SYNC_GROUP, member.instance == null ? 0 : INSTANCE_SINCE);
        List<Group.Member> members = List.copyOf(group.members);
        List<byte[]> parts = new ArrayList<>();
        members.forEach(any -> parts.add(("part " + model.random.nextInt(100)).getBytes()));
        String id = member.id;
        int generation = group.generation;
        // Whoever names neither is refused; a stranger may.
        String named = group.protocol == null ? null : TYPE;
        String protocol = group.protocol;
        return new Step(member.connection, ApiMessageType.SYNC_GROUP, version, names -> {
            var request = new SyncGroupRequestData().setGroupId(group.name).setGenerationId(generation)
                    .setMemberId(names.member(id)).setGroupInstanceId(member.instance);
            if (version >= PROTOCOL_SINCE) {
                request.setProtocolType(named).setProtocolName(protocol);
            }
            for (int n = 0; leads && n < members.size(); n++) {
                request.assignments().add(new SyncGroupRequestAssignment().setMemberId(names.member(members.get(n).id))
                        .setAssignment(parts.get(n)));
            }
            return request;
        });
    }

    Step heartbeat(Group group, String id, String instance, int generation, String connection) {
        short version = runner.version(ApiMessageType.HEARTBEAT, instance == null ? 0 : INSTANCE_SINCE);
        return new Step(connection, ApiMessageType.HEARTBEAT, version, names -> new HeartbeatRequestData()
                .setGroupId(group.name).setGenerationId(generation).setMemberId(names.member(id)).setGroupInstanceId(instance));
    }

    /** Leaves by id, or a static member by its instance. */
    Step leave(Group group, List<Group.Member> leaving) {
        boolean list = leaving.size() != 1 || leaving.get(0).instance != null || model.chance(50);
        short version = list ? runner.version(ApiMessageType.LEAVE_GROUP, LEAVE_LIST_SINCE)
                : runner.version(ApiMessageType.LEAVE_GROUP, 0, LEAVE_LIST_SINCE - 1);
        boolean byInstance = model.chance(50);
        return new Step(leaving.isEmpty() ? "leave" : leaving.get(0).connection, ApiMessageType.LEAVE_GROUP, version, names -> {
            var request = new LeaveGroupRequestData().setGroupId(group.name);
            if (version < LEAVE_LIST_SINCE) {
                return request.setMemberId(names.member(leaving.get(0).id));
            }
            for (Group.Member member : leaving) {
                request.members().add(new MemberIdentity().setGroupInstanceId(member.instance)
                        .setMemberId(byInstance && member.instance != null ? "" : names.member(member.id)));
            }
            return request;
        });
    }
}
