//! What groups obey: `group.*`, `offsets.*` and `share.coordinator.*`.

use coordination::group::GroupSettings;
use coordination::settings::fit;
use coordination::share::store::StoreSettings;

use super::values::Reader;
use crate::api::coordinator::InternalTopic;
use crate::config::{Config, ConfigError};

/// Settings of the coordinators, and of the topic behind them; Kafka's names, ranges and defaults.
pub(super) fn groups(config: &Config) -> Result<(GroupSettings, InternalTopic), ConfigError> {
    let mut groups = GroupSettings::default();
    for (key, value) in config.pairs() {
        groups.set(key, value).map_err(|why| config.error(key, &why))?;
    }
    let written = |key: &str| config.get(key).map(|written| written.value.as_str());
    fit::check(written).map_err(|(key, why)| config.error(key, &why))?;
    let read = Reader(config);
    let topic = InternalTopic {
        partitions: read.number("offsets.topic.num.partitions")?,
        segment_bytes: read.number("offsets.topic.segment.bytes")?,
    };
    Ok((groups, topic))
}

/// Settings of share coordinators, and of the topic behind them.
pub(super) fn share_states(config: &Config) -> Result<(StoreSettings, InternalTopic), ConfigError> {
    let read = Reader(config);
    let settings = StoreSettings {
        updates_per_snapshot: read.number("share.coordinator.snapshot.update.records.per.snapshot")?,
        prune_interval_ms: read.number("share.coordinator.state.topic.prune.interval.ms")?,
        cold_snapshot_interval_ms: read.number("share.coordinator.cold.partition.snapshot.interval.ms")?,
        write_timeout_ms: read.number("share.coordinator.write.timeout.ms")?,
        ..StoreSettings::default()
    };
    let topic = InternalTopic {
        partitions: read.number("share.coordinator.state.topic.num.partitions")?,
        segment_bytes: read.number("share.coordinator.state.topic.segment.bytes")?,
    };
    Ok((settings, topic))
}
