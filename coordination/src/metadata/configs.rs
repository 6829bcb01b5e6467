//! Topic settings: what was written (names and text) and what is meant (typed values that every core obeys).

use std::collections::BTreeMap;

use model::batch::{Codec, Compression};

use super::broker_config::BrokerConfig;
use crate::settings::{Setting, broker, topic};

/// Settings as written: Kafka's name to text, each as [`Setting::take`] gave it.
pub type Overrides = BTreeMap<String, String>;

/// Broker-wide defaults of topic settings, from the broker's own configuration. Shared by every topic.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TopicDefaults {
    values: BTreeMap<&'static str, String>,
}

impl TopicDefaults {
    /// The defaults on a broker of this configuration. Where Kafka has several names for one default, the finest unit wins,
    /// as in Kafka. A value that was never checked as [`check_default`] does counts as not set.
    #[must_use]
    pub fn of(config: &BrokerConfig) -> Self {
        let default = |setting: &'static Setting| {
            let mut set = setting.broker.iter().filter_map(|name| Some((*name, config.set(name)?.0)));
            let (name, value) = set.next()?;
            Some((setting.name, on_topic(name, value, setting).ok()?))
        };
        Self { values: topic::ROWS.iter().filter_map(default).collect() }
    }

    /// The default of a topic setting.
    #[must_use]
    pub fn value(&self, setting: &'static Setting) -> &str {
        self.values.get(setting.name).map_or(setting.default.unwrap_or_default(), String::as_str)
    }
}

/// Whether a value of the broker's setting `name` is one that topics can have; true of settings that are no default of one.
///
/// # Errors
/// A sentence for people.
pub fn check_default(name: &str, value: &str) -> Result<(), String> {
    topic::by_broker_name(name).map_or(Ok(()), |setting| on_topic(name, value, setting).map(drop))
}

/// A broker's value in the topic's unit.
fn on_topic(name: &str, value: &str, setting: &'static Setting) -> Result<String, String> {
    if setting.name != "retention.ms" && broker::unit_ms(name) == 1 {
        return setting.take(value);
    }
    let number: i64 = value.parse().map_err(|_| format!("{name}: {value} is not a whole number"))?;
    let ms = match number {
        // Negative is "no limit" in every unit.
        ..0 => -1,
        0 if setting.name == "retention.ms" => {
            return Err(format!(
                "requirement failed: {name} must be unlimited (-1) or, greater than or equal to 1"
            ));
        }
        _ => number.saturating_mul(broker::unit_ms(name)),
    };
    setting.take(&ms.to_string())
}

/// When an append is acknowledged and may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It is on stable storage.
    Durable,
    /// It is written: it survives the death of the process and of the kernel, not a power cut. The sync follows at once, which is
    /// sooner than any `flush.messages` or `flush.ms` asks for.
    Written,
}

/// Whose clock stamps records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// What the settings of a topic mean. Times in milliseconds, sizes in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// Segments older than this are deleted; `None` keeps them.
    pub retention_ms: Option<u64>,
    /// Oldest segments are deleted while the partition is larger than this; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// Whether retention deletes at all (`cleanup.policy` has `delete`).
    pub cleanup_delete: bool,
    /// What compaction obeys, if there is any (`cleanup.policy` has `compact`).
    pub cleanup_compact: Option<CompactionSettings>,
    /// A segment of this size is sealed.
    pub segment_bytes: u32,
    /// A segment of this age is sealed.
    pub segment_ms: u64,
    /// Up to so much earlier, so that many are not sealed at once.
    pub segment_jitter_ms: u64,
    /// Largest batch accepted.
    pub max_message_bytes: u32,
    /// What batches are compressed with; `None` leaves them as their producers sent them.
    pub codec: Option<Codec>,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// Whose clock stamps records.
    pub message_timestamp_type: TimestampType,
    /// How far a CreateTime timestamp may be behind the broker's clock.
    pub message_timestamp_before_max_ms: u64,
    /// How far a CreateTime timestamp may be ahead of the broker's clock.
    pub message_timestamp_after_max_ms: u64,
    /// How long a deleted segment's file stays.
    pub file_delete_delay_ms: u64,
}

/// What the settings of a compacted topic mean. Times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionSettings {
    /// A record stays uncompacted for so long at least...
    pub lag_min_ms: u64,
    /// ...and about so long at most.
    pub lag_max_ms: u64,
    /// How long tombstones stay.
    pub tombstone_retention_ms: u64,
    /// Share of uncompacted bytes from which compaction starts, in millionths.
    pub dirty_ratio_min_ppm: u32,
}

impl TopicSettings {
    /// Settings of a topic with these overrides on a broker with these defaults.
    #[must_use]
    pub fn resolve(defaults: &TopicDefaults, overrides: &Overrides) -> Self {
        let get = Resolve { defaults, overrides };
        Self {
            retention_ms: u64::try_from(get.long("retention.ms")).ok(),
            retention_bytes: u64::try_from(get.long("retention.bytes")).ok(),
            cleanup_delete: get.policy("delete"),
            cleanup_compact: get.policy("compact").then(|| CompactionSettings {
                lag_min_ms: get.duration("min.compaction.lag.ms"),
                lag_max_ms: get.duration("max.compaction.lag.ms"),
                tombstone_retention_ms: get.duration("delete.retention.ms"),
                dirty_ratio_min_ppm: get.parts("min.cleanable.dirty.ratio"),
            }),
            segment_bytes: match overrides.get("internal.segment.bytes") {
                Some(text) => text.trim().parse().unwrap_or(u32::MAX),
                None => get.size("segment.bytes"),
            },
            segment_ms: get.duration("segment.ms"),
            segment_jitter_ms: get.duration("segment.jitter.ms"),
            max_message_bytes: get.size("max.message.bytes"),
            codec: get.codec(),
            durability: get.durability(),
            message_timestamp_type: match get.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: get.duration("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: get.duration("message.timestamp.after.max.ms"),
            file_delete_delay_ms: get.duration("file.delete.delay.ms"),
        }
    }
}

impl Default for TopicSettings {
    /// Those of a topic nobody configured.
    fn default() -> Self {
        Self::resolve(&TopicDefaults::default(), &Overrides::new())
    }
}

/// Reads values that were checked when they were set; one that does not parse (from a newer version) falls back to
/// the table's default.
struct Resolve<'a> {
    defaults: &'a TopicDefaults,
    overrides: &'a Overrides,
}

impl<'a> Resolve<'a> {
    fn text(&self, name: &str) -> &'a str {
        topic::named(name).map_or("", |setting| effective(self.defaults, self.overrides, setting))
    }

    fn long(&self, name: &str) -> i64 {
        let fallback = || topic::named(name)?.default?.parse().ok();
        self.text(name).trim().parse().ok().or_else(fallback).unwrap_or(0)
    }

    fn duration(&self, name: &str) -> u64 {
        u64::try_from(self.long(name)).unwrap_or(0)
    }

    /// Whether `cleanup.policy` has this word.
    fn policy(&self, wanted: &str) -> bool {
        self.text("cleanup.policy").split(',').any(|word| word.trim() == wanted)
    }

    /// A share, in millionths.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1")]
    fn parts(&self, name: &str) -> u32 {
        let fallback = || topic::named(name)?.default?.parse().ok();
        let share: f64 = self.text(name).trim().parse().ok().or_else(fallback).unwrap_or(0.5);
        (share.clamp(0.0, 1.0) * 1_000_000.0) as u32
    }

    fn size(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).unwrap_or(u32::MAX)
    }

    fn codec(&self) -> Option<Codec> {
        let (compression, level) = match self.text("compression.type") {
            "uncompressed" => (Compression::None, 0),
            "gzip" => (Compression::Gzip, self.long("compression.gzip.level")),
            "snappy" => (Compression::Snappy, 0),
            "lz4" => (Compression::Lz4, 0),
            "zstd" => (Compression::Zstd, self.long("compression.zstd.level")),
            _ => return None,
        };
        Some(Codec { compression, level: i32::try_from(level).unwrap_or(0) })
    }

    /// Only the topic itself relaxes it, by `flush.messages` above 1 or by `flush.ms` alone: in a broker's file the same keys
    /// ask Kafka for more syncs, and must not come to mean fewer.
    fn durability(&self) -> Durability {
        match (self.on_topic("flush.messages"), self.on_topic("flush.ms")) {
            (None, None) | (Some(0 | 1), _) => Durability::Durable,
            _ => Durability::Written,
        }
    }

    fn on_topic(&self, name: &str) -> Option<u64> {
        self.overrides.contains_key(name).then(|| self.duration(name))
    }
}

/// The value in force.
#[must_use]
pub fn effective<'a>(
    defaults: &'a TopicDefaults,
    overrides: &'a Overrides,
    setting: &'static Setting,
) -> &'a str {
    overrides.get(setting.name).map_or_else(|| defaults.value(setting), String::as_str)
}

/// Settings a client wants on a topic as they are kept, each judged alone and all together.
///
/// # Errors
/// A sentence for the first that is unknown, out of range, not implemented, or contradicts another.
pub fn take_overrides(defaults: &TopicDefaults, wanted: &Overrides) -> Result<Overrides, String> {
    // Names first, as in Kafka.
    if let Some(unknown) = wanted.keys().find(|name| topic::named(name).is_none()) {
        return Err(format!("Unknown topic config name: {unknown}"));
    }
    let mut taken = Overrides::new();
    for (name, value) in wanted {
        if let Some(setting) = topic::named(name) {
            taken.insert(name.clone(), setting.take(value)?);
        }
    }
    let get = Resolve { defaults, overrides: &taken };
    let (min, max) = (get.long("min.compaction.lag.ms"), get.long("max.compaction.lag.ms"));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    Ok(taken)
}

/// How IncrementalAlterConfigs changes one setting, with its wire numbers in the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    /// Set to this.
    Set(String),
    /// Back to the default.
    Delete,
    /// Add words to a list.
    Append(String),
    /// Take words from a list.
    Subtract(String),
}

impl ConfigChange {
    /// What the value becomes that is `current` now (`None`: back to the default).
    #[must_use]
    pub fn applied_to(&self, current: &str) -> Option<String> {
        match self {
            Self::Set(value) => Some(value.clone()),
            Self::Delete => None,
            Self::Append(more) => {
                let mut words: Vec<&str> = list_words(current).collect();
                for word in list_words(more) {
                    if !words.contains(&word) {
                        words.push(word);
                    }
                }
                Some(words.join(","))
            }
            Self::Subtract(less) => {
                let less: Vec<&str> = list_words(less).collect();
                Some(list_words(current).filter(|word| !less.contains(word)).collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn list_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
