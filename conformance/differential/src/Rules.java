import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What may differ, and how: differences.toml, as run.py hands it over. Everything else must be equal. */
final class Rules {
    /**
     * One entry. A path names fields from the top, `[]` an element of an array; `*.name` is that field anywhere.
     *
     * @param how ignored; presence (null or not); same KIND (see Bijections); unordered by FIELD,...
     */
    record Rule(String api, String path, String how, String argument, JsonNode when) {
        boolean covers(String anApi, String aPath) {
            boolean named = path.startsWith("*.")
                    ? aPath.equals(path.substring(2)) || aPath.endsWith(path.substring(1)) : aPath.equals(path);
            return named && (api.equals("*") || api.equals(anApi));
        }

        /** Whether the reference's answer is one that the entry is about. */
        boolean applies(JsonNode holder) {
            if (when == null) {
                return true;
            }
            for (var wanted : when.properties()) {
                JsonNode found = holder.get(wanted.getKey());
                boolean held = false;
                for (JsonNode one : wanted.getValue()) {
                    held |= found != null && one.asText().equals(found.asText());
                }
                if (!held) {
                    return false;
                }
            }
            return true;
        }
    }

    private final List<Rule> rules = new ArrayList<>();
    private final Map<String, List<Rule>> found = new HashMap<>();

    Rules(File file) throws IOException {
        for (JsonNode entry : new ObjectMapper().readTree(file).get("difference")) {
            if (entry.path("because").asText().isEmpty()) {
                throw new IllegalArgumentException("an entry without a reason: " + entry);
            }
            String[] how = entry.get("how").asText().split(" ", 2);
            for (JsonNode api : entry.get("apis")) {
                for (JsonNode path : entry.get("paths")) {
                    rules.add(new Rule(api.asText(), path.asText(), how[0], how.length > 1 ? how[1] : "",
                            entry.get("when")));
                }
            }
        }
    }

    /** The first entry about a field; null when it must be equal. */
    Rule about(String api, String path, JsonNode holder) {
        var about = found.computeIfAbsent(api + " " + path,
                any -> rules.stream().filter(rule -> rule.covers(api, path)).toList());
        for (Rule rule : about) {
            if (rule.applies(holder)) {
                return rule;
            }
        }
        return null;
    }
}
