//! What share groups obey of the broker's configuration.

use crate::group::Bounded;
use crate::group::limits::COORDINATOR_BYTES;
use crate::metadata::image::Image;
use crate::share::limits::SHARE_MEMBERS_MAX;

/// With Kafka's names and defaults. What a group sets for itself goes before, within the bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembershipSettings {
    /// `group.share.max.size`, 200.
    pub max_size: u32,
    /// `group.share.session.timeout.ms`, 45000: silence after which a member is given up.
    pub session_timeout_ms: Bounded,
    /// `group.share.heartbeat.interval.ms`, 5000.
    pub heartbeat_interval_ms: Bounded,
    /// `group.share.assignment.interval.ms`, 1000: the least time between two targets. The first can be altered while the
    /// broker runs.
    pub assignment_interval_ms: Bounded,
    /// Milliseconds after which a state that is being begun is begun again: 30000, as Kafka has it inside.
    pub initialize_retry_ms: u32,
    /// Ours: bytes that groups and members may take in memory. Above it new members are told GROUP_MAX_SIZE_REACHED.
    pub memory_bytes_max: u64,
}

impl Default for MembershipSettings {
    fn default() -> Self {
        Self {
            max_size: 200,
            session_timeout_ms: Bounded { value: 45_000, least: 45_000, most: 60_000 },
            heartbeat_interval_ms: Bounded { value: 5000, least: 5000, most: 15_000 },
            assignment_interval_ms: Bounded { value: 1000, least: 0, most: 15_000 },
            initialize_retry_ms: 30_000,
            memory_bytes_max: COORDINATOR_BYTES,
        }
    }
}

impl MembershipSettings {
    /// `group.share.max.size` below our own ceiling.
    pub(super) fn members_max(&self) -> usize {
        usize::try_from(self.max_size).unwrap_or(usize::MAX).min(SHARE_MEMBERS_MAX)
    }

    /// Silence after which a member of `group` is given up.
    pub(super) fn session_timeout_ms(&self, image: &Image, group: &str) -> u64 {
        let ms = self.session_timeout_ms.of(image, group, "share.session.timeout.ms");
        u64::try_from(ms).unwrap_or(0)
    }

    /// How often members of `group` are told to show signs of life.
    pub(super) fn heartbeat_interval_ms(&self, image: &Image, group: &str) -> i32 {
        self.heartbeat_interval_ms.of(image, group, "share.heartbeat.interval.ms")
    }

    /// Shortest time between two computations of the targets of `group`.
    pub(super) fn assignment_interval_ms(&self, image: &Image, group: &str) -> i32 {
        let interval = self.assignment_interval_ms.altered(image, "group.share.assignment.interval.ms");
        interval.of(image, group, "share.assignment.interval.ms")
    }
}
