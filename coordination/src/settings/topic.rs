//! The settings of topics, and their names on the broker.

use super::Effect::{Kept, Obeyed, Only};
use super::Kind::{Boolean, Choice, Double, Int, IntOrMinusOne, List, Long, Replicas};
use super::reason::{ONE_BROKER, QUOTAS, TIERED};
use super::{Effect, Kind, Setting, Update};

const MAX: i32 = i32::MAX;

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker: &'static [&'static str],
    effect: Effect,
    about: &'static str,
) -> Setting {
    Setting { broker, ..Setting::new(name, kind, Some(default), Update::Cluster, effect, about) }
}

/// Every setting of a topic, by name. One default is not Kafka's: `flush.messages` is 1, because an acknowledgement
/// here means stable storage unless a topic says otherwise.
#[rustfmt::skip]
pub static ROWS: &[Setting] = &[
    row("cleanup.policy", List(&["compact", "delete"]), "delete", &["log.cleanup.policy"], Obeyed,
        "What happens to old records: 'delete' removes them by age and size, 'compact' keeps the last one of every key."),
    row("compression.gzip.level", IntOrMinusOne(1, 9), "-1", &["compression.gzip.level"], Obeyed, "Level for compression.type=gzip."),
    row("compression.lz4.level", Int(1, 17), "9", &["compression.lz4.level"], Kept("LZ4 is written in one way"), "Level for compression.type=lz4."),
    row("compression.type", Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer", &["compression.type"], Obeyed,
        "How batches are stored; 'producer' keeps them as they were sent."),
    row("compression.zstd.level", Int(-131_072, 22), "3", &["compression.zstd.level"], Obeyed, "Level for compression.type=zstd."),
    row("delete.retention.ms", Long(0), "86400000", &["log.cleaner.delete.retention.ms"], Obeyed, "How long a compacted topic keeps tombstones."),
    row("file.delete.delay.ms", Long(0), "60000", &["log.segment.delete.delay.ms"], Kept("a file goes as soon as nobody reads it"),
        "How long a deleted segment's file stays."),
    row("flush.messages", Long(1), "1", &["log.flush.interval.messages"], Obeyed,
        "Above 1, set on the topic: records are acknowledged when they are written, and synced right after; they survive a crash, not a power cut. At 1 a record is on stable storage before it is acknowledged."),
    row("flush.ms", Long(0), "9223372036854775807", &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"], Obeyed,
        "Set on the topic, without flush.messages=1: as flush.messages above 1."),
    row("follower.replication.throttled.replicas", Replicas, "", &[], Kept(QUOTAS), "Replicas whose fetching is throttled."),
    row("index.interval.bytes", Int(0, MAX), "4096", &["log.index.interval.bytes"], Kept("the index chooses its own"), "Distance of index entries."),
    Setting { default: None, hidden: true, ..row("internal.segment.bytes", Int(4096, MAX), "", &[], Obeyed,
        "Replaces segment.bytes without its lower limit: for tests only.") },
    row("leader.replication.throttled.replicas", Replicas, "", &[], Kept(QUOTAS), "Replicas whose leading is throttled."),
    row("local.retention.bytes", Long(-2), "-2", &["log.local.retention.bytes"], Kept(TIERED), "Local size of a tiered log."),
    row("local.retention.ms", Long(-2), "-2", &["log.local.retention.ms"], Kept(TIERED), "Local age of a tiered log."),
    row("max.compaction.lag.ms", Long(1), "9223372036854775807", &["log.cleaner.max.compaction.lag.ms"], Obeyed,
        "Longest time a record may stay uncompacted."),
    row("max.message.bytes", Int(0, MAX), "1048588", &["message.max.bytes"], Obeyed, "Largest record batch."),
    row("message.timestamp.after.max.ms", Long(0), "3600000", &["log.message.timestamp.after.max.ms"], Obeyed,
        "How far a record's timestamp may be ahead of the broker's clock."),
    row("message.timestamp.before.max.ms", Long(0), "9223372036854775807", &["log.message.timestamp.before.max.ms"], Obeyed,
        "How far a record's timestamp may be behind the broker's clock."),
    row("message.timestamp.type", Choice(&["CreateTime", "LogAppendTime"]), "CreateTime", &["log.message.timestamp.type"], Obeyed,
        "Whose clock stamps records: the producer's or the broker's."),
    row("min.cleanable.dirty.ratio", Double(0.0, 1.0), "0.5", &["log.cleaner.min.cleanable.ratio"], Obeyed,
        "Share of uncompacted bytes from which compaction starts."),
    row("min.compaction.lag.ms", Long(0), "0", &["log.cleaner.min.compaction.lag.ms"], Obeyed, "Shortest time a record stays uncompacted."),
    row("min.insync.replicas", Int(1, MAX), "1", &["min.insync.replicas"], Kept(ONE_BROKER), "Replicas that must be in sync for acks=all to be accepted."),
    row("preallocate", Boolean, "false", &["log.preallocate"], Kept("segments are always preallocated, in steps"), "Whether segments take their whole size at once."),
    row("remote.log.copy.disable", Boolean, "false", &[], Kept(TIERED), "Stops tiering of new segments."),
    row("remote.log.delete.on.disable", Boolean, "false", &[], Kept(TIERED), "Deletes tiered data when tiering is disabled."),
    row("remote.storage.enable", Boolean, "false", &[], Only(&["false"], TIERED), "Whether the topic's segments are tiered."),
    row("retention.bytes", Long(i64::MIN), "-1", &["log.retention.bytes"], Obeyed,
        "Size of a partition above which its oldest segments are deleted; -1 is no limit."),
    row("retention.ms", Long(-1), "604800000", &["log.retention.ms", "log.retention.minutes", "log.retention.hours"], Obeyed,
        "Age above which segments are deleted; -1 is no limit."),
    row("segment.bytes", Int(1 << 20, MAX), "1073741824", &["log.segment.bytes"], Obeyed, "Size at which a new segment is begun."),
    row("segment.index.bytes", Int(4, MAX), "10485760", &["log.index.size.max.bytes"], Kept("the index has a fixed maximum"), "Size of an index."),
    row("segment.jitter.ms", Long(0), "0", &["log.roll.jitter.ms", "log.roll.jitter.hours"], Obeyed, "Random part of segment.ms."),
    row("segment.ms", Long(1), "604800000", &["log.roll.ms", "log.roll.hours"], Obeyed, "Age at which a new segment is begun."),
    row("unclean.leader.election.enable", Boolean, "false", &["unclean.leader.election.enable"], Kept(ONE_BROKER),
        "Whether a replica that lacks records may lead."),
];

/// The setting of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Setting> {
    ROWS.iter().find(|setting| setting.name == name)
}

/// The topic's setting whose default the broker's setting of this name is.
#[must_use]
pub fn by_broker_name(name: &str) -> Option<&'static Setting> {
    ROWS.iter().find(|setting| setting.broker.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker;

    #[test]
    fn names_are_sorted_and_every_default_on_the_broker_is_one() {
        assert!(ROWS.is_sorted_by_key(|setting| setting.name));
        for name in ROWS.iter().flat_map(|setting| setting.broker) {
            // A broker's default for flushing is told, and relaxes nothing: only the topic itself does.
            let flushing = name.starts_with("log.flush.");
            assert_eq!(broker::named(name).unwrap().effect == Effect::Topics, !flushing, "{name}");
        }
        for setting in broker::all().filter(|setting| setting.effect == Effect::Topics) {
            assert!(by_broker_name(setting.name).is_some(), "{}", setting.name);
        }
    }

    #[test]
    fn broker_names_lead_to_one_setting_each() {
        let mut names: Vec<_> = ROWS.iter().flat_map(|setting| setting.broker).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(by_broker_name("log.retention.hours").unwrap().name, "retention.ms");
    }
}
