//! What consumer groups obey: `group.*` and `offsets.*`.

use coordination::group::GroupSettings;
use coordination::group::broker_settings::{BROKER_SETTINGS, Obeyed};

use super::values::Reader;
use crate::api::coordinator::OffsetsTopic;
use crate::config::{Config, ConfigError};

/// Settings of the coordinators, and of the topic behind them; Kafka's names, ranges and defaults.
pub(super) fn groups(config: &Config) -> Result<(GroupSettings, OffsetsTopic), ConfigError> {
    let mut groups = GroupSettings::default();
    for setting in BROKER_SETTINGS.iter().filter(|setting| setting.obeyed == Obeyed::Machine) {
        if let Some(written) = config.get(setting.name) {
            groups.set(setting.name, &written.value).map_err(|why| config.error(setting.name, &why))?;
        }
    }
    let read = Reader(config);
    let topic = OffsetsTopic {
        partitions: read.number("offsets.topic.num.partitions", 50, 1..=i32::MAX)?,
        segment_bytes: read.number("offsets.topic.segment.bytes", 100 << 20, 1..=i32::MAX)?,
    };
    Ok((groups, topic))
}
