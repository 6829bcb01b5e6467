//! What consumer groups obey: `group.*` and `offsets.*`.

use coordination::group::GroupSettings;

use super::values::Reader;
use crate::api::coordinator::OffsetsTopic;
use crate::config::{Config, ConfigError};

/// Settings of the coordinators, and of the topic behind them; Kafka's names, ranges and defaults.
pub(super) fn groups(config: &Config) -> Result<(GroupSettings, OffsetsTopic), ConfigError> {
    let mut groups = GroupSettings::default();
    for (key, value) in config.pairs() {
        groups.set(key, value).map_err(|why| config.error(key, &why))?;
    }
    groups.check().map_err(|(key, why)| config.error(&key, &why))?;
    let read = Reader(config);
    let topic = OffsetsTopic {
        partitions: read.number("offsets.topic.num.partitions")?,
        segment_bytes: read.number("offsets.topic.segment.bytes")?,
    };
    Ok((groups, topic))
}
