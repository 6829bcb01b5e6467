//! Which configuration keys there are: those with an effect here, and Kafka's others with why they have none.
//!
//! `kafka-4.3-keys.txt` is the full list of Kafka's public broker keys; a test holds that each of them is in exactly
//! one class.

use coordination::metadata::config_table::{Effect, TOPIC_SETTINGS, setting_by_broker_name};

/// Keys of ours.
pub const ADMIN_LISTENER: &str = "millrace.admin.listener";
/// See [`ADMIN_LISTENER`].
pub const CORES: &str = "millrace.cores";
/// See [`ADMIN_LISTENER`].
pub const MEMORY: &str = "millrace.memory";
/// See [`ADMIN_LISTENER`].
pub const SPIN: &str = "millrace.spin.us";

/// A directory for recordings of the disk (`storage::disk::tape`): for power-cut tests only.
pub const DISK_RECORD: &str = "millrace.disk.record";

/// Which operations of the disk fail (`storage::disk::failing`): for tests only.
pub const DISK_FAIL: &str = "millrace.disk.fail";

/// Keys that `settings.rs` reads; the defaults of topic settings come on top of them.
pub const OBEYED: &[&str] = &[
    "advertised.listeners",
    "authorizer.class.name",
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "connections.max.idle.ms",
    "controller.listener.names",
    "delete.topic.enable",
    "fetch.max.bytes",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "log.retention.check.interval.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.incremental.fetch.session.cache.slots",
    "max.request.partition.size.limit",
    ADMIN_LISTENER,
    CORES,
    DISK_FAIL,
    DISK_RECORD,
    MEMORY,
    SPIN,
    "node.id",
    "num.partitions",
    "producer.id.expiration.ms",
    "socket.request.max.bytes",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "offset.metadata.max.bytes",
    "offsets.retention.check.interval.ms",
    "offsets.retention.minutes",
    "offsets.topic.num.partitions",
    "offsets.topic.segment.bytes",
];

/// Apache Kafka 4.3.1's public broker keys, sorted.
static KAFKA_KEYS: &str = include_str!("kafka-4.3-keys.txt");

/// What a key is to this broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// It has an effect.
    Obeyed,
    /// Kafka has it; here it changes nothing, for this reason.
    Ignored(&'static str),
    /// Nobody has it.
    Unknown,
}

/// What `key` is.
#[must_use]
pub fn classify(key: &str) -> Class {
    if OBEYED.contains(&key) {
        return Class::Obeyed;
    }
    if let Some((setting, _)) = setting_by_broker_name(key) {
        return match setting.effect {
            Effect::Obeyed | Effect::Only(_) => Class::Obeyed,
            Effect::Kept => Class::Ignored(
                "clients see it as a topic's default, but the part of Kafka it tunes does not exist here",
            ),
        };
    }
    if kafka_keys().any(|known| known == key) || FAMILIES.iter().any(|family| key.starts_with(family)) {
        return Class::Ignored(reason(key).unwrap_or("this broker has no use for it"));
    }
    reason_removed(key).map_or(Class::Unknown, Class::Ignored)
}

/// The known key that is written most like `key`.
#[must_use]
pub fn nearest(key: &str) -> &'static str {
    let topics = TOPIC_SETTINGS.iter().flat_map(|setting| {
        setting.broker_name.into_iter().chain(setting.broker_units.iter().map(|unit| unit.0))
    });
    OBEYED
        .iter()
        .copied()
        .chain(topics)
        .chain(kafka_keys())
        .min_by_key(|known| strsim::damerau_levenshtein(key, known))
        .unwrap_or("listeners")
}

fn kafka_keys() -> impl Iterator<Item = &'static str> {
    KAFKA_KEYS.lines().filter(|line| !line.starts_with('#'))
}

/// Kafka takes any key below these.
const FAMILIES: &[&str] = &["config.providers.", "listener.name.", "rlmm.config.", "rsm.config."];

const ONE_BROKER: &str =
    "one broker is the whole cluster: there is no controller quorum to reach and nobody to replicate to";
const COORDINATORS: &str =
    "a group coordinator runs on the core that owns its partition and needs no threads or buffers of its own";
const OFFSETS: &str =
    "a commit is on stable storage before it is answered, as sent, on the one broker there is";
const CONSUMER_GROUPS: &str = "groups by the consumer protocol (KIP-848) are not there yet";
const SHARE_GROUPS: &str = "share groups are not there yet";
const STREAMS_GROUPS: &str = "streams groups are not there yet";
const TRANSACTIONS: &str = "transactions are not there yet";
const TIERED: &str = "tiered storage is not there yet";
const TLS: &str = "TLS is not there yet: listeners are PLAINTEXT";
const SASL: &str = "SASL is not there yet: listeners are PLAINTEXT";
const QUOTAS: &str = "quotas are not there yet";
const JAVA: &str = "it names a Java class or plug-in";
const METRICS: &str = "metrics are served by the admin endpoint, without JMX";
const THREADS: &str = "every core has one executor that does all its work; see millrace.cores";
const COMPACTION: &str = "log compaction is not there yet";
const QUEUES: &str = "requests are admitted by their bytes against millrace.memory";
const FLUSHING: &str = "acknowledged records are on stable storage already (only a topic relaxes that), and checkpoints follow the journal";
const SOCKETS: &str = "the kernel sizes socket buffers, and each core listens with a backlog of 1024";
const PURGATORY: &str = "waiting requests are kept without a purgatory";

/// Why a key of Kafka's has no effect, by how it begins; the first match counts.
static REASONS: &[(&str, &str)] = &[
    ("add.partitions.to.txn.", TRANSACTIONS),
    ("alter.config.policy.", JAVA),
    ("alter.log.dirs.", QUOTAS),
    ("auto.leader.rebalance.", ONE_BROKER),
    ("background.threads", THREADS),
    ("broker.", ONE_BROKER),
    ("client.quota.", QUOTAS),
    ("config.providers", JAVA),
    ("connection.failed.authentication.", SASL),
    ("connections.max.reauth.", SASL),
    ("controlled.shutdown.", ONE_BROKER),
    ("controller.quota.", QUOTAS),
    ("controller.", ONE_BROKER),
    ("cordoned.log.dirs", "there is one data directory"),
    ("create.topic.policy.", JAVA),
    ("default.replication.factor", ONE_BROKER),
    ("delegation.token.", SASL),
    ("delete.records.purgatory.", PURGATORY),
    ("early.start.listeners", ONE_BROKER),
    ("fetch.purgatory.", PURGATORY),
    ("follower.fetch.", TIERED),
    ("group.consumer.", CONSUMER_GROUPS),
    ("group.coordinator.", COORDINATORS),
    ("group.share.", SHARE_GROUPS),
    ("group.streams.", STREAMS_GROUPS),
    ("initial.broker.", ONE_BROKER),
    ("inter.broker.", ONE_BROKER),
    ("kafka.metrics.", METRICS),
    ("leader.imbalance.", ONE_BROKER),
    ("listener.name.", "there is one listener and it has no settings of its own"),
    ("log.cleaner.", COMPACTION),
    ("log.dir.failure.", "there is one data directory"),
    ("log.flush.", FLUSHING),
    ("max.connection.creation.rate", QUOTAS),
    ("max.connections.per.ip.overrides", "max.connections.per.ip holds for every address"),
    ("metadata.", ONE_BROKER),
    ("metric", METRICS),
    ("num.recovery.threads.", THREADS),
    ("num.replica", ONE_BROKER),
    ("num.", THREADS),
    ("offsets.", OFFSETS),
    ("principal.builder.", JAVA),
    ("process.roles", ONE_BROKER),
    ("producer.purgatory.", PURGATORY),
    ("queued.max.", QUEUES),
    ("quota.", QUOTAS),
    ("remote.", TIERED),
    ("replica", ONE_BROKER),
    ("request.timeout.ms", ONE_BROKER),
    ("rlmm.config.", TIERED),
    ("rsm.config.", TIERED),
    ("sasl.", SASL),
    ("security.inter.broker.", ONE_BROKER),
    ("security.providers", JAVA),
    ("share.", SHARE_GROUPS),
    ("socket.connection.setup.", ONE_BROKER),
    ("socket.", SOCKETS),
    ("ssl.", TLS),
    ("telemetry.", "client telemetry is not there yet"),
    ("transaction", TRANSACTIONS),
    ("unclean.", ONE_BROKER),
];

fn reason(key: &str) -> Option<&'static str> {
    REASONS.iter().find(|(start, _)| key.starts_with(start)).map(|(_, why)| *why)
}

/// Keys that files written for older Kafkas still have.
static REMOVED: &[&str] = &[
    "broker.id.generation.enable",
    "control.plane.listener.name",
    "inter.broker.protocol.version",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "offsets.commit.required.acks",
    "reserved.broker.max.id",
];

fn reason_removed(key: &str) -> Option<&'static str> {
    let removed =
        REMOVED.contains(&key) || key.starts_with("zookeeper.") || key.starts_with("password.encoder.");
    removed.then_some("Kafka 4 no longer has it either")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_kafka_has_a_class_and_a_reason() {
        let keys: Vec<&str> = kafka_keys().collect();
        assert_eq!(keys.len(), 340, "Kafka 4.3.1 has 340 public broker keys");
        assert!(keys.is_sorted());
        for key in keys {
            let classes =
                [OBEYED.contains(&key), setting_by_broker_name(key).is_some(), reason(key).is_some()];
            assert!(classes.iter().any(|is| *is), "{key} has no effect and no reason");
            assert!(!(classes[0] && classes[1]), "{key} has two effects");
            assert_ne!(classify(key), Class::Unknown, "{key}");
        }
    }

    #[test]
    fn what_is_obeyed_is_kafkas_or_ours() {
        for key in OBEYED {
            assert!(key.starts_with("millrace.") || kafka_keys().any(|known| known == *key), "{key}");
        }
        let broker_names = TOPIC_SETTINGS.iter().filter_map(|setting| setting.broker_name);
        for key in broker_names {
            assert!(kafka_keys().any(|known| known == key), "{key}");
        }
    }

    #[test]
    fn every_reason_is_used() {
        for (start, _) in REASONS {
            let known = kafka_keys().chain(FAMILIES.iter().copied()).any(|key| key.starts_with(start));
            assert!(known, "{start}");
        }
    }

    #[test]
    fn keys_are_classified() {
        assert_eq!(classify("log.segment.bytes"), Class::Obeyed);
        assert_eq!(classify("log.retention.hours"), Class::Obeyed);
        assert_eq!(classify("num.io.threads"), Class::Ignored(THREADS));
        assert_eq!(
            classify("listener.name.external.ssl.keystore.location"),
            Class::Ignored(reason("listener.name.").unwrap())
        );
        assert!(matches!(classify("zookeeper.connect"), Class::Ignored(_)));
        assert!(matches!(classify("log.preallocate"), Class::Ignored(_)));
        assert_eq!(classify("log.segment.byte"), Class::Unknown);
        assert_eq!(classify("retention.ms"), Class::Unknown, "a topic's name, not the broker's");
        assert_eq!(classify("millrace.nothing"), Class::Unknown);
    }

    #[test]
    fn typing_errors_find_what_was_meant() {
        assert_eq!(nearest("log.segment.byte"), "log.segment.bytes");
        assert_eq!(nearest("lisener"), "listeners");
        assert_eq!(nearest("millrace.memroy"), MEMORY);
        assert_eq!(nearest("auto.create.topic.enable"), "auto.create.topics.enable");
    }
}
