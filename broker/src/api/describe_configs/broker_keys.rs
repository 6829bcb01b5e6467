//! What this broker was started with, as DescribeConfigs tells it: every key with an effect, written or not. None of
//! them changes while it runs.

use coordination::metadata::Image;
use coordination::metadata::config_table::{TOPIC_SETTINGS, setting_by_broker_name};
use coordination::metadata::configs::Source;
use protocol::control::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::{Text, message};

use super::{Asked, BOOLEAN, INT, LIST, LONG, STRING, fixed, number, synonym, type_number};
use crate::config::keys;
use crate::service::ServiceSettings;

/// A key that is no default of a topic setting.
struct Key {
    name: &'static str,
    config_type: i8,
    default: Value,
    about: &'static str,
}

/// What a key is where nobody wrote it.
#[derive(Clone, Copy)]
enum Value {
    /// This.
    Text(&'static str),
    /// Nothing.
    Null,
    /// This broker's id, whatever was written.
    Node,
    /// Where clients are told to connect, whatever was written.
    Advertised,
}

use Value::{Advertised, Node, Null, Text as Is};

const fn key(name: &'static str, config_type: i8, default: Value, about: &'static str) -> Key {
    Key { name, config_type, default, about }
}

#[rustfmt::skip]
static KEYS: &[Key] = &[
    key("advertised.listeners", LIST, Advertised, "Where clients are told to connect."),
    key("authorizer.class.name", STRING, Is(""), "There is no access control yet; anything but nothing is refused."),
    key("auto.create.topics.enable", BOOLEAN, Is("true"), "Whether asking for a topic's metadata creates it."),
    key("broker.id", INT, Node, "The older name of node.id."),
    key("broker.rack", STRING, Null, "The rack that clients are told."),
    key("connections.max.idle.ms", LONG, Is("600000"), "An idle connection closes after this; negative keeps it."),
    key("controller.listener.names", LIST, Null, "Listeners that are left out, since they are not for clients."),
    key("default.replication.factor", INT, Is("1"), "Replicas of a topic that does not say: one broker is the whole cluster."),
    key("delete.topic.enable", BOOLEAN, Is("true"), "Whether topics can be deleted."),
    key("fetch.max.bytes", INT, Is("57671680"), "Largest answer to a fetch."),
    key("group.initial.rebalance.delay.ms", INT, Is("3000"), "How long the first rebalance of an empty group waits for more members."),
    key("group.max.session.timeout.ms", INT, Is("1800000"), "Longest session timeout a member may ask for."),
    key("group.max.size", INT, Is("2147483647"), "Members of one group."),
    key("group.min.session.timeout.ms", INT, Is("6000"), "Shortest session timeout a member may ask for."),
    key("listener.security.protocol.map", STRING, Null, "Security protocol of each listener; only PLAINTEXT is there yet."),
    key("listeners", LIST, Is("127.0.0.1:9092"), "Where clients connect."),
    key("log.dir", STRING, Is("millrace-data"), "The data directory."),
    key("log.dirs", LIST, Null, "The data directory; wins over log.dir."),
    key("log.retention.check.interval.ms", LONG, Is("300000"), "How often retention looks for what to delete."),
    key("max.connections", INT, Is("2147483647"), "Connections at a time; more wait."),
    key("max.connections.per.ip", INT, Is("2147483647"), "Connections at a time from one address; more are closed."),
    key("max.incremental.fetch.session.cache.slots", INT, Is("1000"), "Fetch sessions that are kept."),
    key("max.request.partition.size.limit", INT, Is("2000"), "Partitions in one answer to DescribeTopicPartitions."),
    key(keys::ADMIN_LISTENER, STRING, Is("127.0.0.1:9644"), "Where the admin endpoint listens."),
    key(keys::CORES, STRING, Is("auto"), "Cores to run on."),
    key(keys::DISK_FAIL, STRING, Null, "For tests only: which operations of the disk fail."),
    key(keys::DISK_RECORD, STRING, Null, "For tests only: where everything asked of the disk is recorded."),
    key(keys::MEMORY, STRING, Null, "Memory of all cores together; a quarter of the machine and at most 1 GiB by itself."),
    key(keys::SPIN, INT, Is("0"), "How long an idle core looks for work before it sleeps, in microseconds."),
    key("node.id", INT, Node, "This broker's id."),
    key("num.partitions", INT, Is("1"), "Partitions of a topic that does not say."),
    key("offset.metadata.max.bytes", INT, Is("4096"), "What a client may keep with a committed offset."),
    key("offsets.retention.check.interval.ms", LONG, Is("600000"), "How often expired offsets are looked for."),
    key("offsets.retention.minutes", INT, Is("10080"), "How long offsets are kept when a group is empty."),
    key("offsets.topic.num.partitions", INT, Is("50"), "Partitions of the topic of groups and offsets."),
    key("offsets.topic.segment.bytes", INT, Is("104857600"), "Segment size of that topic."),
    key("producer.id.expiration.ms", INT, Is("86400000"), "An idempotent producer is forgotten when it was silent for this long."),
    key("socket.request.max.bytes", INT, Is("104857600"), "Largest request; cut to what the memory of a core can serve."),
];

/// Every key that `asked` wants, by name.
pub(super) fn described(
    settings: &ServiceSettings,
    image: &Image,
    asked: &Asked<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let mut found = Vec::new();
    for key in KEYS.iter().filter(|key| asked.wants(key.name)) {
        found.push(described_key(settings, key, asked));
    }
    for setting in TOPIC_SETTINGS {
        let Some(name) = setting.broker_name.filter(|name| asked.wants(name)) else { continue };
        let (value, source) = image.defaults().value(setting);
        let synonyms = [
            (source == Source::Broker).then(|| synonym(name, value, Source::Broker)),
            Some(synonym(name, setting.default, Source::Default)),
        ];
        found.push(message!(DescribeConfigsResourceResult {
            name: fixed(name),
            value: Some(Text::from(value)),
            read_only: true,
            config_source: number(source),
            synonyms: asked.synonyms(synonyms.into_iter().flatten()),
            config_type: type_number(setting.kind),
            documentation: asked.documentation(setting.about),
        }));
    }
    for (name, value) in settings.written.iter().filter(|(name, _)| asked.wants(name)) {
        let told = |found: &DescribeConfigsResourceResult| *found.name == **name;
        if !found.iter().any(told) {
            found.push(described_otherwise(name, value, asked));
        }
    }
    found.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    found
}

fn described_key(settings: &ServiceSettings, key: &Key, asked: &Asked<'_>) -> DescribeConfigsResourceResult {
    let written = settings.written.iter().find(|(name, _)| name == key.name).map(|(_, value)| value.as_str());
    let default = match key.default {
        Value::Text(text) => Some(fixed(text)),
        Value::Null => None,
        Value::Node => Some(Text::from(settings.node.0.to_string())),
        Value::Advertised => Some(Text::from(advertised(&settings.host, settings.port))),
    };
    let in_force = match key.default {
        Value::Node | Value::Advertised => default.clone(),
        Value::Text(_) | Value::Null => written.map(Text::from).or_else(|| default.clone()),
    };
    let source = if written.is_some() { Source::Broker } else { Source::Default };
    let synonyms = [
        written.map(|value| synonym(key.name, value, Source::Broker)),
        default.map(|value| synonym(key.name, &value, Source::Default)),
    ];
    message!(DescribeConfigsResourceResult {
        name: fixed(key.name),
        value: in_force,
        read_only: true,
        config_source: number(source),
        synonyms: asked.synonyms(synonyms.into_iter().flatten()),
        config_type: key.config_type,
        documentation: asked.documentation(key.about),
    })
}

/// A key that was written and stands in no table: a topic setting's default in another unit.
fn described_otherwise(name: &str, value: &str, asked: &Asked<'_>) -> DescribeConfigsResourceResult {
    let setting = setting_by_broker_name(name).map(|(setting, _)| setting);
    // What nobody knows may be a secret.
    let secret = setting.is_none();
    message!(DescribeConfigsResourceResult {
        name: Text::from(name),
        value: (!secret).then(|| Text::from(value)),
        read_only: true,
        config_source: number(Source::Broker),
        is_sensitive: secret,
        synonyms: if secret { Vec::new() } else { asked.synonyms([synonym(name, value, Source::Broker)]) },
        config_type: setting.map_or(STRING, |setting| type_number(setting.kind)),
        documentation: setting.and_then(|setting| asked.documentation(setting.about)),
    })
}

fn advertised(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("PLAINTEXT://[{host}]:{port}")
    } else {
        format!("PLAINTEXT://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::settings::Settings;
    use crate::settings::host::Host;

    #[test]
    fn every_key_with_an_effect_is_told() {
        for name in keys::OBEYED {
            assert!(KEYS.iter().any(|key| key.name == *name), "{name}");
        }
    }

    #[test]
    fn writing_a_default_changes_nothing() {
        let settings = |sets: &[String]| {
            let host = Host { memory_bytes: 8 << 30, cpus: vec![0], name: "machine".into() };
            let config = Config::gather(None, sets, vec![]).unwrap();
            let mut settings = Settings::new(&config, &host).unwrap();
            settings.written.clear();
            format!("{settings:?}")
        };
        // The first has no effect, and the others say in Kafka's words that there is no limit.
        let apart = ["default.replication.factor", "max.connections", "max.connections.per.ip"];
        let nothing = settings(&[]);
        for key in KEYS.iter().filter(|key| !apart.contains(&key.name)) {
            if let Value::Text(default) = key.default {
                assert_eq!(settings(&[format!("{}={default}", key.name)]), nothing, "{}", key.name);
            }
        }
    }
}
