//! Our tables against the settings of Apache Kafka 4.3.1: none missing, none more, and the same of each.

use std::collections::BTreeMap;

use coordination::settings::{Setting, Update, broker, client_metrics, group, topic};

const KAFKAS: &str = include_str!("kafka-4.3.1-settings.tsv");

/// Defaults that are not Kafka's: where data and listeners are by themselves, and that an acknowledgement is durable.
const OTHER_DEFAULTS: &[&str] = &["flush.messages", "listeners", "log.dir", "log.flush.interval.messages"];

fn ours(rows: impl Iterator<Item = &'static Setting>) -> BTreeMap<&'static str, &'static Setting> {
    rows.filter(|setting| !setting.hidden && !setting.name.starts_with("millrace."))
        .map(|setting| (setting.name, setting))
        .collect()
}

#[test]
fn each_setting_is_kafkas() {
    let mut tables = BTreeMap::from([
        ("topic", ours(topic::ROWS.iter())),
        ("broker", ours(broker::all())),
        ("group", ours(group::ROWS.iter())),
        ("client-metrics", ours(client_metrics::ROWS.iter())),
    ]);
    for line in KAFKAS.lines().filter(|line| !line.starts_with('#')) {
        let [whose, name, kind, default, update] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}")
        };
        let Some(setting) = tables.get_mut(whose).unwrap().remove(name) else { panic!("{name} is missing") };
        assert_eq!(setting.kind.name(), kind, "{name}");
        let same = setting.default.unwrap_or("null") == default;
        assert_eq!(
            same,
            !OTHER_DEFAULTS.contains(&name),
            "{name}: {:?}, Kafka's is {default}",
            setting.default
        );
        let changes = match setting.update {
            Update::Start => "start",
            Update::Broker => "one",
            Update::Cluster => "all",
        };
        assert_eq!(changes, update, "{name}");
    }
    for (whose, left) in tables {
        assert!(left.is_empty(), "{whose}: Kafka does not have {:?}", left.keys());
    }
}
