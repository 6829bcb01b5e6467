//! What a broker is, where it listens, how it takes connections and requests.

use super::{ANY_INT, ANY_LONG, MAX, null, row};
use crate::settings::Effect::{Kept, Obeyed};
use crate::settings::Kind::{Boolean, Int, List, Long, Text};
use crate::settings::Setting;
use crate::settings::Update::{Broker, Cluster, Start};
use crate::settings::reason::{
    JAVA, METRICS, ONE_BROKER, OVERRIDES, PURGATORY, QUEUES, QUOTAS, SOCKETS, THREADS,
};

#[rustfmt::skip]
pub(super) static ROWS: &[Setting] = &[
    null("advertised.listeners", List(&[]), Start, Obeyed, "Where clients are told to connect."),
    row("auto.create.topics.enable", Boolean, "true", Start, Obeyed, "Whether asking for a topic's metadata creates it."),
    row("background.threads", Int(1, MAX), "10", Cluster, Kept(THREADS), "Threads for odd jobs."),
    row("broker.id", ANY_INT, "-1", Start, Obeyed, "The older name of node.id."),
    null("broker.rack", Text, Start, Obeyed, "The rack that clients are told."),
    row("config.providers", List(&[]), "", Cluster, Kept(JAVA), "Plug-ins that put in values from elsewhere."),
    row("connections.max.idle.ms", ANY_LONG, "600000", Start, Obeyed, "An idle connection closes after this; negative keeps it."),
    row("delete.records.purgatory.purge.interval.requests", ANY_INT, "1", Start, Kept(PURGATORY), "How many finished deletions of records are cleared away together."),
    row("delete.topic.enable", Boolean, "true", Start, Obeyed, "Whether topics can be deleted."),
    row("fetch.max.bytes", Int(1024, MAX), "57671680", Start, Obeyed, "Largest answer to a fetch."),
    row("fetch.purgatory.purge.interval.requests", ANY_INT, "1000", Start, Kept(PURGATORY), "How many finished fetches are cleared away together."),
    row("kafka.metrics.polling.interval.secs", Int(1, MAX), "10", Start, Kept(METRICS), "How often reporters are given metrics."),
    row("kafka.metrics.reporters", List(&[]), "", Start, Kept(METRICS), "Classes that report metrics of the older kind."),
    row("listener.security.protocol.map", Text, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Broker, Obeyed, "Security protocol of each listener; only PLAINTEXT is there yet."),
    row("listeners", List(&[]), "127.0.0.1:9092", Broker, Obeyed, "Where clients connect."),
    row("max.connection.creation.rate", Int(0, MAX), "2147483647", Cluster, Kept(QUOTAS), "New connections per second."),
    row("max.connections", Int(0, MAX), "2147483647", Cluster, Obeyed, "Connections at a time; more wait."),
    row("max.connections.per.ip", Int(0, MAX), "2147483647", Cluster, Obeyed, "Connections at a time from one address; more are closed."),
    row("max.connections.per.ip.overrides", Text, "", Cluster, Kept(OVERRIDES), "Other limits for some addresses."),
    row("max.incremental.fetch.session.cache.slots", Int(0, MAX), "1000", Start, Obeyed, "Fetch sessions that are kept."),
    row("max.request.partition.size.limit", Int(1, MAX), "2000", Start, Obeyed, "Partitions in one answer to DescribeTopicPartitions."),
    row("metric.reporters", List(&[]), "org.apache.kafka.common.metrics.JmxReporter", Cluster, Kept(METRICS), "Classes that report metrics."),
    row("metrics.num.samples", Int(1, MAX), "2", Start, Kept(METRICS), "Samples behind one metric."),
    row("metrics.recording.level", Text, "INFO", Start, Kept(METRICS), "How detailed metrics are."),
    row("metrics.sample.window.ms", Long(1), "30000", Start, Kept(METRICS), "Time that one sample of a metric covers."),
    null("node.id", Int(0, MAX), Start, Obeyed, "This broker's id."),
    row("num.io.threads", Int(1, MAX), "8", Cluster, Kept(THREADS), "Threads that work on requests."),
    row("num.network.threads", Int(1, MAX), "3", Cluster, Kept(THREADS), "Threads that read and write sockets."),
    row("num.partitions", Int(1, MAX), "1", Start, Obeyed, "Partitions of a topic that does not say."),
    row("num.recovery.threads.per.data.dir", Int(1, MAX), "2", Cluster, Kept(THREADS), "Threads that bring logs to rest at a start and a stop."),
    row("producer.purgatory.purge.interval.requests", ANY_INT, "1000", Start, Kept(PURGATORY), "How many finished produce requests are cleared away together."),
    row("queued.max.request.bytes", ANY_LONG, "-1", Start, Kept(QUEUES), "Bytes of requests that may wait."),
    row("queued.max.requests", Int(1, MAX), "500", Start, Kept(QUEUES), "Requests that may wait."),
    row("socket.connection.setup.timeout.max.ms", ANY_LONG, "30000", Start, Kept(ONE_BROKER), "Longest wait for a connection to another server."),
    row("socket.connection.setup.timeout.ms", ANY_LONG, "10000", Start, Kept(ONE_BROKER), "First wait for a connection to another server."),
    row("socket.listen.backlog.size", Int(1, MAX), "50", Start, Kept(SOCKETS), "Connections that may wait to be accepted."),
    row("socket.receive.buffer.bytes", ANY_INT, "102400", Start, Kept(SOCKETS), "Buffer of a socket for what arrives."),
    row("socket.request.max.bytes", Int(1, MAX), "104857600", Start, Obeyed, "Largest request; cut to what the memory of a core can serve."),
    row("socket.send.buffer.bytes", ANY_INT, "102400", Start, Kept(SOCKETS), "Buffer of a socket for what leaves."),
    row("telemetry.max.bytes", Int(1, MAX), "1048576", Start, Obeyed, "Largest push of metrics from a client."),
];
