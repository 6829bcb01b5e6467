//! What overrides and defaults make of a topic.

use super::*;
use model::BrokerId;

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn on_broker(pairs: &[(&str, &str)]) -> TopicSettings {
    let config = BrokerConfig::new(BrokerId(1), overrides(pairs));
    TopicSettings::resolve(&TopicDefaults::of(&config), &Overrides::new())
}

#[test]
fn nothing_set_means_kafkas_defaults_and_stable_storage() {
    let settings = TopicSettings::default();
    assert_eq!(settings.retention_ms, Some(604_800_000));
    assert_eq!(settings.retention_bytes, None);
    assert!(settings.cleanup_delete);
    assert_eq!(settings.cleanup_compact, None);
    assert_eq!((settings.segment_bytes, settings.segment_ms), (1 << 30, 604_800_000));
    assert_eq!(settings.max_message_bytes, 1_048_588);
    assert_eq!(settings.message_timestamp_type, TimestampType::CreateTime);
    assert_eq!(settings.message_timestamp_after_max_ms, 3_600_000);
    assert_eq!(settings.durability, Durability::Durable);
}

#[test]
fn a_topic_says_how_it_is_compressed() {
    let codec =
        |pairs: &[(&str, &str)]| TopicSettings::resolve(&TopicDefaults::default(), &overrides(pairs)).codec;
    let some = |compression, level| Some(Codec { compression, level });
    assert_eq!(codec(&[]), None);
    assert_eq!(codec(&[("compression.type", "producer")]), None);
    assert_eq!(codec(&[("compression.type", "uncompressed")]), some(Compression::None, 0));
    assert_eq!(codec(&[("compression.type", "zstd")]), some(Compression::Zstd, 3));
    let gzip = [("compression.type", "gzip"), ("compression.gzip.level", "9")];
    assert_eq!(codec(&gzip), some(Compression::Gzip, 9));
    assert_eq!(on_broker(&[("compression.type", "lz4")]).codec, some(Compression::Lz4, 0));
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
    let broker = on_broker(&[("log.flush.interval.messages", "9")]).durability;
    assert_eq!(broker, Durability::Durable, "a broker's file relaxes nothing");
}

#[test]
fn the_finest_unit_wins_on_the_broker() {
    let pairs = [("log.retention.hours", "2"), ("log.retention.minutes", "3"), ("node.id", "1")];
    assert_eq!(on_broker(&pairs).retention_ms, Some(180_000));
    for forever in [("log.retention.hours", "-1"), ("log.retention.ms", "-5")] {
        assert_eq!(on_broker(&[forever]).retention_ms, None);
    }
    let wrong = check_default("log.retention.ms", "0").unwrap_err();
    assert_eq!(
        wrong,
        "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"
    );
    assert_eq!((check_default("log.retention.ms", "1"), check_default("node.id", "x")), (Ok(()), Ok(())));
}

#[test]
fn a_policy_has_either_word_or_both_or_none() {
    let resolve = |pairs: &[(&str, &str)]| {
        let settings = TopicSettings::resolve(&TopicDefaults::default(), &overrides(pairs));
        (settings.cleanup_delete, settings.cleanup_compact)
    };
    let compact = CompactionSettings {
        lag_min_ms: 0,
        lag_max_ms: i64::MAX.cast_unsigned(),
        tombstone_retention_ms: 86_400_000,
        dirty_ratio_min_ppm: 500_000,
    };
    assert_eq!(resolve(&[("cleanup.policy", "compact")]), (false, Some(compact)));
    assert_eq!(resolve(&[("cleanup.policy", "compact,delete")]), (true, Some(compact)));
    assert_eq!(resolve(&[("cleanup.policy", "")]), (false, None));
    let tuned = [
        ("cleanup.policy", "compact"),
        ("min.compaction.lag.ms", "1"),
        ("max.compaction.lag.ms", "2"),
        ("delete.retention.ms", "3"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let expected = CompactionSettings {
        lag_min_ms: 1,
        lag_max_ms: 2,
        tombstone_retention_ms: 3,
        dirty_ratio_min_ppm: 10_000,
    };
    assert_eq!(resolve(&tuned), (false, Some(expected)));
    assert!(on_broker(&[("log.cleanup.policy", "compact")]).cleanup_compact.is_some());
}

#[test]
fn unknown_and_contradicting_settings_are_refused() {
    let none = TopicDefaults::default();
    let refused = |pairs: &[(&str, &str)]| take_overrides(&none, &overrides(pairs)).err();
    let unknown = [("retention.ms", "x"), ("retention.mss", "1")];
    assert_eq!(refused(&unknown).unwrap(), "Unknown topic config name: retention.mss");
    let lags = [("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")];
    assert!(refused(&lags).unwrap().ends_with("min.compaction.lag.ms (9) > max.compaction.lag.ms (8)"));
    let taken =
        take_overrides(&none, &overrides(&[("preallocate", " TRUE "), ("internal.segment.bytes", "4096")]));
    assert_eq!(taken.unwrap(), overrides(&[("preallocate", "true"), ("internal.segment.bytes", "4096")]));
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let apply = |change: ConfigChange| change.applied_to("delete").unwrap();
    assert_eq!(apply(ConfigChange::Append("compact, delete".into())), "delete,compact");
    assert_eq!(apply(ConfigChange::Append("delete".into())), "delete");
    assert_eq!(apply(ConfigChange::Subtract("delete,x".into())), "");
    assert_eq!(ConfigChange::Delete.applied_to("delete"), None);
}
