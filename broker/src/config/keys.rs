//! Which configuration keys there are, and which values they take. What each of them means stands in the tables of
//! `coordination::settings`.

use coordination::metadata::configs::check_default;
pub use coordination::settings::broker::ours::{ADMIN_LISTENER, CORES, DISK_FAIL, DISK_RECORD, MEMORY, SPIN};
use coordination::settings::{Effect, Kind, Setting, Update, broker};

/// What a key is to this broker.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// It stands in the tables.
    Known(&'static Setting),
    /// Kafka has it, or had it; here it changes nothing, for this reason.
    Ignored(&'static str),
    /// Nobody has it.
    Unknown,
}

/// What `key` is.
#[must_use]
pub fn classify(key: &str) -> Class {
    // Those that are listed only where they are set, and that change while it runs, are in no file of Kafka's.
    let in_files = |setting: &&Setting| !setting.hidden || setting.update == Update::Start;
    if let Some(setting) = broker::named(key).filter(in_files) {
        return Class::Known(setting);
    }
    if let Some((_, why)) = broker::FAMILIES.iter().find(|(family, _)| key.starts_with(family)) {
        return Class::Ignored(why);
    }
    if broker::is_removed(key) { Class::Ignored(broker::REMOVED) } else { Class::Unknown }
}

/// The value as it is kept.
///
/// # Errors
/// What is wrong with it, without key and value.
pub fn take(setting: &Setting, value: &str) -> Result<String, String> {
    let taken = setting.take(value).and_then(|taken| {
        let topics = setting.effect == Effect::Topics;
        if topics { check_default(setting.name, &taken).map(|()| taken) } else { Ok(taken) }
    });
    taken.map_err(|why| {
        let known = format!("Invalid value {value} for configuration {}: ", setting.name);
        why.strip_prefix(&known).map_or_else(|| why.clone(), str::to_owned)
    })
}

/// Whether the value of `key` may be told: neither a secret nor of a plug-in that nobody knows.
#[must_use]
pub fn is_told(key: &str) -> bool {
    let base = broker::without_listener(key).unwrap_or(key);
    broker::named(base).is_some_and(|setting| setting.kind != Kind::Password)
}

/// The known key that is written most like `key`.
#[must_use]
pub fn nearest(key: &str) -> &'static str {
    let known = broker::all().filter(|setting| !setting.hidden).map(|setting| setting.name);
    known.min_by_key(|known| strsim::damerau_levenshtein(key, known)).unwrap_or("listeners")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(key: &str) -> Option<&'static str> {
        match classify(key) {
            Class::Ignored(why) => Some(why),
            Class::Known(setting) => match setting.in_effect() {
                Effect::Kept(why) => Some(why),
                _ => None,
            },
            Class::Unknown => panic!("{key} is unknown"),
        }
    }

    /// Kafka lists it only where somebody set it.
    const PRUNE: &str = "share.coordinator.state.topic.prune.interval.ms";

    #[test]
    fn keys_are_classified() {
        for obeyed in [
            "log.segment.bytes",
            "log.retention.hours",
            "num.partitions",
            "authorizer.class.name",
            CORES,
            PRUNE,
        ] {
            assert_eq!(why(obeyed), None, "{obeyed}");
        }
        assert!(why("num.io.threads").unwrap().contains("millrace.cores"));
        assert!(why("listener.name.external.ssl.keystore.location").unwrap().contains("one listener"));
        assert_eq!(why("zookeeper.connect"), Some(broker::REMOVED));
        assert!(why("log.preallocate").is_some());
        for unknown in
            ["log.segment.byte", "retention.ms", "millrace.nothing", "leader.replication.throttled.rate"]
        {
            assert!(matches!(classify(unknown), Class::Unknown), "{unknown}");
        }
    }

    #[test]
    fn secrets_and_what_nobody_knows_are_not_told() {
        for told in ["node.id", "ssl.keystore.location", "listener.name.a.max.connections"] {
            assert!(is_told(told), "{told}");
        }
        for secret in ["ssl.key.password", "listener.name.a.sasl.jaas.config", "rsm.config.key", "x"] {
            assert!(!is_told(secret), "{secret}");
        }
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        assert_eq!(nearest("log.segment.byte"), "log.segment.bytes");
        assert_eq!(nearest("lisener"), "listeners");
        assert_eq!(nearest("millrace.memroy"), MEMORY);
        assert_eq!(nearest("auto.create.topic.enable"), "auto.create.topics.enable");
    }
}
