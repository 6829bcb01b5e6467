//! Where readers of segments go on, and what was read for them: a consumer that catches up costs one large read per
//! mebibyte, begun while it takes the answer before, and no search for its place; those that follow it closely cost none.
//!
//! A place is a hint and is checked against the log before it is used. Places are many and small; the bytes that are kept
//! are bounded, and the oldest are let go first.

use std::cell::RefCell;
use std::collections::VecDeque;

use model::limits::BLOCK;
use model::{Offset, TopicPartition};

use super::Piece;
use crate::bytes_at::{len_u64, to_usize};
use crate::segment::Cursor;
use crate::signal::Signal;

/// Places that are remembered, some 100 bytes each.
const PLACES_MAX: usize = 1024;

/// A point in the segments of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub partition: TopicPartition,
    /// Of the log: a truncation may have put something else there.
    pub incarnation: u32,
    pub at: Cursor,
}

/// Where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Base offset of the batch.
    pub next: Offset,
    pub point: Point,
}

/// One read of a segment, for all who come there.
struct Read {
    from: Point,
    len: u64,
    /// `None`: a task reads them.
    piece: Option<Piece>,
}

impl Read {
    /// How far behind its beginning this is, if it has it.
    fn reach(&self, point: &Point) -> Option<u64> {
        let same = self.from.partition == point.partition
            && self.from.incarnation == point.incarnation
            && self.from.at.segment == point.at.segment;
        let behind = point.at.position.checked_sub(self.from.at.position)?;
        (same && behind < self.len).then_some(behind)
    }

    /// What it counts for: a part of what was read keeps all of it.
    fn weight(&self) -> u64 {
        self.piece.as_ref().map_or(at_most(self.len), |piece| len_u64((*piece.owner).as_ref().len()))
    }
}

/// Memory for `len` bytes: whole blocks are read.
const fn at_most(len: u64) -> u64 {
    len + 2 * BLOCK as u64
}

/// The places and reads of one store.
pub(crate) struct Ahead {
    bytes_max: u64,
    /// Oldest first.
    places: RefCell<VecDeque<Place>>,
    /// Oldest first.
    reads: RefCell<VecDeque<Read>>,
    changed: Signal,
}

impl Ahead {
    /// Nothing yet; keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, places: RefCell::default(), reads: RefCell::default(), changed: Signal::default() }
    }

    /// Bytes held, or about to be.
    pub fn bytes(&self) -> u64 {
        self.reads.borrow().iter().map(Read::weight).sum()
    }

    /// Where the batch of this base offset stands, if a reader ended there.
    pub fn place(&self, partition: TopicPartition, next: Offset) -> Option<Place> {
        let places = self.places.borrow();
        places.iter().rev().find(|place| place.next == next && place.point.partition == partition).copied()
    }

    /// Remembers a place.
    pub fn remember(&self, place: Place) {
        let mut places = self.places.borrow_mut();
        let same = |known: &Place| known.next == place.next && known.point.partition == place.point.partition;
        if let Some(known) = places.iter().rposition(same) {
            places.remove(known);
        } else if places.len() >= PLACES_MAX {
            places.pop_front();
        }
        places.push_back(place);
    }

    /// Makes room for `len` bytes from a point on, which the caller then reads: [`Self::arrived`]. False when somebody else does,
    /// or when there is no room for them.
    pub fn expect(&self, from: Point, len: u64) -> bool {
        let mut reads = self.reads.borrow_mut();
        let coming = || reads.iter().filter(|read| read.piece.is_none());
        let (needed, coming_bytes) = (at_most(len), coming().map(Read::weight).sum::<u64>());
        if coming().any(|read| read.reach(&from).is_some()) || coming_bytes + needed > self.bytes_max {
            return false;
        }
        let mut held: u64 = reads.iter().map(Read::weight).sum();
        reads.retain(|read| {
            let stays = read.piece.is_none() || held + needed <= self.bytes_max;
            held -= if stays { 0 } else { read.weight() };
            stays
        });
        reads.push_back(Read { from, len, piece: None });
        true
    }

    /// What was to come from a point on is there, or could not be read.
    pub fn arrived(&self, from: &Point, piece: Option<Piece>) {
        let mut reads = self.reads.borrow_mut();
        if let Some(at) = reads.iter().position(|read| read.from == *from && read.piece.is_none()) {
            match piece {
                Some(_) => reads[at].piece = piece,
                None => drop(reads.remove(at)),
            }
        }
        drop(reads);
        self.changed.notify();
    }

    /// What is held from a point on.
    pub fn held(&self, point: &Point) -> Option<Piece> {
        let reads = self.reads.borrow();
        reads.iter().rev().find_map(|read| {
            let behind = to_usize(read.reach(point)?);
            let Piece { owner, range } = read.piece.as_ref()?;
            (behind < range.len())
                .then(|| Piece { owner: std::rc::Rc::clone(owner), range: range.start + behind..range.end })
        })
    }

    /// The same, once what is on its way there has come.
    pub async fn read(&self, point: &Point) -> Option<Piece> {
        let coming = || self.reads.borrow().iter().any(|r| r.piece.is_none() && r.reach(point).is_some());
        self.changed.until(|| (!coming()).then_some(())).await;
        self.held(point)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::{block_on, poll_once};
    use model::TopicId;

    use super::*;

    const PARTITION: TopicPartition = TopicPartition { topic: TopicId([1; 16]), partition: 0 };

    fn point(position: u64) -> Point {
        let at = Cursor { segment: Offset(0), position };
        Point { partition: PARTITION, incarnation: 0, at }
    }

    fn piece(len: usize) -> Option<Piece> {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        Some(Piece { owner: Rc::new(bytes), range: 0..len })
    }

    fn read(ahead: &Ahead, position: u64) {
        assert!(ahead.expect(point(position), 100));
        ahead.arrived(&point(position), piece(100));
    }

    #[test]
    fn the_oldest_bytes_go_first() {
        let ahead = Ahead::new(at_most(100) + 100);
        for position in [1000, 2000, 3000] {
            read(&ahead, position);
        }
        assert_eq!(ahead.bytes(), 200);
        assert!(ahead.held(&point(1000)).is_none());
        assert_eq!(ahead.held(&point(2000)).unwrap().bytes().len(), 100);
        let tail = ahead.held(&point(3098)).unwrap();
        assert_eq!(tail.bytes(), [98, 99], "a part of it, for as many as come");
        assert!(ahead.held(&point(3100)).is_none());
        let truncated = Point { incarnation: 1, ..point(3000) };
        assert!(ahead.held(&truncated).is_none());
    }

    #[test]
    fn places_are_bounded_too() {
        let ahead = Ahead::new(0);
        for next in 0..=1024 {
            let place = Place { next: Offset(next), point: point(0) };
            ahead.remember(place);
            ahead.remember(place);
        }
        assert!(ahead.place(PARTITION, Offset(0)).is_none());
        assert!(
            ahead.place(PARTITION, Offset(1)).is_some() && ahead.place(PARTITION, Offset(1024)).is_some()
        );
    }

    #[test]
    fn who_comes_for_bytes_on_their_way_waits_for_them() {
        let ahead = Ahead::new(at_most(100) + 50);
        assert!(ahead.expect(point(1000), 100));
        assert!(!ahead.expect(point(1050), 10), "somebody reads that already");
        assert!(!ahead.expect(point(2000), 100), "there is no room but that of what is on its way");
        let inside = point(1050);
        let mut reading = Box::pin(ahead.read(&inside));
        assert!(block_on(poll_once(&mut reading)).is_none());
        ahead.arrived(&point(1000), piece(100));
        assert_eq!(block_on(reading).unwrap().bytes().len(), 50);
        // Nobody waits for ever for what cannot be read.
        assert!(ahead.expect(point(2000), 100));
        ahead.arrived(&point(2000), None);
        assert!(block_on(ahead.read(&point(2000))).is_none());
    }
}
