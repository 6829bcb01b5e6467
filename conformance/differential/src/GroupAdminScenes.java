import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DeleteGroupsResponseData;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.ListGroupsRequestData;

/** Groups as an administrator sees them. */
final class GroupAdminScenes {
    private static final String CONNECTION = "groups";
    private static final int OPERATIONS_SINCE = 3;
    private static final int STATES_SINCE = 4;
    private static final int TYPES_SINCE = 5;
    private static final int KEY_TYPE_SINCE = 1;
    private static final int KEYS_SINCE = 4;

    private final Runner runner;
    private final Model model;

    GroupAdminScenes(Runner runner, Model model) {
        this.runner = runner;
        this.model = model;
    }

    private List<String> some() {
        List<String> names = new ArrayList<>();
        for (Group group : model.groups) {
            if (model.chance(40)) {
                names.add(group.name);
            }
        }
        if (names.isEmpty() || model.chance(15)) {
            names.add(model.chance(10) ? "" : model.name("unknown"));
        }
        return names;
    }

    void describe() throws IOException {
        short version = runner.version(ApiMessageType.DESCRIBE_GROUPS);
        var request = new DescribeGroupsRequestData().setGroups(some());
        if (version >= OPERATIONS_SINCE) {
            request.setIncludeAuthorizedOperations(model.chance(40));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.DESCRIBE_GROUPS, version, names -> request));
    }

    void list() throws IOException {
        short version = runner.version(ApiMessageType.LIST_GROUPS);
        var request = new ListGroupsRequestData();
        if (version >= STATES_SINCE && model.chance(50)) {
            request.setStatesFilter(List.of(model.any(List.of("Stable", "Empty", "stable", "Dead", "NoSuchState"))));
        }
        if (version >= TYPES_SINCE && model.chance(30)) {
            request.setTypesFilter(List.of(model.any(List.of("classic", "Classic", "consumer", "share", "nosuch"))));
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.LIST_GROUPS, version, names -> request));
    }

    void delete() throws IOException {
        short version = runner.version(ApiMessageType.DELETE_GROUPS);
        List<String> chosen = some();
        var request = new DeleteGroupsRequestData().setGroupsNames(chosen.subList(0, Math.min(2, chosen.size())));
        var answer = (DeleteGroupsResponseData) runner.ask(new Step(CONNECTION, ApiMessageType.DELETE_GROUPS, version, names -> request));
        for (var result : answer.results()) {
            if (result.errorCode() == 0) {
                model.groups.removeIf(group -> group.name.equals(result.groupId()));
            }
        }
    }

    void find() throws IOException {
        short version = runner.version(ApiMessageType.FIND_COORDINATOR);
        var request = new FindCoordinatorRequestData();
        if (version >= KEYS_SINCE) {
            request.setCoordinatorKeys(some());
        } else {
            request.setKey(some().get(0));
        }
        if (version >= KEY_TYPE_SINCE && model.chance(5)) {
            request.setKeyType((byte) 9);
        }
        runner.ask(new Step(CONNECTION, ApiMessageType.FIND_COORDINATOR, version, names -> request));
    }
}
