import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.DescribeGroupsResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupResponseData;
import org.apache.kafka.common.protocol.ApiMessage;

/** Members join, leave, come back and are mistaken. Each scene ends with a group that is stable, or empty. */
final class GroupScenes {
    private static final int GROUPS_MAX = 6;
    private static final int MEMBERS_MAX = 4;
    private static final short MEMBER_ID_REQUIRED = 79;
    private static final int ID_REQUIRED_SINCE = 4;
    private static final int INSTANCE_SINCE = 5;

    private final Runner runner;
    private final Model model;
    private final GroupRequests requests;

    GroupScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
        requests = new GroupRequests(runner, model);
    }

    private Group group() {
        if (model.groups.isEmpty() || model.groups.size() < GROUPS_MAX && model.chance(15)) {
            model.groups.add(new Group(model.name("group")));
        }
        return model.any(model.groups);
    }

    /** Somebody new joins; everybody else joins again. */
    void join() throws IOException {
        Group group = group();
        if (group.members.size() >= MEMBERS_MAX) {
            leave(group);
            return;
        }
        String name = model.name("member");
        var member = new Group.Member(name, model.chance(30) ? "instance-" + name : null, "");
        JoinGroupRequestProtocolCollection protocols = requests.protocols();
        Step first = requests.join(group, member, 0, protocols);
        if (member.instance == null && first.version() >= ID_REQUIRED_SINCE) {
            var told = (JoinGroupResponseData) runner.ask(first);
            if (told.errorCode() != MEMBER_ID_REQUIRED) {
                throw new IllegalStateException("JoinGroup without an id: error " + told.errorCode());
            }
            member.id = told.memberId();
            first = requests.join(group, member, ID_REQUIRED_SINCE, protocols);
        }
        Runner.Pending pending = runner.send(first);
        if (!group.members.isEmpty()) {
            awaitRebalance(group);
        }
        rebalance(group, member, pending);
    }

    /** Kafka takes requests of several connections in any order: whoever joins next must find the rebalance begun. */
    private void awaitRebalance(Group group) throws IOException {
        runner.settle("a rebalance begins", stateQuestion(group), GroupScenes::rebalances);
    }

    private static Step stateQuestion(Group group) {
        var question = new DescribeGroupsRequestData().setGroups(List.of(group.name));
        return new Step("", ApiMessageType.DESCRIBE_GROUPS, (short) 0, names -> question);
    }

    private static boolean rebalances(ApiMessage answer) {
        return ((DescribeGroupsResponseData) answer).groups().get(0).groupState().equals("PreparingRebalance");
    }

    /** The group rebalances; `starter`, if any, has asked already. Brings everybody to the next generation. */
    private void rebalance(Group group, Group.Member starter, Runner.Pending pending) throws IOException {
        List<Group.Member> others = new ArrayList<>(group.members);
        others.remove(starter);
        Collections.shuffle(others, model.random);
        List<Runner.Pending> joins = new ArrayList<>();
        for (Group.Member other : others) {
            if (model.chance(40)) {
                runner.ask(requests.heartbeat(group, other.id, other.instance, group.generation, other.connection));
            }
        }
        for (Group.Member other : others) {
            joins.add(runner.send(requests.join(group, other, 0, requests.protocols())));
        }
        if (starter != null) {
            joined(group, starter, pending);
            if (!group.members.contains(starter)) {
                group.members.add(starter);
            }
        }
        // The leader's answer names everybody: by then they have been named in their own.
        String leads = group.leader;
        for (boolean leader : new boolean[] {false, true}) {
            for (int n = 0; n < others.size(); n++) {
                if (leads.equals(others.get(n).id) == leader) {
                    joined(group, others.get(n), joins.get(n));
                }
            }
        }
        synced(group);
    }

    private void joined(Group group, Group.Member member, Runner.Pending pending) throws IOException {
        var answer = (JoinGroupResponseData) runner.await(pending);
        if (answer == null || answer.errorCode() != 0) {
            throw new IllegalStateException("JoinGroup of " + member.connection + ": error " + (answer == null ? "closed" : answer.errorCode()));
        }
        member.id = answer.memberId();
        group.generation = answer.generationId();
        group.leader = answer.leader();
        group.protocol = answer.protocolName();
    }

    private void synced(Group group) throws IOException {
        List<Runner.Pending> early = new ArrayList<>();
        List<Group.Member> late = new ArrayList<>();
        Group.Member leader = null;
        for (Group.Member member : group.members) {
            if (member.id.equals(group.leader)) {
                leader = member;
            } else if (model.chance(50)) {
                early.add(runner.send(requests.sync(group, member, false)));
            } else {
                late.add(member);
            }
        }
        if (model.chance(20)) {
            runner.ask(requests.heartbeat(group, leader.id, leader.instance, group.generation, leader.connection));
        }
        runner.ask(requests.sync(group, leader, true));
        for (Runner.Pending pending : early) {
            runner.await(pending);
        }
        for (Group.Member member : late) {
            runner.ask(requests.sync(group, member, false));
        }
    }

    void leave() throws IOException {
        leave(group());
    }

    private void leave(Group group) throws IOException {
        List<Group.Member> leaving = new ArrayList<>();
        for (Group.Member member : group.members) {
            // Which of several members leads next is the broker's choice: the leader goes last, or with one left.
            boolean may = !member.id.equals(group.leader) || group.members.size() <= 2;
            if (may && (leaving.isEmpty() || model.chance(20))) {
                leaving.add(member);
            }
        }
        if (leaving.isEmpty()) {
            return;
        }
        if (model.chance(40)) {
            Collections.shuffle(leaving, model.random);
        }
        if (model.chance(70)) {
            leaving = leaving.subList(0, 1);
        }
        int before = group.members.size();
        var answer = (LeaveGroupResponseData) runner.ask(requests.leave(group, leaving));
        for (int n = 0; n < leaving.size() && answer.errorCode() == 0; n++) {
            if (answer.members().isEmpty() || answer.members().get(n).errorCode() == 0) {
                group.members.remove(leaving.get(n));
            }
        }
        if (group.members.size() < before && !group.members.isEmpty()) {
            rebalance(group, null, null);
        }
    }

    /** A member joins once more: with what it said before, with something else, or under its instance after a restart. */
    void rejoin() throws IOException {
        Group group = group();
        if (group.members.isEmpty()) {
            join();
            return;
        }
        Group.Member member = model.any(group.members);
        if (member.instance != null && model.chance(60)) {
            restart(group, member);
            return;
        }
        // The leader begins a rebalance however it joins; so does whoever changed its subscription.
        var protocols = requests.protocols();
        Step step = requests.join(group, member, 0, protocols);
        if (group.members.size() == 1) {
            rebalance(group, member, runner.send(step));
            return;
        }
        if (!member.id.equals(group.leader)) {
            return;
        }
        Runner.Pending pending = runner.send(step);
        awaitRebalance(group);
        rebalance(group, member, pending);
    }

    /** A static member that lost its id. Its old id is fenced; the group rebalances when its leader came so. */
    private void restart(Group group, Group.Member member) throws IOException {
        String old = member.id;
        boolean leads = old.equals(group.leader);
        member.id = "";
        Step step = requests.join(group, member, INSTANCE_SINCE, requests.protocols());
        Runner.Pending pending = runner.send(step);
        rebalanceIfBegun(group, member, pending, leads);
        runner.ask(requests.heartbeat(group, old, member.instance, group.generation, member.connection));
    }

    private void rebalanceIfBegun(Group group, Group.Member member, Runner.Pending pending, boolean leads) throws IOException {
        if (group.members.size() > 1 && runner.waits(pending, stateQuestion(group), GroupScenes::rebalances)) {
            if (leads) {
                group.leader = "";
            }
            rebalance(group, member, pending);
            return;
        }
        var answer = (JoinGroupResponseData) runner.await(pending);
        member.id = answer.memberId();
        boolean completing = answer.generationId() != group.generation;
        // Clients that cannot skip an assignment are told the leader's old id, so that none of them assigns.
        group.leader = leads ? member.id : answer.leader();
        group.generation = answer.generationId();
        group.protocol = answer.protocolName();
        if (completing) {
            synced(group);
        }
    }

    void heartbeats() throws IOException {
        Group group = group();
        for (Group.Member member : group.members) {
            runner.ask(requests.heartbeat(group, member.id, member.instance, group.generation, member.connection));
        }
        if (!group.members.isEmpty() && model.chance(20)) {
            runner.ask(requests.sync(group, model.any(group.members), false));
        }
    }

    void mistaken() throws IOException {
        Group group = group();
        var stranger = new Group.Member("stranger", null, "nobody-" + model.random.nextInt(9));
        var member = group.members.isEmpty() ? stranger : model.any(group.members);
        Step step = switch (model.random.nextInt(9)) {
            case 0 -> requests.heartbeat(group, stranger.id, null, group.generation, "stranger");
            case 1 -> requests.heartbeat(group, member.id, null, group.generation + 1, member.connection);
            case 2 -> requests.heartbeat(group, member.id, "instance-nobody", group.generation, member.connection);
            case 3 -> requests.heartbeat(new Group(model.name("unknown")), stranger.id, null, 1, "stranger");
            case 4 -> requests.join(group, stranger, 0, requests.protocols());
            case 5 -> requests.sync(group, stranger, false);
            case 6 -> requests.leave(group, List.of(stranger));
            case 7 -> requests.join(new Group(""), new Group.Member("stranger", null, ""), 0, requests.protocols());
            default -> requests.join(new Group(model.name("unknown")), stranger, 0, requests.protocols());
        };
        runner.ask(step);
    }
}
