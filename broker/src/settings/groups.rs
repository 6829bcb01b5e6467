//! What consumer groups obey: `group.*` and `offsets.*`.

use coordination::group::GroupSettings;

use super::values::Reader;
use crate::api::coordinator::OffsetsTopic;
use crate::config::ConfigError;

const INT: i32 = i32::MAX;

/// Settings of the coordinators, and of the topic behind them; Kafka's names, ranges and defaults.
pub(super) fn groups(read: &Reader<'_>) -> Result<(GroupSettings, OffsetsTopic), ConfigError> {
    let default = GroupSettings::default();
    let groups = GroupSettings {
        session_timeout_ms_min: read.number(
            "group.min.session.timeout.ms",
            default.session_timeout_ms_min,
            0..=INT,
        )?,
        session_timeout_ms_max: read.number(
            "group.max.session.timeout.ms",
            default.session_timeout_ms_max,
            0..=INT,
        )?,
        initial_rebalance_delay_ms: read.number(
            "group.initial.rebalance.delay.ms",
            default.initial_rebalance_delay_ms,
            0..=INT.unsigned_abs(),
        )?,
        group_max_size: read.number("group.max.size", default.group_max_size, 1..=INT.unsigned_abs())?,
        offset_metadata_bytes_max: read.number(
            "offset.metadata.max.bytes",
            default.offset_metadata_bytes_max,
            0..=INT.unsigned_abs(),
        )?,
        offsets_retention_minutes: read.number(
            "offsets.retention.minutes",
            default.offsets_retention_minutes,
            1..=INT.unsigned_abs(),
        )?,
        offsets_retention_check_ms: read.number(
            "offsets.retention.check.interval.ms",
            default.offsets_retention_check_ms,
            1..=i64::MAX.unsigned_abs(),
        )?,
        ..default
    };
    let topic = OffsetsTopic {
        partitions: read.number("offsets.topic.num.partitions", 50, 1..=INT)?,
        segment_bytes: read.number("offsets.topic.segment.bytes", 100 << 20, 1..=INT)?,
    };
    Ok((groups, topic))
}
