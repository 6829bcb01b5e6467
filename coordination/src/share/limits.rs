//! Every maximum of share groups that is no setting of Kafka's, tied to what one step may emit.

use model::limits::EFFECTS_MAX;

/// Requests to one partition of `__share_group_state` that wait for an append; above it COORDINATOR_NOT_AVAILABLE.
pub const STATE_REQUESTS_PARKED_MAX: usize = 1024;
/// Writes of one share partition that go into one append.
pub const WRITES_PER_APPEND: usize = 64;
/// Default of [`super::store::StoreSettings::memory_bytes_max`].
pub const STATE_BYTES: u64 = 32 << 20;

const _: () = {
    // A step may answer all that waits, and append as often.
    assert!(2 * STATE_REQUESTS_PARKED_MAX < EFFECTS_MAX);
};
