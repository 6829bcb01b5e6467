//! Every maximum of a coordinator, tied to what one step may emit.

use model::limits::EFFECTS_MAX;

use crate::share::limits::HEARTBEATS_PARKED_MAX;

/// Members of one group, whatever `group.max.size` says; and ids given out in it that did not join yet.
pub const GROUP_MEMBERS_MAX: usize = 2000;
/// Requests of one coordinator that wait for a rebalance or an append; above it COORDINATOR_NOT_AVAILABLE.
pub const REQUESTS_PARKED_MAX: usize = 3072;
/// So many may wait when one more wants to join: a rebalance has its members wait for long, and all else is to have room
/// beside it.
pub const JOINS_PARKED_MAX: usize = REQUESTS_PARKED_MAX / 4 * 3;
/// Bytes of one member's protocols (names and metadata); above it INVALID_REQUEST.
pub const MEMBER_BYTES_MAX: usize = 1 << 20;
/// Protocols one member may offer; above it INVALID_REQUEST.
pub const MEMBER_PROTOCOLS_MAX: usize = 64;
/// Bytes of a group id, instance id, client id, host or protocol name: what an id of a member made from it still
/// fits, with the 37 bytes of its UUID, into the 16-bit length of a record's string.
pub const NAME_BYTES_MAX: usize = 32_000;
/// Bytes of a topic's name, as everywhere in Kafka.
pub const TOPIC_BYTES_MAX: usize = 249;
/// Bytes of the metadata of a committed offset, whatever `offset.metadata.max.bytes` says: a record's string.
pub const OFFSET_METADATA_BYTES_MAX: usize = 32_767;
/// Default of [`super::GroupSettings::memory_bytes_max`]: what groups, members and offsets of one coordinator take.
pub const COORDINATOR_BYTES: u64 = 32 << 20;
/// Records of one append that deletes; a commit is never split.
pub const TOMBSTONES_PER_APPEND: usize = 1024;
/// Groups one DeleteGroups request deletes; the rest of its list is told COORDINATOR_NOT_AVAILABLE.
pub const GROUPS_PER_DELETE: usize = 512;
/// Appends of one pass of expiry; what is left goes on at the next tick.
pub const APPENDS_PER_EXPIRY: usize = 128;
/// Timers fired by one tick; what is left is due at once.
pub const TIMERS_PER_TICK: usize = 256;

/// Topics a member of a group by the consumer protocol may name; above it INVALID_REQUEST.
pub const MEMBER_TOPICS_MAX: usize = 10_000;
/// Bytes of a regular expression; above it INVALID_REGULAR_EXPRESSION.
pub const REGEX_BYTES_MAX: usize = 4096;
/// Bytes of a compiled regular expression; above it INVALID_REGULAR_EXPRESSION. Matching takes time in proportion to it
/// and to the name, whatever both are.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 256 << 10;
/// Different regular expressions in one group; above it INVALID_REGULAR_EXPRESSION.
pub const REGEXES_MAX: usize = 64;
/// Names looked at in one step while regular expressions are resolved.
pub const REGEX_NAMES_PER_STEP: usize = 64;
/// Bytes of what a group's regular expressions newly mean after which a look at them ends: it goes into one append, with one
/// expression at least. The rest waits for the next look.
pub const REGEX_BYTES_PER_APPEND: u64 = 4 << 20;
/// Bytes the name of a topic is counted with where it is subscribed to, beside its own.
pub const TOPIC_NAME_BYTES: usize = 64;
/// Between two resolutions of a group's regular expressions because topics came or went: as in Kafka.
pub const REGEX_REFRESH_MS: u64 = 10_000;
/// Records of one append by a group of the consumer protocol after which it takes no more requests in.
pub const RECORDS_PER_APPEND: usize = 1024;
/// Entries of groups copied for one append after which it takes no more requests in: each request that changes something is
/// decided on a copy of the group, and a core has other things to do after some milliseconds.
pub const ENTRIES_PER_APPEND: usize = 1 << 16;

/// Bytes a group is counted with beside its strings, members and offsets.
pub const GROUP_BYTES: u64 = 768;
/// Bytes a member is counted with beside its strings, metadata and assignment.
pub const MEMBER_BYTES: u64 = 512;
/// Bytes a committed offset is counted with beside its metadata.
pub const OFFSET_BYTES: u64 = 128;

const _: () = {
    // A step answers at most what is parked and the request itself, and appends as often as its kind allows.
    assert!(REQUESTS_PARKED_MAX + GROUPS_PER_DELETE + TIMERS_PER_TICK + APPENDS_PER_EXPIRY < EFFECTS_MAX);
    assert!(GROUP_MEMBERS_MAX < JOINS_PARKED_MAX);
    // Everybody is sent away in one step.
    assert!(REQUESTS_PARKED_MAX + HEARTBEATS_PARKED_MAX < EFFECTS_MAX);
    assert!(NAME_BYTES_MAX + 37 <= i16::MAX as usize);
};
