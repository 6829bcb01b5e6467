import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidRecordStateException;

/** Kafka's Java share consumer (KIP-932): `ShareClient SCENARIO BOOTSTRAP WORD`. Exits with 1 when something does not hold. */
public final class ShareClient extends ShareStage {
    private static final long LONG_AGO_MS = 1_000_000_000_000L;

    private ShareClient(String bootstrap, String word) {
        super(bootstrap, word);
    }

    public static void main(String[] arguments) throws Exception {
        ShareClient client = new ShareClient(arguments[1], arguments[2]);
        switch (arguments[0]) {
            case "acknowledge" -> client.acknowledge();
            case "limit" -> client.limit();
            case "isolates" -> client.isolates();
            case "locks" -> client.locks();
            case "renew" -> client.renew();
            case "modes" -> client.modes();
            case "resets" -> client.resets();
            case "closes" -> client.closes();
            case "implicit" -> client.implicit();
            case "many" -> client.many();
            case "isolated" -> client.isolated();
            case "admin" -> client.admin();
            default -> throw new IllegalArgumentException("no scenario " + arguments[0]);
        }
        System.out.println(arguments[0] + ": everything held");
    }

    /** Of four records one is accepted, one released and accepted, one released twice and rejected, one rejected. */
    private void acknowledge() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 12);
        Member member = new Member();
        await(record -> switch (number(record) % 4) {
            case 0 -> AcknowledgeType.ACCEPT;
            case 1 -> deliveries(record) < 2 ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT;
            case 2 -> deliveries(record) < 3 ? AcknowledgeType.RELEASE : AcknowledgeType.REJECT;
            default -> AcknowledgeType.REJECT;
        }, numbers(0, 12, n -> List.of(List.of(1), List.of(1, 2), List.of(1, 2, 3), List.of(1)).get(n % 4)), member);
        finished();
        member.close();
    }

    /** A record that was released as often as the group allows is given up, and others follow it. */
    private void limit() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest", "share.delivery.count.limit", "3");
        send(0, 20);
        Member member = new Member();
        await(record -> AcknowledgeType.RELEASE, numbers(0, 20, n -> List.of(1, 2, 3)), member);
        finished();
        send(20, 30);
        var all = numbers(0, 20, n -> List.of(1, 2, 3));
        all.putAll(numbers(20, 30, n -> List.of(1)));
        await(record -> AcknowledgeType.ACCEPT, all, member);
        finished();
        member.close();
    }

    /**
     * Records that come back often come in ever smaller answers, at last alone: one that no member survives does not take the
     * others of its batch with it.
     */
    private void isolates() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest", "share.delivery.count.limit", "6");
        send(0, 16);
        Member member = new Member();
        await(record -> AcknowledgeType.RELEASE, numbers(0, 16, n -> List.of(1, 2, 3, 4, 5, 6)), member);
        finished();
        var largest = new TreeMap<Integer, Integer>();
        int at = 0;
        for (int count : member.polled) {
            largest.merge(deliveries(member.got.get(at)), count, Math::max);
            at += count;
        }
        hold(largest, new TreeMap<>(Map.of(1, 16, 2, 16, 3, 16, 4, 8, 5, 4, 6, 1)), "the largest poll of each delivery");
        member.close();
    }

    /** Records are one member's until their lock ends; then they are another one's, and the first may say no more of them. */
    private void locks() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest", "share.record.lock.duration.ms", "2000");
        send(0, 10);
        Member slow = new Member();
        var held = slow.hold(10);
        long since = System.nanoTime();
        hold(slow.client.acquisitionLockTimeoutMs(), Optional.of(2000), "the time of a lock");
        Member other = new Member();
        other.hold(10).forEach(record -> hold(deliveries(record), 2, "deliveries after the lock ended"));
        that(System.nanoTime() - since > 1_500_000_000L, "records were another member's before their lock could end");
        held.forEach(record -> slow.client.acknowledge(record, AcknowledgeType.ACCEPT));
        hold(slow.refusal(), InvalidRecordStateException.class, "the answer to a late acknowledgement");
        other.acknowledgeHeld();
        finished();
        slow.close();
        other.close();
    }

    /** A member keeps a record by renewing its lock, for longer than the lock lasts, where the group lets it. */
    private void renew() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest", "share.record.lock.duration.ms", "2000");
        send(0, 1);
        Member slow = new Member("share.acquire.mode", "record_limit", "max.poll.records", "1");
        var kept = slow.hold(1).get(0);
        Member other = new Member();
        long end = System.nanoTime() + 5_000_000_000L;
        while (System.nanoTime() < end) {
            slow.client.acknowledge(kept, AcknowledgeType.RENEW);
            slow.client.commitSync().forEach((place, error) -> hold(error, Optional.empty(), "a renewal"));
            var again = slow.hold(1).get(0);
            hold(List.of(number(again), deliveries(again)), List.of(0, 1), "the record that was renewed");
            kept = again;
            other.beat(record -> AcknowledgeType.ACCEPT);
        }
        slow.client.acknowledge(kept, AcknowledgeType.ACCEPT);
        slow.committed();
        finished();
        hold(other.got, List.of(), "what another member got of it");
        other.close();
        set("share.renew.acknowledge.enable", "false");
        send(1, 2);
        slow.client.acknowledge(slow.hold(1).get(0), AcknowledgeType.RENEW);
        hold(slow.refusal(), InvalidRecordStateException.class, "the answer to a renewal where there is none");
        slow.close();
    }

    /** By record_limit a poll brings no more than it may; by batch_optimized it brings batches. */
    private void modes() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 100);
        Member limited = new Member("share.acquire.mode", "record_limit", "max.poll.records", "7");
        hold(limited.hold(7).size(), 7, "records of a poll by record_limit");
        limited.acknowledgeHeld();
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 100, n -> List.of(1)), limited);
        that(limited.polled.stream().allMatch(count -> count <= 7), "polls by record_limit: " + limited.polled);
        limited.close();
        group = word + "-batches";
        set("share.auto.offset.reset", "earliest");
        Member batches = new Member("share.acquire.mode", "batch_optimized", "max.poll.records", "7");
        hold(batches.hold(100).size(), 100, "records of a poll by batch_optimized");
        batches.acknowledgeHeld();
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 100, n -> List.of(1)), batches);
        batches.close();
    }

    /** Where a group begins is for the group to say. */
    private void resets() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 10, LONG_AGO_MS);
        send(10, 20);
        Member all = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 20, n -> List.of(1)), all);
        all.close();
        group = word + "-recent";
        set("share.auto.offset.reset", "by_duration:PT1H");
        Member recent = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(10, 20, n -> List.of(1)), recent);
        recent.close();
        group = word + "-latest";
        Member latest = new Member();
        long deadline = System.nanoTime() + BOUND.toNanos();
        for (int next = 20; latest.got.isEmpty(); next++) {
            that(System.nanoTime() < deadline, "nothing came to a group that begins at the end");
            send(next, next + 1);
            latest.beat(record -> AcknowledgeType.ACCEPT);
        }
        that(latest.got.stream().allMatch(record -> number(record) >= 20), "a group that begins at the end got older records");
        latest.close();
    }

    /** What a member accepted goes with its close, in which it releases what it has besides. */
    private void closes() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 10);
        Member gone = new Member();
        var held = gone.hold(10);
        held.subList(0, 3).forEach(record -> gone.client.acknowledge(record, AcknowledgeType.ACCEPT));
        gone.close();
        Member other = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(3, 10, n -> List.of(2)), other);
        finished();
        other.close();
    }

    /** By implicit acknowledgement the next poll and a commit accept what was handed out; a close does not. */
    private void implicit() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 50);
        Member member = new Member("share.acknowledgement.mode", "implicit");
        member.hold(50);
        member.committed();
        send(50, 60);
        member.hold(10);
        member.close();
        Member other = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(50, 60, n -> List.of(2)), other);
        finished();
        other.close();
    }

    /** More members than partitions: each record comes to one of them, and each of them gets some. */
    private void many() throws Exception {
        begin(2, "share.auto.offset.reset", "earliest");
        List<Member> members = new ArrayList<>();
        for (int count = 1; count <= 4; count++) {
            members.add(new Member("share.acquire.mode", "record_limit", "max.poll.records", "10"));
        }
        Member[] all = members.toArray(Member[]::new);
        await(record -> AcknowledgeType.ACCEPT, new TreeMap<>(), all);
        for (int first = 0; first < 2000; first += 100) {
            send(first, first + 100);
        }
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 2000, n -> List.of(1)), all);
        finished();
        members.forEach(member -> that(!member.got.isEmpty(), "a member got nothing"));
        members.forEach(Member::close);
    }

    /** A group that reads what is committed reads what no transaction is about. */
    private void isolated() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest", "share.isolation.level", "read_committed");
        send(0, 100);
        Member member = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 100, n -> List.of(1)), member);
        finished();
        member.close();
    }

    /** Groups and their offsets are shown, moved and removed, by who may. */
    private void admin() throws Exception {
        begin(1, "share.auto.offset.reset", "earliest");
        send(0, 50);
        Member member = new Member();
        await(record -> AcknowledgeType.ACCEPT, numbers(0, 50, n -> List.of(1)), member);
        TopicPartition place = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(common())) {
            var listed = admin.listGroups().all().get().stream().filter(one -> one.groupId().equals(group)).findFirst();
            hold(listed.map(one -> List.of(one.type().get(), one.groupState().get())), Optional.of(List.of(GroupType.SHARE, GroupState.STABLE)),
                    "the group in the list");
            var described = admin.describeShareGroups(List.of(group)).all().get().get(group);
            hold(described.groupState(), GroupState.STABLE, "state");
            hold(described.members().iterator().next().assignment().topicPartitions(), Set.of(place), "assignment");
            hold(refused(admin.alterShareGroupOffsets(group, Map.of(place, 20L)).all()::get), GroupNotEmptyException.class, "offsets under a member");
            hold(refused(admin.deleteShareGroupOffsets(group, Set.of(topic)).all()::get), GroupNotEmptyException.class, "offsets under a member");
            hold(refused(admin.deleteShareGroups(List.of(group)).all()::get), GroupNotEmptyException.class, "a group with a member");
            member.close();
            eventually(() -> hold(admin.describeShareGroups(List.of(group)).all().get().get(group).groupState(), GroupState.EMPTY, "state"));
            admin.alterShareGroupOffsets(group, Map.of(place, 20L)).all().get();
            eventually(() -> hold(offsets(), List.of(20L, Optional.of(30L)), "start and lag after the change"));
            Member again = new Member();
            await(record -> AcknowledgeType.ACCEPT, numbers(20, 50, n -> List.of(1)), again);
            again.close();
            eventually(() -> hold(admin.describeShareGroups(List.of(group)).all().get().get(group).groupState(), GroupState.EMPTY, "state"));
            admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get();
            hold(admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).all().get().get(group), Map.of(), "offsets that are left");
            admin.deleteShareGroups(List.of(group)).all().get();
            hold(refused(admin.describeShareGroups(List.of(group)).all()::get), GroupIdNotFoundException.class, "a group that is gone");
        }
    }
}
