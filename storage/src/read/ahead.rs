//! Where readers of segments go on, and what was read for them: a consumer that catches up costs one large read per
//! mebibyte, begun while it takes the answer before, and no search for its place; those that follow it closely cost none.
//!
//! A place is a hint and is checked against the log before it is used. Places are many and small; the bytes that are kept
//! are bounded. What is still to be used is not let go for what might be: with more readers than that, each has read what it is
//! about to be given and no more.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use model::limits::BLOCK;
use model::{Offset, TopicPartition};

use super::Piece;
use crate::bytes_at::{len_u64, to_usize};
use crate::segment::Cursor;
use crate::signal::Signal;

/// Places that are remembered, some 100 bytes each.
const PLACES_MAX: usize = 1024;
/// What nobody came for in this time is not still to be used.
const STALE_NS: u64 = 1_000_000_000;

/// A point in the segments of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub partition: TopicPartition,
    /// Of the log: a truncation may have put something else there.
    pub incarnation: u32,
    /// Of the segment: compaction may have put another in its place.
    pub generation: u32,
    pub at: Cursor,
}

/// Where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Base offset of the batch.
    pub next: Offset,
    pub point: Point,
}

/// What a read is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// More than is about to be given: the rest is for later.
    Later,
    /// Just what is about to be given. Others who come there meanwhile get it too.
    Now,
}

/// One read of a segment, for all who come there.
struct Read {
    from: Point,
    len: u64,
    purpose: Purpose,
    /// `None`: a task reads them.
    piece: Option<Piece>,
    /// Somebody came to its end.
    used_up: bool,
    /// When somebody came for it last.
    touched_ns: u64,
}

impl Read {
    /// How far behind its beginning this is, if it has it.
    fn reach(&self, point: &Point) -> Option<u64> {
        let same = self.from.partition == point.partition
            && self.from.incarnation == point.incarnation
            && self.from.generation == point.generation
            && self.from.at.segment == point.at.segment;
        let behind = point.at.position.checked_sub(self.from.at.position)?;
        (same && behind < self.len).then_some(behind)
    }

    /// What there is of it from a point on.
    fn held(&self, point: &Point) -> Option<Piece> {
        let behind = to_usize(self.reach(point)?);
        let Piece { owner, range } = self.piece.as_ref()?;
        let range = range.start + behind..range.end;
        (!range.is_empty()).then(|| Piece { owner: Rc::clone(owner), range })
    }

    /// Whether it may make room for others.
    fn is_done(&self, now_ns: u64) -> bool {
        self.piece.is_some() && (self.used_up || now_ns.saturating_sub(self.touched_ns) > STALE_NS)
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
    pub fn expect(&self, from: Point, len: u64, purpose: Purpose, now_ns: u64) -> bool {
        let mut reads = self.reads.borrow_mut();
        let comes = |read: &Read| read.piece.is_none() && read.reach(&from).is_some();
        let (mut held, mut needed_still) = (0, 0);
        for read in &*reads {
            held += read.weight();
            needed_still += if read.is_done(now_ns) { 0 } else { read.weight() };
        }
        let needed = at_most(len);
        // Some is left for those who want no more than they are given.
        let limit = if purpose == Purpose::Later { self.bytes_max / 4 * 3 } else { self.bytes_max };
        if reads.iter().any(comes) || needed_still + needed > limit {
            return false;
        }
        reads.retain(|read| {
            let stays = !read.is_done(now_ns) || held + needed <= self.bytes_max;
            held -= if stays { 0 } else { read.weight() };
            stays
        });
        reads.push_back(Read { from, len, purpose, piece: None, used_up: false, touched_ns: now_ns });
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

    /// What is held from a point on, for somebody who came there.
    pub fn take(&self, point: &Point, now_ns: u64) -> Option<Piece> {
        let mut reads = self.reads.borrow_mut();
        reads.iter_mut().rev().find_map(|read| {
            let held = read.held(point)?;
            read.touched_ns = now_ns;
            read.used_up |= read.purpose == Purpose::Now;
            Some(held)
        })
    }

    /// What is held from a point on.
    pub fn held(&self, point: &Point) -> Option<Piece> {
        self.reads.borrow().iter().rev().find_map(|read| read.held(point))
    }

    /// Once what is on its way there has come: [`Self::take`].
    pub async fn read(&self, point: &Point, now_ns: u64) -> Option<Piece> {
        let coming = || self.reads.borrow().iter().any(|r| r.piece.is_none() && r.reach(point).is_some());
        self.changed.until(|| (!coming()).then_some(())).await;
        self.take(point, now_ns)
    }

    /// Somebody took what there is from a point on, and goes on behind it.
    pub fn used_up(&self, point: &Point) {
        let mut reads = self.reads.borrow_mut();
        for read in reads.iter_mut().filter(|read| read.reach(point).is_some()) {
            read.used_up = true;
        }
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
        Point { partition: PARTITION, incarnation: 0, generation: 0, at }
    }

    fn piece(len: usize) -> Option<Piece> {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        Some(Piece { owner: Rc::new(bytes), range: 0..len })
    }

    const LEN: u64 = 1 << 20;

    /// The point where the `n`th read begins.
    fn begin(n: u64) -> Point {
        point(n * 4 * LEN)
    }

    fn read(ahead: &Ahead, n: u64, purpose: Purpose) -> bool {
        let expected = ahead.expect(begin(n), LEN, purpose, 0);
        ahead.arrived(&begin(n), piece(to_usize(LEN)).filter(|_| expected));
        expected
    }

    #[test]
    fn what_was_used_goes_first_and_the_oldest_of_it() {
        let ahead = Ahead::new(2 * at_most(LEN));
        for n in 1..=3 {
            assert!(read(&ahead, n, Purpose::Now), "{n}");
            assert_eq!(ahead.take(&begin(n), 0).unwrap().bytes().len() as u64, LEN);
        }
        assert!(ahead.held(&begin(1)).is_none() && ahead.held(&begin(2)).is_some());
        let end = begin(3).at.position + LEN;
        assert_eq!(ahead.take(&point(end - 2), 0).unwrap().bytes(), [254, 255], "for as many as come");
        assert!(ahead.take(&point(end), 0).is_none());
        let truncated = Point { incarnation: 1, ..begin(3) };
        assert!(ahead.take(&truncated, 0).is_none());
        let compacted = Point { generation: 1, ..begin(3) };
        assert!(ahead.take(&compacted, 0).is_none());
    }

    #[test]
    fn what_is_still_to_be_used_stays() {
        let ahead = Ahead::new(2 * at_most(LEN));
        assert!(read(&ahead, 1, Purpose::Later));
        assert!(!read(&ahead, 2, Purpose::Later), "for later there is less room");
        assert!(read(&ahead, 2, Purpose::Now));
        assert!(!read(&ahead, 3, Purpose::Now), "nobody has come for it yet");
        assert!(ahead.take(&begin(2), 0).is_some());
        assert!(read(&ahead, 3, Purpose::Now));
        let inside = point(begin(1).at.position + 50);
        assert!(ahead.take(&begin(3), 0).is_some() && ahead.take(&inside, 0).is_some());
        assert!(!ahead.expect(begin(4), 2 * LEN, Purpose::Now, STALE_NS), "part of it is still to come");
        ahead.used_up(&inside);
        assert!(ahead.expect(begin(4), 2 * LEN, Purpose::Now, 0));
        ahead.arrived(&begin(4), None);
        assert_eq!(ahead.bytes(), 0);
    }

    #[test]
    fn what_nobody_comes_for_goes() {
        let ahead = Ahead::new(2 * at_most(LEN));
        assert!(read(&ahead, 1, Purpose::Later));
        assert!(!ahead.expect(begin(2), 2 * LEN, Purpose::Now, STALE_NS));
        assert!(ahead.expect(begin(2), 2 * LEN, Purpose::Now, STALE_NS + 1));
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
        let expect = |position, len| ahead.expect(point(position), len, Purpose::Now, 0);
        assert!(expect(1000, 100));
        assert!(!expect(1050, 10), "somebody reads that already");
        assert!(!expect(2000, 100), "there is no room but that of what is on its way");
        let inside = point(1050);
        let mut reading = Box::pin(ahead.read(&inside, 0));
        assert!(block_on(poll_once(&mut reading)).is_none());
        ahead.arrived(&point(1000), piece(100));
        assert_eq!(block_on(reading).unwrap().bytes().len(), 50);
        // Nobody waits for ever for what cannot be read.
        assert!(expect(2000, 100));
        ahead.arrived(&point(2000), None);
        assert!(block_on(ahead.read(&point(2000), 0)).is_none());
    }
}
