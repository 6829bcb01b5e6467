//! Where readers of segments go on, and what was read ahead of them: a consumer that catches up costs one large read per
//! mebibyte, begun while it takes the answer before, and no search for its place.
//!
//! A place is a hint and is checked against the log before it is used. Places are many and small; the bytes at them are
//! bounded, and the oldest are let go first.

use std::cell::RefCell;
use std::collections::VecDeque;

use model::limits::SEGMENT_READ_BYTES;
use model::{Offset, TopicPartition};

use super::Piece;
use crate::bytes_at::len_u64;
use crate::segment::Cursor;
use crate::signal::Signal;

/// Places that are remembered, some 100 bytes each.
const PLACES_MAX: usize = 1024;

/// Where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub partition: TopicPartition,
    /// Base offset of the batch.
    pub next: Offset,
    pub at: Cursor,
    /// Of the log: a truncation may have put something else there.
    pub incarnation: u32,
}

/// The bytes from a place on.
pub(crate) enum Bytes {
    Unread,
    /// A task reads them.
    Coming,
    There(Piece),
}

impl Bytes {
    /// What they count for: a part of what was read keeps all of it.
    fn weight(&self) -> u64 {
        match self {
            Self::Unread => 0,
            Self::Coming => len_u64(SEGMENT_READ_BYTES),
            Self::There(piece) => len_u64((*piece.owner).as_ref().len()),
        }
    }
}

/// The places of one store.
pub(crate) struct Ahead {
    bytes_max: u64,
    /// Oldest first.
    places: RefCell<VecDeque<(Place, Bytes)>>,
    changed: Signal,
}

impl Ahead {
    /// Nothing yet; keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, places: RefCell::default(), changed: Signal::default() }
    }

    /// Bytes held, or about to be.
    pub fn bytes(&self) -> u64 {
        self.places.borrow().iter().map(|(_, bytes)| bytes.weight()).sum()
    }

    /// Takes the place of this offset out, once its bytes are no longer on their way.
    pub async fn take(&self, partition: TopicPartition, next: Offset) -> Option<(Place, Bytes)> {
        self.changed
            .until(|| {
                let mut places = self.places.borrow_mut();
                let found =
                    places.iter().position(|(place, _)| place.next == next && place.partition == partition);
                let Some(at) = found else { return Some(None) };
                match places.get(at) {
                    Some((_, Bytes::Coming)) => None,
                    _ => Some(places.remove(at)),
                }
            })
            .await
    }

    /// Remembers a place. Bytes are let go, the oldest first and these last, where there are too many.
    pub fn put(&self, place: Place, bytes: Bytes) {
        let mut places = self.places.borrow_mut();
        if places.len() >= PLACES_MAX {
            places.pop_front();
        }
        places.push_back((place, bytes));
        let mut held: u64 = places.iter().map(|(_, bytes)| bytes.weight()).sum();
        for (_, bytes) in places.iter_mut() {
            if held <= self.bytes_max {
                break;
            }
            held -= bytes.weight();
            *bytes = Bytes::Unread;
        }
        drop(places);
        self.changed.notify();
    }

    /// Whether bytes are still to come to this place.
    pub fn is_awaited(&self, place: &Place) -> bool {
        self.places.borrow().iter().any(|(known, bytes)| known == place && matches!(bytes, Bytes::Coming))
    }

    /// What was on its way to a place is there, or could not be read.
    pub fn arrived(&self, place: &Place, piece: Option<Piece>) {
        let mut places = self.places.borrow_mut();
        let found = places.iter_mut().find(|(known, bytes)| known == place && matches!(bytes, Bytes::Coming));
        if let Some((_, bytes)) = found {
            *bytes = piece.map_or(Bytes::Unread, Bytes::There);
        }
        drop(places);
        self.changed.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::{block_on, poll_once};
    use model::TopicId;

    use super::*;

    const PARTITION: TopicPartition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };

    fn place(next: i64) -> Place {
        Place { partition: PARTITION, next: Offset(next), at: Cursor::start_of(Offset(0)), incarnation: 0 }
    }

    fn piece(len: usize) -> Piece {
        Piece { owner: Rc::new(vec![0; len]), range: len - 1..len }
    }

    #[test]
    fn the_oldest_bytes_go_first_and_their_places_stay() {
        let ahead = Ahead::new(250);
        for next in 0..3 {
            ahead.put(place(next), Bytes::There(piece(100)));
        }
        assert_eq!(ahead.bytes(), 200);
        let left = |next| block_on(ahead.take(PARTITION, Offset(next)));
        assert!(matches!(left(0), Some((_, Bytes::Unread))));
        assert!(matches!(left(1), Some((_, Bytes::There(_)))));
        assert!(left(1).is_none(), "it was taken");
        assert!(left(7).is_none());
        for next in 0..=1024 {
            ahead.put(place(10 + next), Bytes::Unread);
        }
        assert!(left(2).is_none() && left(1034).is_some(), "places are bounded too");
    }

    #[test]
    fn who_comes_for_bytes_on_their_way_waits_for_them() {
        let ahead = Ahead::new(u64::MAX);
        ahead.put(place(5), Bytes::Coming);
        assert!(ahead.is_awaited(&place(5)));
        let mut taking = Box::pin(ahead.take(PARTITION, Offset(5)));
        assert!(block_on(poll_once(&mut taking)).is_none());
        ahead.arrived(&place(5), Some(piece(10)));
        assert!(matches!(block_on(taking), Some((_, Bytes::There(_)))));
        // Nobody waits for ever for what cannot be read, or for what was let go.
        ahead.put(place(6), Bytes::Coming);
        ahead.arrived(&place(6), None);
        assert!(matches!(block_on(ahead.take(PARTITION, Offset(6))), Some((_, Bytes::Unread))));
        let small = Ahead::new(1);
        small.put(place(7), Bytes::Coming);
        assert!(!small.is_awaited(&place(7)));
        small.arrived(&place(7), Some(piece(10)));
        assert!(matches!(block_on(small.take(PARTITION, Offset(7))), Some((_, Bytes::Unread))));
    }
}
