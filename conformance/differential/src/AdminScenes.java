import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.message.AlterClientQuotasRequestData;
import org.apache.kafka.common.message.AlterPartitionReassignmentsRequestData;
import org.apache.kafka.common.message.AlterPartitionReassignmentsRequestData.ReassignablePartition;
import org.apache.kafka.common.message.AlterPartitionReassignmentsRequestData.ReassignableTopic;
import org.apache.kafka.common.message.AlterReplicaLogDirsRequestData;
import org.apache.kafka.common.message.AlterReplicaLogDirsRequestData.AlterReplicaLogDir;
import org.apache.kafka.common.message.AlterReplicaLogDirsRequestData.AlterReplicaLogDirCollection;
import org.apache.kafka.common.message.AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopic;
import org.apache.kafka.common.message.AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopicCollection;
import org.apache.kafka.common.message.AlterUserScramCredentialsRequestData;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DescribeClientQuotasRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData.DescribableLogDirTopic;
import org.apache.kafka.common.message.DescribeLogDirsRequestData.DescribableLogDirTopicCollection;
import org.apache.kafka.common.message.DescribeProducersRequestData;
import org.apache.kafka.common.message.DescribeQuorumRequestData;
import org.apache.kafka.common.message.DescribeUserScramCredentialsRequestData;
import org.apache.kafka.common.message.ElectLeadersRequestData;
import org.apache.kafka.common.message.ElectLeadersRequestData.TopicPartitions;
import org.apache.kafka.common.message.ElectLeadersRequestData.TopicPartitionsCollection;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResourceCollection;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.ListPartitionReassignmentsRequestData;
import org.apache.kafka.common.message.ListPartitionReassignmentsRequestData.ListPartitionReassignmentsTopics;
import org.apache.kafka.common.message.UnregisterBrokerRequestData;
import org.apache.kafka.common.message.UpdateFeaturesRequestData;
import org.apache.kafka.common.message.UpdateFeaturesRequestData.FeatureUpdateKey;
import org.apache.kafka.common.message.UpdateFeaturesRequestData.FeatureUpdateKeyCollection;

/** What administrators ask beside topics, settings and groups: directories, producers, replicas, features, quotas, credentials. */
final class AdminScenes {
    private static final String CONNECTION = "admin";
    private static final byte CLIENT_METRICS = 16;
    private static final int ELECTION_SINCE = 1;
    private static final int RESIZE_SINCE = 1;
    private static final int UPGRADE_TYPE_SINCE = 1;
    private static final List<String> ENTITIES = List.of("user", "client-id", "ip", "group", "");
    private static final List<String> USERS = List.of("a", "b", "");

    private final Runner runner;
    private final Model model;

    AdminScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    /** Topics by name with partitions, some of which are not there. */
    private record Named(String topic, List<Integer> partitions) {}

    private List<Named> named() {
        List<Named> named = new ArrayList<>();
        for (Model.Topic topic : model.some(3)) {
            List<Integer> partitions = model.partitions(topic, 3);
            if (model.chance(10)) {
                partitions.add(model.chance(50) ? 100 : -1);
            }
            named.add(new Named(topic.name, partitions));
        }
        if (model.chance(15)) {
            named.add(new Named(model.chance(30) ? "no name" : model.name("unknown"), List.of(0)));
        }
        return named;
    }

    void logDirs() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_LOG_DIRS);
        var topics = new DescribableLogDirTopicCollection();
        for (Named one : named()) {
            topics.add(new DescribableLogDirTopic().setTopic(one.topic()).setPartitions(one.partitions()));
        }
        var request = new DescribeLogDirsRequestData().setTopics(topics);
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_LOG_DIRS, version, names -> request));
    }

    /** To directories that there are not: where the others are, only the broker knows. */
    void moveLogs() throws IOException {
        short version = runner.version(ApiMessageType.ALTER_REPLICA_LOG_DIRS);
        var topics = new AlterReplicaLogDirTopicCollection();
        for (Named one : named()) {
            topics.add(new AlterReplicaLogDirTopic().setName(one.topic()).setPartitions(one.partitions()));
        }
        var dirs = new AlterReplicaLogDirCollection();
        dirs.add(new AlterReplicaLogDir().setPath("/no/such/directory").setTopics(topics));
        var request = new AlterReplicaLogDirsRequestData().setDirs(dirs);
        runner.ask(new Step(CONNECTION, ApiMessageType.ALTER_REPLICA_LOG_DIRS, version, names -> request));
    }

    void producers() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_PRODUCERS);
        var request = new DescribeProducersRequestData();
        for (Named one : named()) {
            request.topics().add(new DescribeProducersRequestData.TopicRequest().setName(one.topic())
                    .setPartitionIndexes(one.partitions()));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_PRODUCERS, version, names -> request));
    }

    void elect() throws IOException {
        short version = runner.version(ApiMessageType.ELECT_LEADERS);
        var topics = new TopicPartitionsCollection();
        for (Named one : named()) {
            topics.add(new TopicPartitions().setTopic(one.topic()).setPartitions(one.partitions()));
        }
        var request = new ElectLeadersRequestData().setTopicPartitions(topics).setTimeoutMs(model.timeoutMs());
        if (version >= ELECTION_SINCE) {
            request.setElectionType((byte) (model.chance(5) ? 7 : model.random.nextInt(2)));
        }
        if (model.chance(10)) {
            request.setTopicPartitions(model.chance(50) ? null : new TopicPartitionsCollection());
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.ELECT_LEADERS, version, names -> request));
    }

    void reassign() throws IOException {
        short version = runner.version(ApiMessageType.ALTER_PARTITION_REASSIGNMENTS);
        var request = new AlterPartitionReassignmentsRequestData().setTimeoutMs(model.timeoutMs());
        for (Named one : named()) {
            var topic = new ReassignableTopic().setName(one.topic());
            for (int partition : one.partitions()) {
                topic.partitions().add(new ReassignablePartition().setPartitionIndex(partition).setReplicas(replicas()));
            }
            request.topics().add(topic);
        }
        if (version >= RESIZE_SINCE) {
            request.setAllowReplicationFactorChange(model.chance(50));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.ALTER_PARTITION_REASSIGNMENTS, version, names -> request));
    }

    private List<Integer> replicas() {
        return switch (model.random.nextInt(8)) {
            case 0 -> null;
            case 1 -> List.of();
            case 2 -> List.of(1, 1);
            case 3 -> List.of(1, 2);
            case 4 -> List.of(2, 1, 1);
            case 5 -> List.of(-1);
            default -> List.of(1);
        };
    }

    void listReassignments() throws IOException {
        short version = runner.version(ApiMessageType.LIST_PARTITION_REASSIGNMENTS);
        var request = new ListPartitionReassignmentsRequestData().setTimeoutMs(model.timeoutMs()).setTopics(null);
        if (model.chance(70)) {
            List<ListPartitionReassignmentsTopics> topics = new ArrayList<>();
            for (Named one : named()) {
                topics.add(new ListPartitionReassignmentsTopics().setName(one.topic()).setPartitionIndexes(one.partitions()));
            }
            request.setTopics(topics);
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.LIST_PARTITION_REASSIGNMENTS, version, names -> request));
    }

    void unregister() throws IOException {
        short version = runner.version(ApiMessageType.UNREGISTER_BROKER);
        var request = new UnregisterBrokerRequestData().setBrokerId(model.any(List.of(2, -1, Integer.MAX_VALUE)));
        runner.ask(new Step(CONNECTION, ApiMessageType.UNREGISTER_BROKER, version, names -> request));
    }

    void quorum() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_QUORUM);
        var request = new DescribeQuorumRequestData();
        int topics = model.chance(80) ? 1 : 2;
        for (int n = 0; n < topics; n++) {
            var topic = new DescribeQuorumRequestData.TopicData().setTopicName(
                    model.chance(80) ? "__cluster_metadata" : model.any(model.topics).name);
            topic.partitions().add(new DescribeQuorumRequestData.PartitionData().setPartitionIndex(model.chance(90) ? 0 : 1));
            request.topics().add(topic);
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_QUORUM, version, names -> request));
    }

    /** Levels that change nothing, and mistakes. */
    void features() throws IOException {
        short version = runner.version(ApiMessageType.UPDATE_FEATURES);
        var updates = new FeatureUpdateKeyCollection();
        var update = new FeatureUpdateKey().setFeature("metadata.version").setMaxVersionLevel((short) 30);
        switch (model.random.nextInt(9)) {
            case 0 -> update.setMaxVersionLevel((short) (model.random.nextInt(32) - 1));
            case 1 -> update.setFeature("no.such.version").setMaxVersionLevel((short) model.random.nextInt(2));
            case 2 -> update.setFeature("group.version").setMaxVersionLevel((short) (1 + model.random.nextInt(2)));
            case 3 -> update.setFeature("kraft.version").setMaxVersionLevel((short) model.random.nextInt(3));
            case 4 -> update.setFeature("eligible.leader.replicas.version").setMaxVersionLevel((short) (1 + model.random.nextInt(2)));
            default -> {
                // The level that it has.
            }
        }
        if (version >= UPGRADE_TYPE_SINCE) {
            update.setUpgradeType((byte) model.random.nextInt(5));
        } else {
            update.setAllowDowngrade(model.chance(50));
        }
        updates.add(update);
        var request = new UpdateFeaturesRequestData().setFeatureUpdates(updates).setTimeoutMs(Model.TIMEOUT_MS);
        if (version >= UPGRADE_TYPE_SINCE) {
            request.setValidateOnly(model.chance(50));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.UPDATE_FEATURES, version, names -> request));
    }

    /** Subscriptions to clients' metrics: what would be altered, and what is told of one that nobody made. */
    void subscriptions() throws IOException {
        if (model.chance(40)) {
            short version = runner.version(ApiMessageType.DESCRIBE_CONFIGS);
            var resource = new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType(CLIENT_METRICS)
                    .setResourceName(model.chance(90) ? "nobody" : "").setConfigurationKeys(null);
            var request = new DescribeConfigsRequestData().setResources(List.of(resource)).setIncludeSynonyms(model.chance(50));
            runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_CONFIGS, version, names -> request));
            return;
        }
        short version = runner.version(ApiMessageType.INCREMENTAL_ALTER_CONFIGS);
        var resource = new AlterConfigsResource().setResourceType(CLIENT_METRICS).setResourceName(model.chance(90) ? "s" : "");
        String name = model.any(List.of("metrics", "interval.ms", "match", "no.such"));
        String value = switch (name) {
            case "interval.ms" -> model.any(List.of("100", "99", "3600001", "soon"));
            case "match" -> model.any(List.of("client_id=a.*", "client_id", "nothing=a", "client_software_name=b,client_id=c"));
            default -> model.any(List.of("*", "org.apache.kafka.producer.,b", ""));
        };
        resource.configs().add(new AlterableConfig().setName(name).setConfigOperation((byte) 0).setValue(value));
        var resources = new AlterConfigsResourceCollection();
        resources.add(resource);
        var request = new IncrementalAlterConfigsRequestData().setResources(resources).setValidateOnly(true);
        runner.ask(new Step(CONNECTION, ApiMessageType.INCREMENTAL_ALTER_CONFIGS, version, names -> request));
    }

    void describeQuotas() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_CLIENT_QUOTAS);
        var request = new DescribeClientQuotasRequestData().setStrict(model.chance(50));
        int components = model.random.nextInt(3);
        for (int n = 0; n < components; n++) {
            byte way = (byte) (model.chance(95) ? model.random.nextInt(3) : 9);
            boolean exact = model.chance(90) ? way == 0 : way != 0;
            String kind = model.chance(85) ? ENTITIES.get(model.random.nextInt(3)) : model.any(ENTITIES);
            request.components().add(new DescribeClientQuotasRequestData.ComponentData().setEntityType(kind).setMatchType(way)
                    .setMatch(exact ? "x" : null));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_CLIENT_QUOTAS, version, names -> request));
    }

    /** Removals of what nobody has, and mistakes: no quota is set. */
    void alterQuotas() throws IOException {
        short version = runner.version(ApiMessageType.ALTER_CLIENT_QUOTAS);
        var request = new AlterClientQuotasRequestData().setValidateOnly(model.chance(30));
        String kind = model.chance(80) ? ENTITIES.get(model.random.nextInt(2)) : model.any(ENTITIES);
        String name = kind.equals("ip") ? model.any(List.of("127.0.0.1", "no address")) : "a";
        int entries = model.chance(90) ? 1 : 2;
        for (int n = 0; n < entries; n++) {
            var entry = new AlterClientQuotasRequestData.EntryData();
            entry.entity().add(new AlterClientQuotasRequestData.EntityData().setEntityType(kind)
                    .setEntityName(name));
            entry.ops().add(operation());
            if (model.chance(10)) {
                entry.ops().add(operation());
            }
            request.entries().add(entry);
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.ALTER_CLIENT_QUOTAS, version, names -> request));
    }

    private AlterClientQuotasRequestData.OpData operation() {
        var operation = new AlterClientQuotasRequestData.OpData();
        return switch (model.random.nextInt(5)) {
            case 0 -> operation.setKey("producer_byte_rate").setValue(-1);
            case 1 -> operation.setKey("consumer_byte_rate").setValue(0.5);
            case 2 -> operation.setKey("no_such_rate").setValue(5);
            default -> operation.setKey(model.any(List.of("request_percentage", "no_such_rate"))).setRemove(true);
        };
    }

    void describeCredentials() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_USER_SCRAM_CREDENTIALS);
        var request = new DescribeUserScramCredentialsRequestData();
        if (model.chance(20)) {
            request.setUsers(null);
        }
        int users = request.users() == null ? 0 : model.random.nextInt(3);
        for (int n = 0; n < users; n++) {
            request.users().add(new DescribeUserScramCredentialsRequestData.UserName().setName(model.any(USERS)));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_USER_SCRAM_CREDENTIALS, version, names -> request));
    }

    /** Only mistakes: no credential is set. */
    void alterCredentials() throws IOException {
        short version = runner.version(ApiMessageType.ALTER_USER_SCRAM_CREDENTIALS);
        var request = new AlterUserScramCredentialsRequestData();
        int deletions = model.random.nextInt(3);
        for (int n = 0; n < deletions; n++) {
            request.deletions().add(new AlterUserScramCredentialsRequestData.ScramCredentialDeletion()
                    .setName(model.any(USERS)).setMechanism((byte) model.random.nextInt(4)));
        }
        int upsertions = model.random.nextInt(3);
        for (int n = 0; n < upsertions; n++) {
            request.upsertions().add(new AlterUserScramCredentialsRequestData.ScramCredentialUpsertion()
                    .setName(model.any(USERS)).setMechanism((byte) model.random.nextInt(4))
                    .setIterations(model.chance(50) ? 1 : 100_000).setSalt(new byte[] {1}).setSaltedPassword(new byte[] {2}));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.ALTER_USER_SCRAM_CREDENTIALS, version, names -> request));
    }
}
