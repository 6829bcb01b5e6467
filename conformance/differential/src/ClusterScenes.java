import java.io.IOException;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.DescribeClusterRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeConfigsResponseData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResourceCollection;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.IncrementalAlterConfigsResponseData;

/** The cluster, the versions it serves, settings of topics and of the broker. */
final class ClusterScenes {
    private static final String CONNECTION = "cluster";
    private static final byte TOPIC = 2;
    private static final byte BROKER = 4;
    private static final byte SET = 0;
    private static final byte DELETE = 1;
    private static final byte APPEND = 2;
    private static final byte SUBTRACT = 3;
    private static final int ENDPOINT_SINCE = 1;
    private static final int FENCED_SINCE = 2;
    private static final int SOFTWARE_SINCE = 3;
    /** Settings that change nothing that the other scenes ask about. */
    private static final List<String> SETTINGS = List.of("retention.ms", "segment.ms", "file.delete.delay.ms", "segment.bytes",
            "retention.bytes", "cleanup.policy", "min.insync.replicas", "index.interval.bytes", "compression.type", "flush.ms");

    private final Runner runner;
    private final Model model;

    ClusterScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    void describe() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_CLUSTER);
        var request = new DescribeClusterRequestData().setIncludeClusterAuthorizedOperations(model.chance(40));
        if (version >= ENDPOINT_SINCE && model.chance(20)) {
            request.setEndpointType((byte) (2 + model.random.nextInt(2)));
        }
        if (version >= FENCED_SINCE) {
            request.setIncludeFencedBrokers(model.chance(50));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_CLUSTER, version, names -> request));
    }

    void apiVersions() throws IOException {
        short version = runner.version(ApiMessageType.API_VERSIONS);
        var request = new ApiVersionsRequestData();
        if (version >= SOFTWARE_SINCE) {
            request.setClientSoftwareName(model.chance(80) ? "differential" : model.any(List.of("", "-a", "a b", "a.")));
            request.setClientSoftwareVersion("1.0");
        }
        runner.ask(new Step("versions", ApiMessageType.API_VERSIONS, version, names -> request));
    }

    void alterConfigs() throws IOException {
        short version = runner.version(ApiMessageType.INCREMENTAL_ALTER_CONFIGS);
        Model.Topic topic = model.any(model.topics);
        var resource = new AlterConfigsResource().setResourceType(TOPIC).setResourceName(topic.name);
        AlterableConfig change = model.chance(70) ? valid() : mistaken();
        resource.configs().add(change);
        if (model.chance(10)) {
            resource.setResourceName(model.name("unknown"));
            resource.configs().clear();
            change = valid();
            resource.configs().add(change);
        }
        boolean onlyValidate = model.chance(20);
        var resources = new AlterConfigsResourceCollection();
        resources.add(resource);
        var request = new IncrementalAlterConfigsRequestData().setResources(resources).setValidateOnly(onlyValidate);
        var answer = (IncrementalAlterConfigsResponseData) runner.ask(
                new Step(CONNECTION, ApiMessageType.INCREMENTAL_ALTER_CONFIGS, version, names -> request));
        if (answer.responses().get(0).errorCode() == 0 && !onlyValidate && change.configOperation() <= DELETE) {
            settled(topic, change);
        }
    }

    private AlterableConfig valid() {
        String name = model.any(SETTINGS);
        var change = new AlterableConfig().setName(name).setConfigOperation(model.chance(30) ? DELETE : SET);
        if (change.configOperation() == DELETE) {
            return change.setValue(null);
        }
        return change.setValue(switch (name) {
            case "cleanup.policy" -> "delete";
            case "compression.type" -> "producer";
            case "min.insync.replicas" -> "1";
            case "segment.bytes" -> "2097152";
            case "flush.ms" -> model.any(List.of("9223372036854775807", "600000"));
            case "retention.ms", "segment.ms", "file.delete.delay.ms" -> Model.LONG_MS;
            default -> Integer.toString(500_000_000 + model.random.nextInt(10) * 1000);
        });
    }

    private AlterableConfig mistaken() {
        return switch (model.random.nextInt(7)) {
            case 0 -> new AlterableConfig().setName("no.such.setting").setConfigOperation(SET).setValue("1");
            case 1 -> new AlterableConfig().setName("retention.ms").setConfigOperation(SET).setValue("soon");
            case 2 -> new AlterableConfig().setName("retention.ms").setConfigOperation(SET).setValue("-2");
            case 3 -> new AlterableConfig().setName("retention.ms").setConfigOperation(APPEND).setValue("1");
            case 4 -> new AlterableConfig().setName("retention.ms").setConfigOperation((byte) 9).setValue("1");
            case 5 -> new AlterableConfig().setName("retention.ms").setConfigOperation(SET).setValue(null);
            default -> new AlterableConfig().setName("cleanup.policy").setConfigOperation(SUBTRACT).setValue("compact");
        };
    }

    private void settled(Model.Topic topic, AlterableConfig change) throws IOException {
        var resource = new DescribeConfigsResource().setResourceType(TOPIC).setResourceName(topic.name)
                .setConfigurationKeys(List.of(change.name()));
        var question = new DescribeConfigsRequestData().setResources(List.of(resource));
        Step step = new Step("", ApiMessageType.DESCRIBE_CONFIGS, (short) 1, names -> question);
        int wanted = change.configOperation() == SET ? 1 : 5;
        runner.settle(change.name() + " is altered", step, answer -> {
            var configs = ((DescribeConfigsResponseData) answer).results().get(0).configs();
            return configs.size() == 1 && (wanted == 1
                    ? configs.get(0).configSource() == 1 && configs.get(0).value().equals(change.value())
                    : configs.get(0).configSource() != 1);
        });
    }

    void describeConfigs() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_CONFIGS);
        var resource = new DescribeConfigsResource().setResourceType(TOPIC)
                .setResourceName(model.chance(90) ? model.any(model.topics).name : model.name("unknown"));
        if (model.chance(20)) {
            resource.setResourceType(BROKER).setResourceName("1")
                    .setConfigurationKeys(List.of("log.retention.hours", "message.max.bytes"));
        } else if (model.chance(60)) {
            resource.setConfigurationKeys(List.of(model.any(SETTINGS), model.any(SETTINGS)));
        } else {
            resource.setConfigurationKeys(model.chance(50) ? null : List.of("no.such.setting", "retention.ms"));
        }
        var request = new DescribeConfigsRequestData().setResources(List.of(resource)).setIncludeSynonyms(model.chance(50));
        if (version >= 3) {
            request.setIncludeDocumentation(model.chance(30));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_CONFIGS, version, names -> request));
    }
}
