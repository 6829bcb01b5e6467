//! The topic settings of Kafka 4.3: names, synonyms on the broker, types, defaults and ranges, in one table.

/// Type of a value, as DescribeConfigs reports it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// 32 bits, at least and at most this.
    Int(i32, i32),
    /// 64 bits, at least this.
    Long(i64),
    /// At least and at most this.
    Double(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas; any words when empty.
    List(&'static [&'static str]),
}

/// What setting it does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is obeyed.
    Obeyed,
    /// It is kept and reported, and changes nothing: the part of Kafka it tunes does not exist here.
    Kept,
    /// Only these values are taken; any other is refused because what it asks for is not implemented.
    Only(&'static [&'static str]),
}

/// One topic setting.
#[derive(Debug)]
pub struct Setting {
    /// Kafka's name on a topic.
    pub name: &'static str,
    /// Kafka's name for the broker-wide default, if there is one.
    pub broker_name: Option<&'static str>,
    /// Further names for the default, in other units: (name, milliseconds in one).
    pub broker_units: &'static [(&'static str, i64)],
    /// Type and range.
    pub kind: Kind,
    /// Value when neither topic nor broker set it.
    pub default: &'static str,
    /// Whether it is obeyed.
    pub effect: Effect,
    /// One sentence for DescribeConfigs.
    pub about: &'static str,
    /// Accepted, but never listed: for tests.
    pub internal: bool,
}

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const MAX: i32 = i32::MAX;

const fn setting(
    name: &'static str,
    broker_name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    about: &'static str,
) -> Setting {
    let broker_name = if broker_name.is_empty() { None } else { Some(broker_name) };
    Setting { name, broker_name, broker_units: &[], kind, default, effect, about, internal: false }
}

const fn in_units(setting: Setting, broker_units: &'static [(&'static str, i64)]) -> Setting {
    Setting { broker_units, ..setting }
}

use Effect::{Kept, Obeyed, Only};
use Kind::{Boolean, Choice, Double, Int, List, Long};

/// Every topic setting, by name. One default is not Kafka's: `flush.messages` is 1, because an acknowledgement here
/// means stable storage unless a topic says otherwise.
#[rustfmt::skip]
pub static TOPIC_SETTINGS: &[Setting] = &[
    setting("cleanup.policy", "log.cleanup.policy", List(&["compact", "delete"]), "delete", Only(&["delete", ""]),
        "What happens to old records: 'delete' removes them by age and size."),
    setting("compression.gzip.level", "compression.gzip.level", Int(-1, 9), "-1", Kept, "Level for compression.type=gzip."),
    setting("compression.lz4.level", "compression.lz4.level", Int(1, 17), "9", Kept, "Level for compression.type=lz4."),
    setting("compression.type", "compression.type", Choice(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer", Only(&["producer"]), "'producer' keeps batches as they were sent."),
    setting("compression.zstd.level", "compression.zstd.level", Int(-131_072, 22), "3", Kept, "Level for compression.type=zstd."),
    setting("delete.retention.ms", "log.cleaner.delete.retention.ms", Long(0), "86400000", Kept,
        "How long a compacted topic keeps tombstones."),
    setting("file.delete.delay.ms", "log.segment.delete.delay.ms", Long(0), "60000", Kept,
        "How long a deleted segment's file stays; here it goes as soon as nobody reads it."),
    in_units(setting("flush.messages", "log.flush.interval.messages", Long(1), "1", Obeyed,
        "Above 1, set on the topic: records are acknowledged when they are written, and synced right after; they survive a crash, not a power cut. At 1 a record is on stable storage before it is acknowledged."), &[]),
    in_units(setting("flush.ms", "log.flush.interval.ms", Long(0), "9223372036854775807", Obeyed,
        "Set on the topic, without flush.messages=1: as flush.messages above 1."), &[("log.flush.scheduler.interval.ms", 1)]),
    setting("follower.replication.throttled.replicas", "", List(&[]), "", Kept, "Replicas whose fetching is throttled."),
    setting("index.interval.bytes", "log.index.interval.bytes", Int(0, MAX), "4096", Kept,
        "Distance of index entries; the index here chooses its own."),
    Setting { internal: true, ..setting("internal.segment.bytes", "", Int(4096, MAX), "", Obeyed,
        "Replaces segment.bytes without its lower limit: for tests only.") },
    setting("leader.replication.throttled.replicas", "", List(&[]), "", Kept, "Replicas whose leading is throttled."),
    setting("local.retention.bytes", "log.local.retention.bytes", Long(-2), "-2", Kept, "Local size of a tiered log."),
    setting("local.retention.ms", "log.local.retention.ms", Long(-2), "-2", Kept, "Local age of a tiered log."),
    setting("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", Long(1), "9223372036854775807", Kept,
        "Longest time a record may stay uncompacted."),
    setting("max.message.bytes", "message.max.bytes", Int(0, MAX), "1048588", Obeyed, "Largest record batch."),
    setting("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", Long(0), "3600000", Obeyed,
        "How far a record's timestamp may be ahead of the broker's clock."),
    setting("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", Long(0), "9223372036854775807", Obeyed,
        "How far a record's timestamp may be behind the broker's clock."),
    setting("message.timestamp.type", "log.message.timestamp.type", Choice(&["CreateTime", "LogAppendTime"]), "CreateTime",
        Obeyed, "Whose clock stamps records: the producer's or the broker's."),
    setting("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Double(0.0, 1.0), "0.5", Kept,
        "Share of uncompacted bytes from which compaction starts."),
    setting("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", Long(0), "0", Kept,
        "Shortest time a record stays uncompacted."),
    setting("min.insync.replicas", "min.insync.replicas", Int(1, MAX), "1", Obeyed,
        "Replicas that must be in sync for acks=all to be accepted."),
    setting("preallocate", "log.preallocate", Boolean, "false", Kept, "Segments are always preallocated in steps here."),
    setting("remote.copy.lag.bytes", "", Long(-1), "0", Kept, "Bytes that tiering lags behind."),
    setting("remote.copy.lag.ms", "", Long(-1), "0", Kept, "Time that tiering lags behind."),
    setting("remote.log.copy.disable", "", Boolean, "false", Kept, "Stops tiering of new segments."),
    setting("remote.log.delete.on.disable", "", Boolean, "false", Kept, "Deletes tiered data when tiering is disabled."),
    setting("remote.storage.enable", "", Boolean, "false", Only(&["false"]), "Tiered storage."),
    setting("retention.bytes", "log.retention.bytes", Long(i64::MIN), "-1", Obeyed,
        "Size of a partition above which its oldest segments are deleted; -1 is no limit."),
    in_units(setting("retention.ms", "log.retention.ms", Long(-1), "604800000", Obeyed,
        "Age above which segments are deleted; -1 is no limit."),
        &[("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)]),
    setting("segment.bytes", "log.segment.bytes", Int(1 << 20, MAX), "1073741824", Obeyed,
        "Size at which a new segment is begun."),
    setting("segment.index.bytes", "log.index.size.max.bytes", Int(4, MAX), "10485760", Kept,
        "Size of an index; the index here has a fixed maximum."),
    in_units(setting("segment.jitter.ms", "log.roll.jitter.ms", Long(0), "0", Kept, "Random part of segment.ms."),
        &[("log.roll.jitter.hours", HOUR_MS)]),
    in_units(setting("segment.ms", "log.roll.ms", Long(1), "604800000", Obeyed, "Age at which a new segment is begun."),
        &[("log.roll.hours", HOUR_MS)]),
    setting("unclean.leader.election.enable", "unclean.leader.election.enable", Boolean, "false", Kept,
        "Whether a replica that lacks records may lead."),
];

/// The setting of this name.
#[must_use]
pub fn setting_named(name: &str) -> Option<&'static Setting> {
    TOPIC_SETTINGS.iter().find(|setting| setting.name == name)
}

/// The topic setting whose broker-wide default `broker_name` sets, and how many milliseconds one of it is (1 when it
/// has no unit).
#[must_use]
pub fn setting_by_broker_name(broker_name: &str) -> Option<(&'static Setting, i64)> {
    TOPIC_SETTINGS.iter().find_map(|setting| {
        if setting.broker_name == Some(broker_name) {
            return Some((setting, 1));
        }
        let unit = setting.broker_units.iter().find(|(name, _)| *name == broker_name)?;
        Some((setting, unit.1))
    })
}

impl Setting {
    /// Whether `value` is of the type, in the range, and asks for nothing that is not implemented; else a sentence.
    ///
    /// # Errors
    /// A sentence for people that names the setting, the value and the range.
    pub fn check(&self, value: &str) -> Result<(), String> {
        self.check_kind(value).map_err(|why| {
            let name = self.name;
            format!("Invalid value {value} for configuration {name}: {why}")
        })?;
        if let Effect::Only(allowed) = self.effect
            && !self.words(value).iter().all(|word| allowed.contains(word))
        {
            let (name, can) = (self.name, allowed[0]);
            return Err(format!("{name}={value} is not implemented by this broker; it can only be {can}"));
        }
        Ok(())
    }

    fn words<'v>(&self, value: &'v str) -> Vec<&'v str> {
        match self.kind {
            Kind::List(_) => value.split(',').map(str::trim).collect(),
            _ => vec![value.trim()],
        }
    }

    fn check_kind(&self, value: &str) -> Result<(), String> {
        let value = value.trim();
        match self.kind {
            Boolean => match value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
                true => Ok(()),
                false => Err("Expected value to be either true or false".into()),
            },
            Int(min, max) => {
                let number: i32 = value.parse().map_err(|_| "Not a number of type INT".to_owned())?;
                in_range(i64::from(number), i64::from(min), i64::from(max), max < MAX)
            }
            Long(min) => {
                let number: i64 = value.parse().map_err(|_| "Not a number of type LONG".to_owned())?;
                in_range(number, min, i64::MAX, false)
            }
            Double(min, max) => match value.parse::<f64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                Ok(_) => Err(format!("Value must be between {min} and {max}")),
                Err(_) => Err("Not a number of type DOUBLE".into()),
            },
            Choice(words) if words.contains(&value) => Ok(()),
            Choice(words) => Err(format!("String must be one of: {}", words.join(", "))),
            List(words) => self.check_list(value, words),
        }
    }

    fn check_list(&self, value: &str, allowed: &[&str]) -> Result<(), String> {
        if value.is_empty() || allowed.is_empty() {
            return Ok(());
        }
        let words = self.words(value);
        for (i, word) in words.iter().enumerate() {
            if !allowed.contains(word) {
                return Err(format!("String must be one of: {}", allowed.join(", ")));
            }
            if words[..i].contains(word) {
                return Err("Values must not be repeated".into());
            }
        }
        Ok(())
    }
}

fn in_range(number: i64, min: i64, max: i64, bounded: bool) -> Result<(), String> {
    match (number < min, number > max) {
        (true, _) => Err(format!("Value must be at least {min}")),
        (_, true) if bounded => Err(format!("Value must be no more than {max}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_every_default_is_valid() {
        assert!(TOPIC_SETTINGS.is_sorted_by_key(|setting| setting.name));
        for setting in TOPIC_SETTINGS.iter().filter(|setting| !setting.internal) {
            assert_eq!(setting.check(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn broker_names_lead_to_one_setting_each() {
        let mut names: Vec<_> = TOPIC_SETTINGS
            .iter()
            .flat_map(|setting| {
                setting.broker_name.into_iter().chain(setting.broker_units.iter().map(|unit| unit.0))
            })
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let (setting, unit) = setting_by_broker_name("log.retention.hours").unwrap();
        assert_eq!((setting.name, unit), ("retention.ms", 3_600_000));
    }

    #[test]
    fn values_are_judged_as_kafka_judges_them() {
        let check = |name: &str, value: &str| setting_named(name).unwrap().check(value).err();
        assert_eq!(check("retention.ms", "-1"), None);
        assert_eq!(
            check("retention.ms", "-2").unwrap(),
            "Invalid value -2 for configuration retention.ms: Value must be at least -1"
        );
        assert!(check("retention.ms", "1d").unwrap().ends_with("Not a number of type LONG"));
        assert!(check("segment.bytes", "1048575").is_some());
        assert_eq!(check("segment.bytes", "1048576"), None);
        assert!(check("segment.bytes", "2147483648").is_some(), "an INT");
        assert_eq!(check("retention.bytes", "-5"), None, "any negative number is no limit");
        assert!(check("compression.gzip.level", "10").unwrap().contains("no more than 9"));
        assert!(check("min.cleanable.dirty.ratio", "1.5").is_some());
        assert!(check("preallocate", "yes").is_some());
        assert!(check("cleanup.policy", "shred").unwrap().contains("one of"));
        assert!(check("cleanup.policy", "compact,delete").unwrap().contains("not implemented"));
        assert!(check("cleanup.policy", "delete,delete").unwrap().contains("repeated"));
        assert_eq!(check("cleanup.policy", ""), None, "keep for ever");
        assert!(check("compression.type", "zstd").unwrap().contains("not implemented"));
        assert!(check("compression.type", "brotli").unwrap().contains("one of"));
        assert!(check("remote.storage.enable", "true").unwrap().contains("not implemented"));
    }
}
