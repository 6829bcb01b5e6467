//! Topic settings: what was written (names and text) and what is meant (typed values that every core obeys).

use std::collections::BTreeMap;

use super::config_table::{Kind, Setting, setting_by_broker_name, setting_named};

/// Settings as written on a topic: Kafka's name to text, each checked by [`Setting::check`].
pub type Overrides = BTreeMap<String, String>;

/// Where a value comes from, as DescribeConfigs numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Set on the topic: 1.
    Topic,
    /// Set in the broker's configuration file or command line: 4.
    Broker,
    /// Nobody set it: 5.
    Default,
}

/// Broker-wide defaults of topic settings, from the broker's own configuration. Shared by every topic.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TopicDefaults {
    values: BTreeMap<&'static str, String>,
}

impl TopicDefaults {
    /// Takes the broker's configuration, Kafka's broker names to text, in any order. Names that are no default of a
    /// topic setting are passed over. Where Kafka has several units for one default, the finest wins, as in Kafka.
    ///
    /// # Errors
    /// A sentence that names the key and the range.
    pub fn from_broker<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut finest: BTreeMap<&'static str, (i64, String)> = BTreeMap::new();
        for (key, value) in keys {
            let Some((setting, unit_ms)) = setting_by_broker_name(key) else { continue };
            let value = in_milliseconds(key, value.trim(), unit_ms)?;
            setting.check(&value).map_err(|why| format!("{key}: {why}"))?;
            match finest.get(setting.name) {
                Some((known, _)) if *known <= unit_ms => {}
                _ => {
                    finest.insert(setting.name, (unit_ms, value));
                }
            }
        }
        Ok(Self { values: finest.into_iter().map(|(name, (_, value))| (name, value)).collect() })
    }

    /// The default of a topic setting and who set it.
    #[must_use]
    pub fn value(&self, setting: &'static Setting) -> (&str, Source) {
        match self.values.get(setting.name) {
            Some(value) => (value, Source::Broker),
            None => (setting.default, Source::Default),
        }
    }
}

fn in_milliseconds(key: &str, value: &str, unit_ms: i64) -> Result<String, String> {
    if unit_ms == 1 {
        return Ok(value.to_owned());
    }
    let number: i64 = value.parse().map_err(|_| format!("{key}: {value} is not a whole number"))?;
    // Negative is "no limit" in every unit.
    let ms = if number < 0 { number } else { number.saturating_mul(unit_ms) };
    Ok(ms.to_string())
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
    /// A segment of this size is sealed.
    pub segment_bytes: u32,
    /// A segment of this age is sealed.
    pub segment_ms: u64,
    /// Largest batch accepted.
    pub max_message_bytes: u32,
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
    /// Replicas in sync that acks=all needs.
    pub min_insync_replicas: u32,
}

impl TopicSettings {
    /// Settings of a topic with these overrides on a broker with these defaults.
    #[must_use]
    pub fn resolve(defaults: &TopicDefaults, overrides: &Overrides) -> Self {
        let get = Resolve { defaults, overrides };
        Self {
            retention_ms: u64::try_from(get.long("retention.ms")).ok(),
            retention_bytes: u64::try_from(get.long("retention.bytes")).ok(),
            cleanup_delete: get.text("cleanup.policy").split(',').any(|word| word.trim() == "delete"),
            segment_bytes: match overrides.get("internal.segment.bytes") {
                Some(text) => text.trim().parse().unwrap_or(u32::MAX),
                None => get.size("segment.bytes"),
            },
            segment_ms: get.duration("segment.ms"),
            max_message_bytes: get.size("max.message.bytes"),
            durability: get.durability(),
            message_timestamp_type: match get.text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: get.duration("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: get.duration("message.timestamp.after.max.ms"),
            file_delete_delay_ms: get.duration("file.delete.delay.ms"),
            min_insync_replicas: get.size("min.insync.replicas"),
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
        effective(self.defaults, self.overrides, known(name)).0
    }

    fn long(&self, name: &str) -> i64 {
        let fallback = || known(name).default.parse().unwrap_or(0);
        self.text(name).trim().parse().unwrap_or_else(|_| fallback())
    }

    fn duration(&self, name: &str) -> u64 {
        u64::try_from(self.long(name)).unwrap_or(0)
    }

    fn size(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).unwrap_or(u32::MAX)
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
        let (_, source) = effective(self.defaults, self.overrides, known(name));
        (source == Source::Topic).then(|| self.duration(name))
    }
}

fn known(name: &str) -> &'static Setting {
    static NOTHING: Setting = Setting {
        name: "",
        broker_name: None,
        broker_units: &[],
        kind: Kind::List(&[]),
        default: "",
        effect: super::config_table::Effect::Kept,
        about: "",
        internal: true,
    };
    setting_named(name).unwrap_or(&NOTHING)
}

/// The value in force and who set it.
#[must_use]
pub fn effective<'a>(
    defaults: &'a TopicDefaults,
    overrides: &'a Overrides,
    setting: &'static Setting,
) -> (&'a str, Source) {
    match overrides.get(setting.name) {
        Some(value) => (value, Source::Topic),
        None => defaults.value(setting),
    }
}

/// Checks settings a client wants on a topic, each alone and together.
///
/// # Errors
/// A sentence for the first that is unknown, out of range, not implemented, or contradicts another.
pub fn check_overrides(defaults: &TopicDefaults, overrides: &Overrides) -> Result<(), String> {
    for (name, value) in overrides {
        let setting = setting_named(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        setting.check(value)?;
    }
    let get = Resolve { defaults, overrides };
    let (min, max) = (get.long("min.compaction.lag.ms"), get.long("max.compaction.lag.ms"));
    if min > max {
        return Err(format!("min.compaction.lag.ms ({min}) must not exceed max.compaction.lag.ms ({max})"));
    }
    Ok(())
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

/// The value `setting` has after `change` (`None`: the default).
///
/// # Errors
/// A sentence when a setting that is no list is appended to.
pub fn changed(
    defaults: &TopicDefaults,
    overrides: &Overrides,
    setting: &'static Setting,
    change: &ConfigChange,
) -> Result<Option<String>, String> {
    let (words, adding) = match change {
        ConfigChange::Set(value) => return Ok(Some(value.clone())),
        ConfigChange::Delete => return Ok(None),
        ConfigChange::Append(words) => (words, true),
        ConfigChange::Subtract(words) => (words, false),
    };
    if !matches!(setting.kind, Kind::List(_)) {
        return Err(format!("Can't APPEND to or SUBTRACT from {}: its type is not LIST", setting.name));
    }
    let named: Vec<&str> = list_words(words).collect();
    let current = effective(defaults, overrides, setting).0;
    let mut result: Vec<&str> = list_words(current).filter(|word| adding || !named.contains(word)).collect();
    if adding {
        for word in named {
            if !result.contains(&word) {
                result.push(word);
            }
        }
    }
    Ok(Some(result.join(",")))
}

fn list_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_set_means_kafkas_defaults_and_stable_storage() {
        let settings = TopicSettings::default();
        assert_eq!(settings.retention_ms, Some(604_800_000));
        assert_eq!(settings.retention_bytes, None);
        assert!(settings.cleanup_delete);
        assert_eq!((settings.segment_bytes, settings.segment_ms), (1 << 30, 604_800_000));
        assert_eq!(settings.max_message_bytes, 1_048_588);
        assert_eq!(settings.message_timestamp_type, TimestampType::CreateTime);
        assert_eq!(settings.message_timestamp_after_max_ms, 3_600_000);
        assert_eq!(settings.durability, Durability::Durable);
    }

    #[test]
    fn only_an_explicit_flush_setting_relaxes_durability() {
        let durability = |pairs: &[(&str, &str)]| {
            TopicSettings::resolve(&TopicDefaults::default(), &overrides(pairs)).durability
        };
        assert_eq!(durability(&[("flush.messages", "1")]), Durability::Durable);
        assert_eq!(durability(&[("flush.messages", "1"), ("flush.ms", "100")]), Durability::Durable);
        assert_eq!(durability(&[("flush.ms", "100")]), Durability::Written);
        assert_eq!(durability(&[("flush.messages", "9")]), Durability::Written);
        let broker = TopicDefaults::from_broker([("log.flush.interval.messages", "9")]);
        let resolved = broker.map(|defaults| TopicSettings::resolve(&defaults, &overrides(&[])).durability);
        assert_eq!(resolved, Ok(Durability::Durable), "a broker's file relaxes nothing");
    }

    #[test]
    fn the_finest_unit_wins_on_the_broker() {
        let defaults = TopicDefaults::from_broker([
            ("log.retention.hours", "2"),
            ("log.retention.minutes", "3"),
            ("node.id", "1"),
        ]);
        let settings = TopicSettings::resolve(&defaults.unwrap(), &Overrides::new());
        assert_eq!(settings.retention_ms, Some(180_000));
        let forever = TopicDefaults::from_broker([("log.retention.hours", "-1")]).unwrap();
        assert_eq!(TopicSettings::resolve(&forever, &Overrides::new()).retention_ms, None);
        let wrong = TopicDefaults::from_broker([("log.segment.bytes", "7")]).unwrap_err();
        assert!(wrong.contains("log.segment.bytes") && wrong.contains("1048576"), "{wrong}");
    }

    #[test]
    fn unknown_and_contradicting_settings_are_refused() {
        let none = TopicDefaults::default();
        let check = |pairs: &[(&str, &str)]| check_overrides(&none, &overrides(pairs)).err();
        assert_eq!(check(&[("retention.mss", "1")]).unwrap(), "Unknown topic config name: retention.mss");
        assert!(check(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]).is_some());
        assert_eq!(check(&[("retention.ms", "1"), ("internal.segment.bytes", "4096")]), None);
    }

    #[test]
    fn lists_are_appended_to_and_subtracted_from() {
        let none = TopicDefaults::default();
        let policy = setting_named("cleanup.policy").unwrap();
        let apply = |change| changed(&none, &Overrides::new(), policy, &change).unwrap().unwrap();
        assert_eq!(apply(ConfigChange::Append("compact".into())), "delete,compact");
        assert_eq!(apply(ConfigChange::Append("delete".into())), "delete");
        assert_eq!(apply(ConfigChange::Subtract("delete".into())), "");
        let number = setting_named("retention.ms").unwrap();
        assert!(changed(&none, &Overrides::new(), number, &ConfigChange::Append("1".into())).is_err());
    }
}
