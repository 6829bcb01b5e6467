//! The broker settings that groups obey, with Kafka 4.3's names and defaults.

use super::broker_settings::{BROKER_SETTINGS, Obeyed};
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
    /// Takes a broker setting by Kafka's name; says whether it is one that the coordinator obeys.
    ///
    /// # Errors
    /// A sentence, when it is one but the value is not a number it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let known =
            BROKER_SETTINGS.iter().find(|known| known.name == name && known.obeyed == Obeyed::Machine);
        let Some(known) = known else { return Ok(false) };
        let least = known.least.unwrap_or(0).max(0);
        let wanted = value.trim().parse::<i64>().ok().filter(|number| *number >= least);
        let most = if name == "offsets.retention.check.interval.ms" { i64::MAX } else { i64::from(i32::MAX) };
        let Some(number) = wanted.filter(|number| *number <= most) else {
            return Err(format!("{name} takes a number from {least} to {most}, not {value:?}"));
        };
        // Both fit: they were compared with the most of an i32, and are not negative.
        let small = i32::try_from(number).unwrap_or(i32::MAX);
        let natural = small.unsigned_abs();
        match name {
            "group.min.session.timeout.ms" => self.session_timeout_ms_min = small,
            "group.max.session.timeout.ms" => self.session_timeout_ms_max = small,
            "group.initial.rebalance.delay.ms" => self.initial_rebalance_delay_ms = natural,
            "group.max.size" => self.group_max_size = natural,
            "offset.metadata.max.bytes" => self.offset_metadata_bytes_max = natural,
            "offsets.retention.minutes" => self.offsets_retention_minutes = natural,
            "offsets.retention.check.interval.ms" => self.offsets_retention_check_ms = number.unsigned_abs(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `offsets.retention.minutes` in milliseconds.
    pub(super) const fn retention_ms(&self) -> i64 {
        self.offsets_retention_minutes as i64 * 60_000
    }

    /// `group.max.size` below our own ceiling.
    pub(super) fn members_max(&self) -> usize {
        usize::try_from(self.group_max_size).unwrap_or(usize::MAX).min(super::limits::GROUP_MEMBERS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_fields_agree() {
        assert!(BROKER_SETTINGS.is_sorted_by_key(|setting| setting.name));
        let mut settings = GroupSettings {
            session_timeout_ms_min: 1,
            session_timeout_ms_max: 1,
            initial_rebalance_delay_ms: 1,
            group_max_size: 1,
            offset_metadata_bytes_max: 1,
            offsets_retention_minutes: 1,
            offsets_retention_check_ms: 1,
            ..GroupSettings::default()
        };
        for setting in BROKER_SETTINGS {
            let taken = settings.set(setting.name, setting.default).unwrap();
            assert_eq!(taken, setting.obeyed == Obeyed::Machine, "{}", setting.name);
        }
        assert_eq!(settings, GroupSettings::default());
    }

    #[test]
    fn a_value_that_is_none_is_refused_and_changes_nothing() {
        let mut settings = GroupSettings::default();
        for (name, value) in [
            ("group.max.size", "0"),
            ("group.max.size", "2147483648"),
            ("offsets.retention.minutes", "soon"),
            ("group.initial.rebalance.delay.ms", "-1"),
        ] {
            assert!(settings.set(name, value).unwrap_err().contains(name));
        }
        assert_eq!(settings.set("log.retention.ms", "x"), Ok(false));
        assert_eq!(settings, GroupSettings::default());
    }
}
