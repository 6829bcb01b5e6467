/** What became of the requests. */
final class Tally {
    long handled;
    long answered;
    long connections;
    long closedByBroker;
    long leftWaiting;

    @Override
    public String toString() {
        return handled + " requests: " + answered + " answered; " + connections + " connections, " + closedByBroker
                + " closed by the broker, " + leftWaiting + " left by the client while something waited by right";
    }
}
