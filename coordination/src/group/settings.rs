//! The broker settings that groups obey, with Kafka 4.3's names and defaults.

use super::limits::COORDINATOR_BYTES;
use crate::settings::broker;

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
        let fields: [(&str, Field<'_>); 7] = [
            ("group.min.session.timeout.ms", Field::Int(&mut self.session_timeout_ms_min)),
            ("group.max.session.timeout.ms", Field::Int(&mut self.session_timeout_ms_max)),
            ("group.initial.rebalance.delay.ms", Field::Natural(&mut self.initial_rebalance_delay_ms)),
            ("group.max.size", Field::Natural(&mut self.group_max_size)),
            ("offset.metadata.max.bytes", Field::Natural(&mut self.offset_metadata_bytes_max)),
            ("offsets.retention.minutes", Field::Natural(&mut self.offsets_retention_minutes)),
            ("offsets.retention.check.interval.ms", Field::Long(&mut self.offsets_retention_check_ms)),
        ];
        let Some((_, field)) = fields.into_iter().find(|(known, _)| *known == name) else { return Ok(false) };
        let Some(setting) = broker::named(name) else { return Ok(false) };
        let taken = setting.take(value)?;
        // Kafka takes negative ones where it states no least; they mean what 0 means.
        let number = taken.parse::<i64>().unwrap_or(0).max(0);
        let small = i32::try_from(number).unwrap_or(i32::MAX);
        match field {
            Field::Int(field) => *field = small,
            Field::Natural(field) => *field = small.unsigned_abs(),
            Field::Long(field) => *field = number.unsigned_abs(),
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

/// A field by its width.
enum Field<'a> {
    Int(&'a mut i32),
    Natural(&'a mut u32),
    Long(&'a mut u64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Effect;

    #[test]
    fn the_table_and_the_fields_agree() {
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
        for setting in broker::all() {
            let default = setting.default.unwrap_or_default();
            if settings.set(setting.name, default).unwrap() {
                assert_eq!(setting.effect, Effect::Obeyed, "{}", setting.name);
            }
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
            ("offset.metadata.max.bytes", "4k"),
        ] {
            assert!(settings.set(name, value).unwrap_err().contains(name));
        }
        assert_eq!(settings.set("log.retention.ms", "x"), Ok(false));
        assert_eq!(settings, GroupSettings::default());
    }
}
