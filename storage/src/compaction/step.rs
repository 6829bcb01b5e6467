//! How much of a pass goes to the helper thread at a time: others want it too, to open files and to write checkpoints.

use super::unpack::Room;

/// Of what comes out of a codec: some ten milliseconds, with what may have to go in again. What is not compressed goes a hundred times
/// as fast.
const CODEC_BYTES: u64 = 1 << 20;

/// A step under way.
pub(super) struct Step {
    passed: u64,
}

impl Step {
    /// Begins one.
    pub const fn begin(room: &Room) -> Self {
        Self { passed: room.passed() }
    }

    /// Whether it has taken long enough.
    pub const fn is_over(&self, room: &Room) -> bool {
        room.passed() - self.passed >= CODEC_BYTES
    }
}
