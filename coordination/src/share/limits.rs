//! Every maximum of share groups that is no setting of Kafka's, tied to what one step may emit.

use model::limits::EFFECTS_MAX;

/// Requests to one partition of `__share_group_state` that wait for an append; above it COORDINATOR_NOT_AVAILABLE.
pub const STATE_REQUESTS_PARKED_MAX: usize = 1024;
/// Writes of one share partition that go into one append.
pub const WRITES_PER_APPEND: usize = 64;
/// Snapshots of quiet share partitions in one append, at most, and...
pub const SNAPSHOTS_PER_APPEND: usize = 64;
/// ...bytes of their states above which the next one waits for the next append.
pub const SNAPSHOT_BYTES_PER_APPEND: usize = 256 << 10;
/// Default of [`super::store::StoreSettings::memory_bytes_max`].
pub const STATE_BYTES: u64 = 32 << 20;
/// A share partition that is open is counted with this much beside its records.
pub const PARTITION_BYTES: u64 = 2 << 10;
/// Bytes of a run of records of equal state, in the worst tree of them...
pub const RUN_BYTES: u64 = 48;
/// ...of a lock...
pub const LOCK_BYTES: u64 = 200;
/// ...and of a record that is not finished, even if its run is long: it may be one of its own yet.
pub const RECORD_BYTES: u64 = 8;
/// Records of one share partition that may be in flight when memory is short: none stands still for others.
pub const RECORDS_WHEN_SHORT: u32 = 16;
/// Records that a member gets at a time, at most, when it asked for fewer: so many of a batch of the log come along.
pub const SOFT_RECORDS_MAX: u64 = 100_000;
/// Members of one share group, whatever `group.share.max.size` says: its most in Kafka.
pub const SHARE_MEMBERS_MAX: usize = 1000;
/// Topics one member may subscribe to; above it INVALID_REQUEST.
pub const SUBSCRIPTION_TOPICS_MAX: usize = 1000;
/// Heartbeats of one coordinator that wait for an append; above it COORDINATOR_NOT_AVAILABLE.
pub const HEARTBEATS_PARKED_MAX: usize = 768;
/// Appends in flight of one coordinator of groups above which nothing but heartbeats begins another one.
pub const GROUP_FLIGHTS_MAX: usize = 256;

const _: () = {
    // A step may answer all that waits, and append as often.
    assert!(2 * STATE_REQUESTS_PARKED_MAX + SNAPSHOTS_PER_APPEND < EFFECTS_MAX);
    // What is counted for one has room for what it always may have.
    assert!(RECORDS_WHEN_SHORT as u64 * RUN_BYTES <= PARTITION_BYTES / 2);
    // Of groups, all that is in flight may land, each with an answer, a state to begin and the next append.
    assert!(3 * (HEARTBEATS_PARKED_MAX + GROUP_FLIGHTS_MAX) < EFFECTS_MAX);
};
