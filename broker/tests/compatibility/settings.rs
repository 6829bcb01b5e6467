//! Setting by setting.

use std::fmt::Write;

use coordination::settings::{Effect, Setting, Update, broker, client_metrics, group, topic};

/// Kafka's default, where ours is another.
const KAFKAS_DEFAULTS: &[(&str, &str)] = &[
    ("flush.messages", "9223372036854775807"),
    ("listeners", "PLAINTEXT://:9092"),
    ("log.dir", "/tmp/kafka-logs"),
    ("log.flush.interval.messages", "9223372036854775807"),
];

/// All tables, as Markdown.
pub fn sections() -> String {
    let kafkas = || broker::all().filter(|setting| !setting.name.starts_with("millrace."));
    let ours = broker::all().filter(|setting| setting.name.starts_with("millrace."));
    let listed = kafkas().filter(|setting| !setting.hidden).count();
    let obeys = |setting: &&Setting| !setting.hidden && setting.in_effect() == Effect::Obeyed;
    let obeyed = kafkas().filter(obeys).count();
    let mut text = String::new();
    write!(
        text,
        "## Settings of topics\n\nAll are listed by DescribeConfigs, and can be given with CreateTopics and altered at any time.\n\n{}",
        table(topic::ROWS.iter().filter(|setting| !setting.hidden), Columns::OfTopics)
    )
    .unwrap();
    write!(
        text,
        "\n## Settings of brokers\n\nAll {listed} that Kafka 4.3.1 lists; {obeyed} of them are obeyed here. They are given in `--config` or with \
         `--set`, and told by DescribeConfigs.\nWhat changes with a *start* is read-only while the broker runs, *all* can be altered for \
         one broker or for all of them, *one* for one broker\nonly; else as in Kafka. Five more are listed where somebody set \
         them.\n\n{}",
        table(kafkas(), Columns::OfBrokers)
    )
    .unwrap();
    write!(text, "\nOurs:\n\n{}", table(ours, Columns::OfBrokers)).unwrap();
    write!(
        text,
        "\n## Settings of groups\n\nA group need not exist to have settings. They are judged as Kafka judges them, the bounds of the \
         broker (`group.*.min.*`, `group.*.max.*`)\nincluded, kept and told.\n\n{}",
        table(group::ROWS.iter(), Columns::OfTopics)
    )
    .unwrap();
    write!(
        text,
        "\n## Settings of subscriptions to clients' metrics\n\nThey are judged, kept and told. Patterns of `match` are those of Rust's `regex` crate, without \
         lookaround and back-references, and at most {} of them.\n\n{}",
        client_metrics::PATTERNS_MAX,
        table(client_metrics::ROWS.iter(), Columns::OfTopics)
    )
    .unwrap();
    text
}

#[derive(Clone, Copy, PartialEq)]
enum Columns {
    /// With the names on the broker.
    OfTopics,
    /// With how it is changed.
    OfBrokers,
}

fn table(rows: impl Iterator<Item = &'static Setting>, columns: Columns) -> String {
    let third = if columns == Columns::OfTopics { "on the broker" } else { "changes" };
    let mut text = format!("| setting | type | default | {third} | here |\n|---|---|---|---|---|\n");
    for setting in rows {
        let third = match (columns, setting.update) {
            (Columns::OfTopics, _) if setting.broker.is_empty() => "-".to_owned(),
            (Columns::OfTopics, _) => setting.broker.join(", "),
            (_, Update::Start) => "start".to_owned(),
            (_, Update::Broker) if broker::WITH_A_START.contains(&setting.name) => {
                "start (Kafka: one)".to_owned()
            }
            (_, Update::Broker) => "one".to_owned(),
            (_, Update::Cluster) => "all".to_owned(),
        };
        let (name, kind, default, here) =
            (setting.name, setting.kind.name(), default(setting), here(setting));
        writeln!(text, "| {name} | {kind} | {default} | {third} | {here} |").unwrap();
    }
    text
}

fn default(setting: &Setting) -> String {
    let shown = match setting.default {
        None => "null",
        Some("") => "empty",
        Some(value) => value,
    };
    match KAFKAS_DEFAULTS.iter().find(|(name, _)| *name == setting.name) {
        Some((_, kafkas)) => format!("{shown} (Kafka: {kafkas})"),
        None => shown.to_owned(),
    }
}

fn here(setting: &Setting) -> String {
    match setting.in_effect() {
        Effect::Obeyed | Effect::Topics => "obeyed".to_owned(),
        Effect::Kept(why) => format!("no effect: {why}"),
        Effect::Only(words, why) => {
            let words: Vec<&str> =
                words.iter().map(|word| if word.is_empty() { "empty" } else { word }).collect();
            format!("only {}: {why}", words.join(" or "))
        }
    }
}

#[test]
fn defaults_that_differ_do_differ() {
    for (name, kafkas) in KAFKAS_DEFAULTS {
        let setting = topic::named(name).or_else(|| broker::named(name)).unwrap();
        assert_ne!(setting.default, Some(*kafkas), "{name}");
    }
}
