//! Receive buffers of one core. A connection borrows one while bytes arrive, so idle ones cost nothing.

use std::cell::RefCell;

use bytes::BytesMut;

use model::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS_KEPT_MAX};

/// A buffer with less room than this is not worth another read.
pub(crate) const ROOM_MIN: usize = 16 << 10;

/// The buffers nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    kept: RefCell<Vec<BytesMut>>,
}

impl Buffers {
    /// An empty buffer with room for a good read.
    pub(crate) fn take(&self) -> BytesMut {
        self.kept.borrow_mut().pop().unwrap_or_else(|| BytesMut::with_capacity(RECEIVE_BUFFER_BYTES))
    }

    /// Takes back a buffer whose bytes were all cut off. Its memory is used again in full once the frames cut from it
    /// are gone, else the rest of it while that is worth it.
    pub(crate) fn give(&self, mut buffer: BytesMut) {
        debug_assert!(buffer.is_empty());
        let mut kept = self.kept.borrow_mut();
        if kept.len() < RECEIVE_BUFFERS_KEPT_MAX
            && (buffer.try_reclaim(RECEIVE_BUFFER_BYTES) || buffer.capacity() >= ROOM_MIN)
        {
            kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffers, RECEIVE_BUFFER_BYTES};

    #[test]
    fn memory_is_used_again_once_its_frames_are_gone() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[7; 60_000]);
        let frame = buffer.split_to(60_000).freeze();
        buffers.give(buffer);
        assert!(buffers.kept.borrow().is_empty(), "a buffer without room is not kept");
        drop(frame);

        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[7; 60_000]);
        let start = buffer.as_ptr();
        drop(buffer.split_to(60_000).freeze());
        buffers.give(buffer);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.capacity()), (start, RECEIVE_BUFFER_BYTES));
    }
}
