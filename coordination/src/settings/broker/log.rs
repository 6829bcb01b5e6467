//! Records at rest: defaults of topics' settings, and the upkeep of logs.

use super::{ANY_DOUBLE, ANY_INT, ANY_LONG, MAX, null, row};
use crate::settings::Effect::{Kept, Obeyed, Topics};
use crate::settings::Kind::{Boolean, Choice, Double, Int, IntOrMinusOne, List, Long};
use crate::settings::Setting;
use crate::settings::Update::{Cluster, Start};
use crate::settings::reason::{CLEANER, DIRECTORIES, FLUSHING};

#[rustfmt::skip]
pub(super) static ROWS: &[Setting] = &[
    row("compression.gzip.level", IntOrMinusOne(1, 9), "-1", Cluster, Topics, "Level for compression.type=gzip."),
    row("compression.lz4.level", Int(1, 17), "9", Cluster, Topics, "Level for compression.type=lz4."),
    row("compression.type", Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer", Cluster, Topics, "How batches of a topic that does not say are stored."),
    row("compression.zstd.level", Int(-131_072, 22), "3", Cluster, Topics, "Level for compression.type=zstd."),
    row("log.cleaner.backoff.ms", Long(0), "15000", Cluster, Obeyed, "Rest of the cleaner when there is nothing to compact."),
    row("log.cleaner.dedupe.buffer.size", ANY_LONG, "134217728", Cluster, Kept(CLEANER), "Memory in which keys are remembered while compacting."),
    row("log.cleaner.delete.retention.ms", Long(0), "86400000", Cluster, Topics, "How long a compacted topic that does not say keeps tombstones."),
    row("log.cleaner.enable", Boolean, "true", Start, Obeyed, "Whether topics are compacted at all."),
    row("log.cleaner.io.buffer.load.factor", ANY_DOUBLE, "0.9", Cluster, Kept(CLEANER), "How full the memory for keys may get."),
    row("log.cleaner.io.buffer.size", Int(0, MAX), "524288", Cluster, Kept(CLEANER), "Memory for reading and writing while compacting."),
    row("log.cleaner.io.max.bytes.per.second", ANY_DOUBLE, "1.7976931348623157E308", Cluster, Obeyed, "How fast compaction may read and write."),
    row("log.cleaner.max.compaction.lag.ms", Long(1), "9223372036854775807", Cluster, Topics, "Longest time a record may stay uncompacted."),
    row("log.cleaner.min.cleanable.ratio", Double(0.0, 1.0), "0.5", Cluster, Topics, "Share of uncompacted bytes from which compaction starts."),
    row("log.cleaner.min.compaction.lag.ms", Long(0), "0", Cluster, Topics, "Shortest time a record stays uncompacted."),
    row("log.cleaner.threads", Int(0, MAX), "1", Cluster, Kept(CLEANER), "Threads that compact."),
    row("log.cleanup.policy", List(&["compact", "delete"]), "delete", Cluster, Topics, "What happens to old records of a topic that does not say."),
    row("log.dir", List(&[]), "millrace-data", Start, Obeyed, "The data directory."),
    row("log.dir.failure.timeout.ms", Long(1), "30000", Start, Kept(DIRECTORIES), "How long a broker lives with a failed directory that the controller does not know of."),
    null("log.dirs", List(&[]), Start, Obeyed, "The data directory; wins over log.dir."),
    row("log.flush.interval.messages", Long(1), "1", Cluster, Kept(FLUSHING), "Records after which a log is synced."),
    null("log.flush.interval.ms", ANY_LONG, Cluster, Kept(FLUSHING), "Time after which a log is synced."),
    row("log.flush.offset.checkpoint.interval.ms", Int(0, MAX), "60000", Start, Kept(FLUSHING), "How often it is written down where recovery starts."),
    row("log.flush.scheduler.interval.ms", ANY_LONG, "9223372036854775807", Start, Kept(FLUSHING), "How often logs are looked at for syncing."),
    row("log.flush.start.offset.checkpoint.interval.ms", Int(0, MAX), "60000", Start, Kept(FLUSHING), "How often it is written down where logs begin."),
    row("log.index.interval.bytes", Int(0, MAX), "4096", Cluster, Topics, "Distance of index entries."),
    row("log.index.size.max.bytes", Int(4, MAX), "10485760", Cluster, Topics, "Size of an index."),
    row("log.local.retention.bytes", Long(-2), "-2", Cluster, Topics, "Local size of a tiered log."),
    row("log.local.retention.ms", Long(-2), "-2", Cluster, Topics, "Local age of a tiered log."),
    row("log.message.timestamp.after.max.ms", Long(0), "3600000", Cluster, Topics, "How far a record's timestamp may be ahead of the broker's clock."),
    row("log.message.timestamp.before.max.ms", Long(0), "9223372036854775807", Cluster, Topics, "How far a record's timestamp may be behind the broker's clock."),
    row("log.message.timestamp.type", Choice(&["CreateTime", "LogAppendTime"]), "CreateTime", Cluster, Topics, "Whose clock stamps records of a topic that does not say."),
    row("log.preallocate", Boolean, "false", Cluster, Topics, "Whether segments take their whole size at once."),
    row("log.retention.bytes", ANY_LONG, "-1", Cluster, Topics, "Size of a partition above which its oldest segments are deleted; -1 is no limit."),
    row("log.retention.check.interval.ms", Long(1), "300000", Start, Obeyed, "How often retention looks for what to delete."),
    row("log.retention.hours", ANY_INT, "168", Start, Topics, "Age above which segments are deleted, in hours."),
    null("log.retention.minutes", ANY_INT, Start, Topics, "Age above which segments are deleted, in minutes; wins over hours."),
    null("log.retention.ms", ANY_LONG, Cluster, Topics, "Age above which segments are deleted; wins over minutes and hours; -1 is no limit."),
    row("log.roll.hours", Int(1, MAX), "168", Start, Topics, "Age at which a new segment is begun, in hours."),
    row("log.roll.jitter.hours", Int(0, MAX), "0", Start, Topics, "Random part of log.roll.hours."),
    null("log.roll.jitter.ms", ANY_LONG, Cluster, Topics, "Random part of log.roll.ms; wins over hours."),
    null("log.roll.ms", ANY_LONG, Cluster, Topics, "Age at which a new segment is begun; wins over hours."),
    row("log.segment.bytes", Int(1_048_576, MAX), "1073741824", Cluster, Topics, "Size at which a new segment is begun."),
    row("log.segment.delete.delay.ms", Long(0), "60000", Cluster, Topics, "How long a deleted segment's file stays."),
    row("message.max.bytes", Int(0, MAX), "1048588", Cluster, Topics, "Largest record batch."),
    row("min.insync.replicas", Int(1, MAX), "1", Cluster, Topics, "Replicas that must be in sync for acks=all to be accepted."),
    row("unclean.leader.election.enable", Boolean, "false", Cluster, Topics, "Whether a replica that lacks records may lead."),
];
