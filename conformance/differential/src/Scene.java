import java.io.IOException;

/** A few requests that belong together; before and after them nothing is under way at the brokers. */
interface Scene {
    void play() throws IOException;
}
