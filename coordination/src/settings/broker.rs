//! The settings of brokers: all 340 public ones of Kafka 4.3.1, in tables by area, and ours.

mod cluster;
mod groups;
mod log;
pub mod ours;
mod security;
mod server;
mod tiered;
mod transactions;

use std::sync::LazyLock;

use super::{Effect, Kind, Setting, Update, topic};

const MAX: i32 = i32::MAX;
const ANY_INT: Kind = Kind::Int(i32::MIN, MAX);
const ANY_LONG: Kind = Kind::Long(i64::MIN);
const ANY_DOUBLE: Kind = Kind::Double(f64::MIN, f64::MAX);

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    update: Update,
    effect: Effect,
    about: &'static str,
) -> Setting {
    Setting::new(name, kind, Some(default), update, effect, about)
}

/// Where nobody set it, it is null.
const fn null(
    name: &'static str,
    kind: Kind,
    update: Update,
    effect: Effect,
    about: &'static str,
) -> Setting {
    Setting::new(name, kind, None, update, effect, about)
}

static AREAS: &[&[Setting]] = &[
    server::ROWS,
    log::ROWS,
    groups::ROWS,
    transactions::ROWS,
    cluster::ROWS,
    security::ROWS,
    tiered::ROWS,
    ours::ROWS,
];

static SORTED: LazyLock<Vec<&'static Setting>> = LazyLock::new(|| {
    let mut all: Vec<&Setting> = AREAS.iter().copied().flatten().collect();
    all.sort_unstable_by_key(|setting| setting.name);
    all
});

/// Every setting of a broker, by name.
pub fn all() -> impl ExactSizeIterator<Item = &'static Setting> {
    SORTED.iter().copied()
}

/// The setting of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Setting> {
    let at = SORTED.binary_search_by_key(&name, |setting| setting.name).ok()?;
    SORTED.get(at).copied()
}

/// Prefixes below which Kafka takes any key, and what comes of them here.
pub static FAMILIES: &[(&str, &str)] = &[
    ("config.providers.", super::reason::JAVA),
    ("listener.name.", "there is one listener and it has no settings of its own"),
    ("rlmm.config.", super::reason::TIERED),
    ("rsm.config.", super::reason::TIERED),
];

/// Why a key is in a file for an older Kafka and no longer known.
pub const REMOVED: &str = "Kafka 4 no longer has it either";

/// Keys that files written for older Kafkas still have.
static OLDER: &[&str] = &[
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "inter.broker.protocol.version",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "reserved.broker.max.id",
];

/// Whether an older Kafka had this key.
#[must_use]
pub fn is_removed(name: &str) -> bool {
    OLDER.contains(&name) || name.starts_with("zookeeper.") || name.starts_with("password.encoder.")
}

/// A key of one listener, without the listener: `listener.name.<listener>.<key>`.
#[must_use]
pub fn without_listener(name: &str) -> Option<&str> {
    Some(name.strip_prefix("listener.name.")?.split_once('.')?.1)
}

/// All names under which the setting `name` may be given, the one that wins first. It is among them.
#[must_use]
pub fn synonyms(name: &str) -> Vec<&str> {
    if let Some(base) = without_listener(name) {
        return vec![name, base];
    }
    match topic::by_broker_name(name).map(|topic| topic.broker) {
        // What it defaults to is no other name for it: the other way round it is.
        Some([_, default]) if name == "log.flush.scheduler.interval.ms" => vec![default],
        Some(several) => several.to_vec(),
        None => vec![name],
    }
}

/// How many milliseconds one of the setting `name` is; 1 where it has no unit.
#[must_use]
pub fn unit_ms(name: &str) -> i64 {
    match name.rsplit('.').next() {
        Some("hours") => 3_600_000,
        Some("minutes") => 60_000,
        _ => 1,
    }
}

/// Keys that Kafka changes while it runs only for a listener, by its prefix.
pub static BY_LISTENER_ONLY: &[&str] = &[
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys that Kafka can change while it runs, and we cannot: for these it takes a start.
pub static WITH_A_START: &[&str] = &["listener.security.protocol.map", "listeners"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_stands_once_and_all_of_kafkas_are_there() {
        let names: Vec<_> = all().map(|setting| setting.name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        let listed = all().filter(|setting| !setting.hidden);
        let kafkas = listed.filter(|setting| !setting.name.starts_with("millrace."));
        assert_eq!(kafkas.count(), 340, "Kafka 4.3.1 has 340 public broker keys");
        assert!(AREAS.iter().all(|area| area.is_sorted_by_key(|setting| setting.name)));
        for name in BY_LISTENER_ONLY.iter().chain(WITH_A_START) {
            assert_eq!(named(name).unwrap().update, Update::Broker, "{name}");
        }
    }

    #[test]
    fn what_changes_while_it_runs_is_what_kafka_says() {
        // Kafka's list of dynamic settings has three names that are no settings of its file.
        assert_eq!(all().filter(|setting| setting.update != Update::Start).count(), 102);
        for (name, update) in [
            ("num.partitions", Update::Start),
            ("log.retention.ms", Update::Cluster),
            ("log.retention.hours", Update::Start),
            ("listeners", Update::Broker),
            ("max.connections", Update::Cluster),
        ] {
            assert_eq!(named(name).unwrap().update, update, "{name}");
        }
    }

    #[test]
    fn names_and_units() {
        assert_eq!(synonyms("log.roll.hours"), ["log.roll.ms", "log.roll.hours"]);
        assert_eq!(synonyms("log.flush.scheduler.interval.ms"), ["log.flush.scheduler.interval.ms"]);
        assert_eq!(synonyms("listener.name.a.max.connections")[1], "max.connections");
        assert_eq!(synonyms("node.id"), ["node.id"]);
        assert_eq!(
            (unit_ms("log.roll.hours"), unit_ms("log.retention.minutes"), unit_ms("hours.x")),
            (3_600_000, 60_000, 1)
        );
    }
}
