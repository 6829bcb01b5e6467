import java.io.File;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;

/** Sends the same requests to two brokers and compares the answers: REFERENCE TARGET DIFFERENCES REQUESTS SEED. */
public final class Differential {
    private static final short API_VERSIONS_FOR_ALL = 0;

    private Differential() {}

    public static void main(String[] arguments) throws IOException {
        long requests = Long.parseLong(arguments[3]);
        long seed = Long.parseLong(arguments[4]);
        var bijections = new Bijections();
        var report = new Report(seed);
        var random = new Random(seed);
        try (var reference = new Side("reference", arguments[0], (kind, value) -> value);
                var target = new Side("target", arguments[1], bijections::target)) {
            var comparison = new Comparison(new Rules(new File(arguments[2])), bijections);
            var runner = new Runner(reference, target, comparison, report, random);
            versions(runner, reference, target);
            long began = System.nanoTime();
            Exception stopped = null;
            try {
                play(runner, new Model(random), requests);
            } catch (IOException | RuntimeException error) {
                stopped = error;
            }
            boolean equal = report.print(runner.count(), (System.nanoTime() - began) / 1e9);
            if (stopped != null) {
                report.printLast();
                stopped.printStackTrace(System.out);
                System.out.println("stopped at request " + runner.count() + ": " + stopped);
            } else {
                System.out.println(equal ? "every answer agrees" : "answers differ");
            }
        }
    }

    /** The versions that both serve. */
    private static void versions(Runner runner, Side reference, Side target) throws IOException {
        Step step = new Step("", ApiMessageType.API_VERSIONS, API_VERSIONS_FOR_ALL, names -> new ApiVersionsRequestData());
        var there = ((ApiVersionsResponseData) Runner.question(reference, step)).apiKeys();
        for (var here : ((ApiVersionsResponseData) Runner.question(target, step)).apiKeys()) {
            var known = there.find(here.apiKey());
            if (known != null) {
                short min = (short) Math.max(here.minVersion(), known.minVersion());
                runner.serves(ApiMessageType.fromApiKey(here.apiKey()), min, (short) Math.min(here.maxVersion(), known.maxVersion()));
            }
        }
    }

    private static void play(Runner runner, Model model, long requests) throws IOException {
        var topics = new TopicScenes(runner, model);
        var produce = new ProduceScenes(runner, model);
        var fetch = new FetchScenes(runner, model);
        var offsets = new OffsetScenes(runner, model);
        var groups = new GroupScenes(runner, model);
        var commits = new CommitScenes(runner, model);
        var groupAdmin = new GroupAdminScenes(runner, model);
        var sharedTopics = new ShareTopics(runner, model, topics);
        var shares = new ShareScenes(runner, model, sharedTopics);
        var shareAdmin = new ShareAdminScenes(runner, model, sharedTopics);
        var consumers = new ConsumerScenes(runner, model, sharedTopics);
        var cluster = new ClusterScenes(runner, model);
        var admin = new AdminScenes(runner, model);
        Map<Scene, Integer> weights = new LinkedHashMap<>();
        weights.put(topics::create, 3);
        weights.put(topics::delete, 2);
        weights.put(topics::grow, 2);
        weights.put(topics::describe, 12);
        weights.put(produce::plain, 30);
        weights.put(produce::idempotent, 25);
        weights.put(produce::unacknowledged, 3);
        weights.put(produce::mistaken, 8);
        weights.put(produce::newProducer, 2);
        weights.put(fetch::once, 35);
        weights.put(fetch::session, 8);
        weights.put(offsets::list, 25);
        weights.put(offsets::epochs, 6);
        weights.put(offsets::deleteRecords, 4);
        weights.put(groups::join, 5);
        weights.put(groups::leave, 3);
        weights.put(groups::rejoin, 3);
        weights.put(groups::heartbeats, 8);
        weights.put(groups::mistaken, 5);
        weights.put(commits::commit, 15);
        weights.put(commits::fetch, 15);
        weights.put(commits::delete, 3);
        weights.put(groupAdmin::describe, 8);
        weights.put(groupAdmin::list, 5);
        weights.put(groupAdmin::delete, 2);
        weights.put(groupAdmin::find, 3);
        weights.put(consumers::join, 3);
        weights.put(consumers::leave, 2);
        weights.put(consumers::heartbeats, 5);
        weights.put(consumers::describe, 5);
        weights.put(consumers::mistaken, 4);
        weights.put(shares::send, 12);
        weights.put(shares::join, 4);
        weights.put(shares::leave, 2);
        weights.put(shares::endSession, 2);
        weights.put(shares::heartbeats, 3);
        weights.put(shares::fetch, 25);
        weights.put(shares::acknowledge, 15);
        weights.put(shares::mistaken, 5);
        weights.put(shares::misjudged, 3);
        weights.put(shareAdmin::describe, 5);
        weights.put(shareAdmin::offsets, 8);
        weights.put(shareAdmin::alter, 4);
        weights.put(shareAdmin::delete, 2);
        weights.put(cluster::describe, 3);
        weights.put(cluster::apiVersions, 2);
        weights.put(cluster::alterConfigs, 3);
        weights.put(cluster::describeConfigs, 6);
        weights.put(admin::logDirs, 4);
        weights.put(admin::moveLogs, 1);
        weights.put(admin::producers, 4);
        weights.put(admin::elect, 3);
        weights.put(admin::reassign, 4);
        weights.put(admin::listReassignments, 1);
        weights.put(admin::unregister, 1);
        weights.put(admin::quorum, 2);
        weights.put(admin::features, 3);
        weights.put(admin::subscriptions, 3);
        weights.put(admin::describeQuotas, 2);
        weights.put(admin::alterQuotas, 2);
        weights.put(admin::describeCredentials, 1);
        weights.put(admin::alterCredentials, 2);
        int total = weights.values().stream().mapToInt(Integer::intValue).sum();
        var settling = new Settling(runner);
        settling.coordinators();
        settling.producerIds();
        topics.first();
        long shown = System.nanoTime();
        while (runner.count() < requests) {
            int drawn = runner.random.nextInt(total);
            for (var entry : weights.entrySet()) {
                drawn -= entry.getValue();
                if (drawn < 0) {
                    entry.getKey().play();
                    break;
                }
            }
            if (System.nanoTime() - shown > 10_000_000_000L) {
                shown = System.nanoTime();
                System.out.println(runner.count() + " requests");
            }
        }
    }
}
