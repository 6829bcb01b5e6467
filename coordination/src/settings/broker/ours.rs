//! Settings of ours, and three that Kafka lists only where somebody set them.

use super::{null, row};
use crate::settings::Effect::{Kept, Obeyed};
use crate::settings::Kind::{Int, Long, Text};
use crate::settings::Update::{Cluster, Start};
use crate::settings::reason::QUOTAS;
use crate::settings::{Kind, Setting};

/// Where the admin endpoint listens.
pub const ADMIN_LISTENER: &str = "millrace.admin.listener";
/// Cores to run on.
pub const CORES: &str = "millrace.cores";
/// Which operations of the disk fail, for tests of failing disks.
pub const DISK_FAIL: &str = "millrace.disk.fail";
/// A directory for recordings of the disk, for power-cut tests.
pub const DISK_RECORD: &str = "millrace.disk.record";
/// Memory of all cores together.
pub const MEMORY: &str = "millrace.memory";
/// How long an idle core looks for work.
pub const SPIN: &str = "millrace.spin.us";
/// Looking for work longer than this before sleeping costs more than it saves.
const SPIN_US_MAX: i32 = 200;

const fn rate(name: &'static str, about: &'static str) -> Setting {
    const RATE: Kind = Long(0);
    Setting { hidden: true, ..null(name, RATE, Cluster, Kept(QUOTAS), about) }
}

#[rustfmt::skip]
pub(super) static ROWS: &[Setting] = &[
    rate("follower.replication.throttled.rate", "Bytes per second at which throttled replicas fetch."),
    rate("leader.replication.throttled.rate", "Bytes per second at which throttled replicas are led."),
    row(ADMIN_LISTENER, Text, "127.0.0.1:9644", Start, Obeyed, "Where the admin endpoint listens."),
    row(CORES, Text, "auto", Start, Obeyed, "Cores to run on; auto is every core that is allowed and that the memory has room for."),
    null(DISK_FAIL, Text, Start, Obeyed, "Which operations of the disk fail; only for tests of failing disks."),
    null(DISK_RECORD, Text, Start, Obeyed, "Directory into which everything asked of the disk is recorded; only for tests of power cuts."),
    null(MEMORY, Text, Start, Obeyed, "Memory of all cores together; a quarter of the machine and at most 1 GiB by itself."),
    row(SPIN, Int(0, SPIN_US_MAX), "0", Start, Obeyed, "How long an idle core looks for work before it sleeps, in microseconds."),
    rate("replica.alter.log.dirs.io.max.bytes.per.second", "Bytes per second at which logs move between directories."),
];
