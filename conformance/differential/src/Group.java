import java.util.ArrayList;
import java.util.List;

/** A classic group between two scenes: nobody in it, or stable. */
final class Group {
    static final class Member {
        final String connection;
        final String instance;
        String id;

        Member(String connection, String instance, String id) {
            this.connection = connection;
            this.instance = instance;
            this.id = id;
        }
    }

    final String name;
    final List<Member> members = new ArrayList<>();
    /** Topics with committed offsets. */
    final List<Model.Topic> committed = new ArrayList<>();
    int generation;
    String leader = "";
    String protocol;
    boolean exists;

    Group(String name) {
        this.name = name;
    }
}
