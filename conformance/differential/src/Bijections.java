import java.util.HashMap;
import java.util.Map;

/**
 * Values that each broker makes up itself (ids, epochs, ports): which value of the target stands for which of the
 * reference. Once two have met, neither may meet another one.
 */
final class Bijections {
    private final Map<String, Map<String, String>> toTarget = new HashMap<>();
    private final Map<String, Map<String, String>> toReference = new HashMap<>();

    /** Whether the two stand for each other; the first time that both are seen they do from then on. */
    boolean agree(String kind, String reference, String target) {
        var there = toTarget.computeIfAbsent(kind, any -> new HashMap<>());
        var back = toReference.computeIfAbsent(kind, any -> new HashMap<>());
        String bound = there.get(reference);
        String boundBack = back.get(target);
        if (bound == null && boundBack == null) {
            there.put(reference, target);
            back.put(target, reference);
            return true;
        }
        return target.equals(bound);
    }

    /** The target's value for one of the reference; one that has no partner is the same at both. */
    String target(String kind, String reference) {
        return toTarget.getOrDefault(kind, Map.of()).getOrDefault(reference, reference);
    }

    /** The reference's value for one of the target, if they met. */
    String reference(String kind, String target) {
        return toReference.getOrDefault(kind, Map.of()).getOrDefault(target, target);
    }
}
