//! The broker settings that groups obey, with Kafka 4.3's names and defaults.

use super::consumer::Assignor;
use super::limits::COORDINATOR_BYTES;
use crate::metadata::Image;
use crate::settings::broker;
use crate::share::membership::MembershipSettings;

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
    /// `group.consumer.*`.
    pub consumer: ConsumerSettings,
    /// `group.share.*`, as far as coordinators obey it.
    pub share: MembershipSettings,
}

/// What groups by the consumer protocol obey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`, 45000, with the least and the most that a group may set.
    pub session_timeout_ms: Bounded,
    /// `group.consumer.heartbeat.interval.ms`, 5000, with the least and the most that a group may set.
    pub heartbeat_interval_ms: Bounded,
    /// `group.consumer.assignment.interval.ms`, 1000, with the least and the most that a group may set. The first can be
    /// altered while the broker runs.
    pub assignment_interval_ms: Bounded,
    /// `group.consumer.max.size`, 2147483647; cut to [`super::limits::GROUP_MEMBERS_MAX`].
    pub max_size: u32,
    /// `group.consumer.migration.policy`, bidirectional.
    pub migration: Migration,
    /// `group.consumer.assignors`, uniform and range; the first is the default.
    pub assignors: Vec<Assignor>,
}

/// A number of the broker that a group may set for itself, within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounded {
    /// What groups have that do not say.
    pub value: i32,
    /// The least a group has.
    pub least: i32,
    /// The most a group has.
    pub most: i32,
}

/// Whether a group may change between the protocols while it has members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// From the classic to the consumer protocol.
    pub upgrade: bool,
    /// From the consumer to the classic protocol.
    pub downgrade: bool,
}

impl Migration {
    /// By Kafka's name of the policy, in any case of letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (upgrade, downgrade) = match name.to_ascii_lowercase().as_str() {
            "disabled" => (false, false),
            "upgrade" => (true, false),
            "downgrade" => (false, true),
            "bidirectional" => (true, true),
            _ => return None,
        };
        Some(Self { upgrade, downgrade })
    }
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms: Bounded { value: 45_000, least: 45_000, most: 60_000 },
            heartbeat_interval_ms: Bounded { value: 5000, least: 5000, most: 15_000 },
            assignment_interval_ms: Bounded { value: 1000, least: 0, most: 15_000 },
            max_size: 2_147_483_647,
            migration: Migration { upgrade: true, downgrade: true },
            assignors: Assignor::ALL.to_vec(),
        }
    }
}

impl ConsumerSettings {
    /// Silence after which a member of `group` is dropped.
    pub(super) fn session_timeout_ms(&self, image: &Image, group: &str) -> i32 {
        self.session_timeout_ms.of(image, group, "consumer.session.timeout.ms")
    }

    /// How often members of `group` are told to show signs of life.
    pub(super) fn heartbeat_interval_ms(&self, image: &Image, group: &str) -> i32 {
        self.heartbeat_interval_ms.of(image, group, "consumer.heartbeat.interval.ms")
    }

    /// Shortest time between two computations of the targets of `group`.
    pub(super) fn assignment_interval_ms(&self, image: &Image, group: &str) -> i32 {
        let interval = self.assignment_interval_ms.altered(image, "group.consumer.assignment.interval.ms");
        interval.of(image, group, "consumer.assignment.interval.ms")
    }

    /// `group.consumer.max.size` below our own ceiling.
    pub(super) fn members_max(&self) -> usize {
        usize::try_from(self.max_size).unwrap_or(usize::MAX).min(super::limits::GROUP_MEMBERS_MAX)
    }
}

impl Bounded {
    /// With what was altered for the broker while it runs.
    pub(crate) fn altered(self, image: &Image, name: &str) -> Self {
        let altered = image.broker().set(name).and_then(|(value, _)| value.parse().ok());
        Self { value: altered.unwrap_or(self.value), ..self }
    }

    /// As the group says, within the bounds of the broker: those may have changed since. Else the broker's own.
    pub(crate) fn of(self, image: &Image, group: &str, name: &str) -> i32 {
        let said = image.group(group).get(name).and_then(|value| value.parse::<i32>().ok());
        said.map_or(self.value, |value| value.min(self.most).max(self.least))
    }
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
            consumer: ConsumerSettings::default(),
            share: MembershipSettings::default(),
        }
    }
}

impl GroupSettings {
    /// Takes a broker setting by Kafka's name; says whether it is one that the coordinator obeys.
    ///
    /// # Errors
    /// A sentence, when it is one but the value is not a number it takes.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let (consumer, share) = (&mut self.consumer, &mut self.share);
        let fields: [(&str, Field<'_>); 29] = [
            ("group.min.session.timeout.ms", Field::Int(&mut self.session_timeout_ms_min)),
            ("group.max.session.timeout.ms", Field::Int(&mut self.session_timeout_ms_max)),
            ("group.initial.rebalance.delay.ms", Field::Natural(&mut self.initial_rebalance_delay_ms)),
            ("group.max.size", Field::Natural(&mut self.group_max_size)),
            ("offset.metadata.max.bytes", Field::Natural(&mut self.offset_metadata_bytes_max)),
            ("offsets.retention.minutes", Field::Natural(&mut self.offsets_retention_minutes)),
            ("offsets.retention.check.interval.ms", Field::Long(&mut self.offsets_retention_check_ms)),
            ("group.consumer.session.timeout.ms", Field::Int(&mut consumer.session_timeout_ms.value)),
            ("group.consumer.min.session.timeout.ms", Field::Int(&mut consumer.session_timeout_ms.least)),
            ("group.consumer.max.session.timeout.ms", Field::Int(&mut consumer.session_timeout_ms.most)),
            ("group.consumer.heartbeat.interval.ms", Field::Int(&mut consumer.heartbeat_interval_ms.value)),
            (
                "group.consumer.min.heartbeat.interval.ms",
                Field::Int(&mut consumer.heartbeat_interval_ms.least),
            ),
            (
                "group.consumer.max.heartbeat.interval.ms",
                Field::Int(&mut consumer.heartbeat_interval_ms.most),
            ),
            ("group.consumer.assignment.interval.ms", Field::Int(&mut consumer.assignment_interval_ms.value)),
            (
                "group.consumer.min.assignment.interval.ms",
                Field::Int(&mut consumer.assignment_interval_ms.least),
            ),
            (
                "group.consumer.max.assignment.interval.ms",
                Field::Int(&mut consumer.assignment_interval_ms.most),
            ),
            ("group.consumer.max.size", Field::Natural(&mut consumer.max_size)),
            ("group.consumer.migration.policy", Field::Policy(&mut consumer.migration)),
            ("group.consumer.assignors", Field::Assignors(&mut consumer.assignors)),
            ("group.share.session.timeout.ms", Field::Int(&mut share.session_timeout_ms.value)),
            ("group.share.min.session.timeout.ms", Field::Int(&mut share.session_timeout_ms.least)),
            ("group.share.max.session.timeout.ms", Field::Int(&mut share.session_timeout_ms.most)),
            ("group.share.heartbeat.interval.ms", Field::Int(&mut share.heartbeat_interval_ms.value)),
            ("group.share.min.heartbeat.interval.ms", Field::Int(&mut share.heartbeat_interval_ms.least)),
            ("group.share.max.heartbeat.interval.ms", Field::Int(&mut share.heartbeat_interval_ms.most)),
            ("group.share.assignment.interval.ms", Field::Int(&mut share.assignment_interval_ms.value)),
            ("group.share.min.assignment.interval.ms", Field::Int(&mut share.assignment_interval_ms.least)),
            ("group.share.max.assignment.interval.ms", Field::Int(&mut share.assignment_interval_ms.most)),
            ("group.share.max.size", Field::Natural(&mut share.max_size)),
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
            Field::Policy(field) => *field = Migration::named(&taken).unwrap_or(*field),
            Field::Assignors(field) => *field = assignors(&taken)?,
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
    Policy(&'a mut Migration),
    Assignors(&'a mut Vec<Assignor>),
}

/// Ours by their names. A Java class cannot be found.
fn assignors(list: &str) -> Result<Vec<Assignor>, String> {
    let known = |name: &str| {
        Assignor::named(name).ok_or_else(|| {
        format!("group.consumer.assignors={list} is not implemented by this broker: it has uniform and range, not {name}")
    })
    };
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let assignors = names.map(known).collect::<Result<Vec<_>, _>>()?;
    if assignors.is_empty() {
        return Err("group.consumer.assignors must not be empty".to_owned());
    }
    Ok(assignors)
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
            consumer: ConsumerSettings {
                session_timeout_ms: Bounded { value: 1, least: 1, most: 1 },
                heartbeat_interval_ms: Bounded { value: 1, least: 1, most: 1 },
                assignment_interval_ms: Bounded { value: 1, least: 1, most: 1 },
                max_size: 1,
                migration: Migration { upgrade: false, downgrade: false },
                assignors: Vec::new(),
            },
            share: MembershipSettings {
                max_size: 1,
                session_timeout_ms: Bounded { value: 1, least: 1, most: 1 },
                heartbeat_interval_ms: Bounded { value: 1, least: 1, most: 1 },
                assignment_interval_ms: Bounded { value: 1, least: 1, most: 1 },
                ..MembershipSettings::default()
            },
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
            ("group.consumer.assignors", "org.example.Mine"),
            ("group.consumer.assignors", ""),
            ("group.consumer.migration.policy", "sideways"),
        ] {
            assert!(settings.set(name, value).unwrap_err().contains(name));
        }
        assert_eq!(settings.set("log.retention.ms", "x"), Ok(false));
        assert_eq!(settings, GroupSettings::default());
    }
}
