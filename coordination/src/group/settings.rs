//! The broker settings that groups obey, with Kafka 4.3's names and defaults.

use super::limits::COORDINATOR_BYTES;

/// What a coordinator is told of the broker's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`, 6000: below it INVALID_SESSION_TIMEOUT.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`, 1800000: above it INVALID_SESSION_TIMEOUT.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`, 3000: how long the first rebalance of an empty group waits for more
    /// members; each newcomer extends it by as much, up to the rebalance timeout.
    pub initial_rebalance_delay_ms: u32,
    /// `group.max.size`, 2147483647; cut to [`super::limits::GROUP_MEMBERS_MAX`].
    pub group_max_size: u32,
    /// `offset.metadata.max.bytes`, 4096, counted as Kafka does: in UTF-16 units.
    pub offset_metadata_bytes_max: u32,
    /// `offsets.retention.minutes`, 10080 (7 days).
    pub offsets_retention_minutes: u32,
    /// `offsets.retention.check.interval.ms`, 600000: how often expired offsets and empty groups are looked for.
    pub offsets_retention_check_ms: u64,
    /// Milliseconds a new member may wait in its first JoinGroup before it is dropped: 5 minutes, no setting in Kafka.
    pub new_member_join_timeout_ms: u32,
    /// Ours: bytes that groups, members and offsets of this coordinator may take in memory. Above it new members are
    /// told GROUP_MAX_SIZE_REACHED and new offsets INVALID_COMMIT_OFFSET_SIZE; what exists goes on.
    pub memory_bytes_max: u64,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 3000,
            group_max_size: 2_147_483_647,
            offset_metadata_bytes_max: 4096,
            offsets_retention_minutes: 10_080,
            offsets_retention_check_ms: 600_000,
            new_member_join_timeout_ms: 300_000,
            memory_bytes_max: COORDINATOR_BYTES,
        }
    }
}

impl GroupSettings {
    /// `offsets.retention.minutes` in milliseconds.
    pub(super) const fn retention_ms(&self) -> i64 {
        self.offsets_retention_minutes as i64 * 60_000
    }

    /// `group.max.size` below our own ceiling.
    pub(super) fn members_max(&self) -> usize {
        usize::try_from(self.group_max_size).unwrap_or(usize::MAX).min(super::limits::GROUP_MEMBERS_MAX)
    }
}
