import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Holds the answers of both brokers against each other, field by field. */
final class Comparison {
    /** A field that differs and may not. */
    record Difference(String path, JsonNode reference, JsonNode target) {
        @Override
        public String toString() {
            return path + ": " + brief(reference) + " | " + brief(target);
        }
    }

    private final long begunMs = System.currentTimeMillis();
    private final Rules rules;
    private final Bijections bijections;
    private String api;
    private List<Difference> differences;

    Comparison(Rules rules, Bijections bijections) {
        this.rules = rules;
        this.bijections = bijections;
    }

    List<Difference> compare(String anApi, JsonNode reference, JsonNode target) {
        api = anApi;
        differences = new ArrayList<>();
        fields("", reference, target);
        return differences;
    }

    private void fields(String path, JsonNode reference, JsonNode target) {
        Set<String> names = new LinkedHashSet<>();
        reference.fieldNames().forEachRemaining(names::add);
        target.fieldNames().forEachRemaining(names::add);
        for (String name : names) {
            String at = path.isEmpty() ? name : path + "." + name;
            Rules.Rule rule = rules.about(api, at, reference);
            if (rule != null && rule.how().equals("covering")) {
                array(at, covering(reference, name, rule), covering(target, name, rule));
            } else {
                value(at, rule, reference.path(name), target.path(name));
            }
        }
    }

    private void value(String path, Rules.Rule rule, JsonNode reference, JsonNode target) {
        String how = rule == null ? "equal" : rule.how();
        switch (how) {
            case "ignored" -> { }
            case "presence" -> {
                boolean more = rule.argument().equals("or more") && reference.isNull();
                unlessEqual(path, more || reference.isNull() == target.isNull(), reference, target);
            }
            case "pair" -> unlessEqual(path, reference.equals(target)
                    || rule.argument().equals(reference.asText() + "/" + target.asText()), reference, target);
            case "clock" -> unlessEqual(path, reference.equals(target) || isOfTheRun(reference) && isOfTheRun(target), reference, target);
            case "merged" -> array(path, sorted(path, merged(reference, rule), rule, false), sorted(path, merged(target, rule), rule, true));
            case "within" -> within(path, rule, reference, target);
            case "same" -> same(path, rule.argument(), reference, target);
            case "joined" -> array(path, joined(reference), joined(target));
            case "news" -> array(path, sorted(path, news(reference), rule, false), sorted(path, news(target), rule, true));
            case "unordered" -> array(path, sorted(path, reference, rule, false), sorted(path, target, rule, true));
            case "equal" -> plain(path, reference, target);
            default -> throw new IllegalArgumentException("no rule is called " + how);
        }
    }

    private void plain(String path, JsonNode reference, JsonNode target) {
        if (reference.isObject() && target.isObject()) {
            fields(path, reference, target);
        } else if (reference.isArray() && target.isArray()) {
            array(path, list(reference), list(target));
        } else {
            unlessEqual(path, reference.equals(target), reference, target);
        }
    }

    private void array(String path, List<JsonNode> reference, List<JsonNode> target) {
        if (reference.size() != target.size()) {
            unlessEqual(path + ".length", false, shown(reference), shown(target));
            return;
        }
        for (int at = 0; at < reference.size(); at++) {
            plain(path + "[]", reference.get(at), target.get(at));
        }
    }

    private void same(String path, String kind, JsonNode reference, JsonNode target) {
        if (reference.isArray() && target.isArray() && reference.size() == target.size()) {
            for (int at = 0; at < reference.size(); at++) {
                same(path, kind, reference.get(at), target.get(at));
            }
            return;
        }
        boolean blank = isBlank(reference) || isBlank(target);
        boolean agreed = blank ? reference.equals(target) : bijections.agree(kind, reference.asText(), target.asText());
        unlessEqual(path, agreed, reference, target);
    }

    /** Records of the model are years older. */
    private boolean isOfTheRun(JsonNode time) {
        return time.asLong() >= begunMs;
    }

    /** Elements of the reference that the target has no counterpart of do not count, nor those of the target with certain values. */
    private void within(String path, Rules.Rule rule, JsonNode reference, JsonNode target) {
        String[] words = rule.argument().split(" ");
        String key = words[1];
        List<String> besides = words.length > 3 ? List.of(words[3].split(",")) : List.of();
        List<JsonNode> left = list(reference);
        List<JsonNode> right = list(target);
        right.removeIf(one -> besides.contains(one.path(key).asText()));
        left.removeIf(one -> right.stream().noneMatch(other -> other.path(key).equals(one.path(key))));
        Comparator<JsonNode> order = Comparator.comparing(one -> one.path(key).asText());
        left.sort(order);
        right.sort(order);
        array(path, left, right);
    }

    /** Elements of the same key put together: what they hold in arrays follows one another. */
    private static JsonNode merged(JsonNode array, Rules.Rule rule) {
        String[] keys = rule.argument().substring("by ".length()).split(",");
        Map<String, ObjectNode> byKey = new LinkedHashMap<>();
        for (JsonNode element : array) {
            StringBuilder key = new StringBuilder();
            for (String name : keys) {
                key.append(element.path(name).asText()).append('\0');
            }
            ObjectNode known = byKey.putIfAbsent(key.toString(), ((ObjectNode) element).deepCopy());
            if (known != null) {
                element.properties().stream().filter(field -> field.getValue().isArray())
                        .forEach(field -> ((ArrayNode) known.get(field.getKey())).addAll((ArrayNode) field.getValue()));
            }
        }
        return JsonNodeFactory.instance.arrayNode().addAll(byKey.values());
    }

    /** Of partitions of a share group, or topics of them, those that say anything. */
    private static JsonNode news(JsonNode array) {
        ArrayNode kept = JsonNodeFactory.instance.arrayNode();
        array.forEach(element -> {
            boolean says = element.path("errorCode").asInt() != 0 || element.path("acknowledgeErrorCode").asInt() != 0
                    || !element.path("acquiredRecords").isEmpty() || !news(element.path("partitions")).isEmpty();
            if (says) {
                kept.add(element);
            }
        });
        return kept;
    }

    /** Runs of offsets that follow one another and were delivered equally often are one. */
    private static List<JsonNode> joined(JsonNode runs) {
        List<JsonNode> all = new ArrayList<>();
        for (JsonNode run : runs) {
            JsonNode before = all.isEmpty() ? MissingNode.getInstance() : all.get(all.size() - 1);
            boolean goesOn = before.path("lastOffset").asLong() + 1 == run.path("firstOffset").asLong()
                    && before.path("deliveryCount").equals(run.path("deliveryCount"));
            if (goesOn) {
                ((ObjectNode) before).set("lastOffset", run.path("lastOffset"));
            } else {
                all.add(run.deepCopy());
            }
        }
        return all;
    }

    /** Batches with a record that one of the runs of the neighbouring field has. */
    private static List<JsonNode> covering(JsonNode holder, String name, Rules.Rule rule) {
        List<JsonNode> batches = list(holder.path(name));
        List<JsonNode> runs = list(holder.path(rule.argument()));
        batches.removeIf(batch -> runs.stream().noneMatch(run -> run.path("firstOffset").asLong() <= batch.path("lastOffset").asLong()
                && batch.path("baseOffset").asLong() <= run.path("lastOffset").asLong()));
        return batches;
    }

    /** What stands for nothing: it is the same at both brokers and names nobody. */
    private static boolean isBlank(JsonNode value) {
        String text = value.asText();
        return value.isNull() || value.isMissingNode() || text.isEmpty() || text.equals("-1")
                || text.equals("AAAAAAAAAAAAAAAAAAAAAA");
    }

    private void unlessEqual(String path, boolean equal, JsonNode reference, JsonNode target) {
        if (!equal) {
            differences.add(new Difference(path, reference, target));
        }
    }

    /** Elements by what the rule names; values of the target under the reference's names. */
    private List<JsonNode> sorted(String path, JsonNode array, Rules.Rule rule, boolean ofTarget) {
        List<JsonNode> all = list(array);
        String[] keys = rule.argument().substring("by ".length()).split(",");
        all.sort(Comparator.comparing(element -> {
            StringBuilder key = new StringBuilder();
            for (String name : keys) {
                JsonNode value = name.equals("itself") ? element : element.path(name);
                Rules.Rule mapped = rules.about(api, path + "[]." + name, element);
                boolean foreign = ofTarget && mapped != null && mapped.how().equals("same");
                key.append(foreign ? bijections.reference(mapped.argument(), value.asText()) : value.asText()).append('\0');
            }
            return key.toString();
        }));
        return all;
    }

    private static List<JsonNode> list(JsonNode array) {
        List<JsonNode> all = new ArrayList<>();
        array.forEach(all::add);
        return all;
    }

    private static JsonNode shown(List<JsonNode> elements) {
        ObjectNode node = JsonNodeFactory.instance.objectNode();
        node.put("length", elements.size());
        if (!elements.isEmpty()) {
            node.set("last", elements.get(elements.size() - 1));
        }
        return node;
    }

    static String brief(JsonNode value) {
        String text = value instanceof MissingNode ? "(absent)" : value.toString();
        return text.length() <= 160 ? text : text.substring(0, 160) + "...";
    }
}
