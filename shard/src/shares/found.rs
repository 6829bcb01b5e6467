//! What was read of a log for members of a share group: its batches, and how large they are.

use std::rc::Rc;

use coordination::share::LogBatch;
use model::batch::RecordBatch;
use storage::Piece;

/// A batch that was read.
pub(super) struct Found {
    pub batch: LogBatch,
    pub bytes: Piece,
}

/// How large records and batches are.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    /// Bytes of a record with its part of the batch; 0 when nothing was read.
    record: u32,
    /// Bytes of the largest batch.
    batch: u32,
}

impl Sizes {
    pub fn of(found: &[Found]) -> Option<Self> {
        let bytes: usize = found.iter().map(|found| found.bytes.bytes().len()).sum();
        let records: u64 =
            found.iter().map(|found| found.batch.last.0.abs_diff(found.batch.first.0) + 1).sum();
        let largest = found.iter().map(|found| found.bytes.bytes().len()).max()?;
        let record = u64::try_from(bytes).ok()?.div_ceil(records.max(1));
        Some(Self { record: u32::try_from(record).ok()?, batch: u32::try_from(largest).ok()? })
    }

    /// So many records, and at least so many bytes, are in no more than this, with the batch that the last of them is in.
    pub fn bytes_of(self, records: u32, bytes_min: u32) -> u32 {
        if self.record == 0 {
            return u32::MAX;
        }
        records.saturating_mul(self.record).max(bytes_min).saturating_add(self.batch)
    }
}

/// The batches that were read. An append may lie in several frames of the journal, and then so does a batch: those pieces are
/// joined, the others stay where they are.
pub(super) fn batches(pieces: Vec<Piece>) -> Vec<Found> {
    let mut batches = Vec::new();
    let mut open: Option<Vec<u8>> = None;
    for piece in pieces {
        let piece = match open.take() {
            None => piece,
            Some(mut joined) => {
                joined.extend_from_slice(piece.bytes());
                owned(joined)
            }
        };
        let (whole, rest) = cut(&piece);
        batches.extend(whole);
        if rest < piece.bytes().len() {
            open = Some(piece.bytes()[rest..].to_vec());
        }
    }
    batches
}

/// The whole batches of a piece, and where they end in it.
fn cut(piece: &Piece) -> (Vec<Found>, usize) {
    let mut at = 0;
    let mut found = Vec::new();
    for batch in RecordBatch::all_in(piece.bytes()).map_while(Result::ok) {
        let end = at + batch.as_bytes().len();
        let range = piece.range.start + at..piece.range.start + end;
        found.push(Found {
            batch: LogBatch { first: batch.base_offset(), last: batch.last_offset() },
            bytes: Piece { owner: Rc::clone(&piece.owner), range },
        });
        at = end;
    }
    (found, at)
}

fn owned(bytes: Vec<u8>) -> Piece {
    let range = 0..bytes.len();
    Piece { owner: Rc::new(bytes), range }
}

#[cfg(test)]
mod tests {
    use model::batch::BatchBuilder;
    use model::{LeaderEpoch, Offset, TimestampMs};

    use super::*;

    fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let owner: Rc<dyn AsRef<[u8]>> = Rc::new(bytes.to_vec());
        let mut edges: Vec<usize> = [&[0], cuts, &[bytes.len()]].concat();
        edges.sort_unstable();
        edges.windows(2).map(|two| Piece { owner: Rc::clone(&owner), range: two[0]..two[1] }).collect()
    }

    #[test]
    fn a_batch_in_several_pieces_is_one() {
        let batch = |offset: i64, size: usize| {
            let batch = BatchBuilder::new().stored_at(Offset(offset), LeaderEpoch(0));
            batch.value(TimestampMs(1), &vec![7; size]).build()
        };
        let batches = [batch(0, 100), batch(1, 500), batch(2, 10), batch(3, 300)];
        let bytes = batches.concat();
        let ends: Vec<usize> =
            (1..4).map(|count| batches[..count].iter().map(Vec::len).sum::<usize>()).collect();
        for cuts in
            [&[][..], &ends, &[ends[0], ends[0] + 30], &[5], &[ends[0] + 70, ends[0] + 400], &[ends[2] + 1]]
        {
            let found = super::batches(pieces(&bytes, cuts));
            let offsets: Vec<i64> = found.iter().map(|found| found.batch.first.0).collect();
            assert_eq!(offsets, [0, 1, 2, 3], "{cuts:?}");
            assert_eq!(
                found.iter().flat_map(|found| found.bytes.bytes()).copied().collect::<Vec<u8>>(),
                bytes
            );
        }
        // What ends at a batch's end is not copied.
        let pieces = pieces(&bytes, &ends);
        let found = super::batches(pieces.clone());
        assert!(found.iter().zip(&pieces).all(|(found, piece)| Rc::ptr_eq(&found.bytes.owner, &piece.owner)));
        assert_eq!(found.len(), pieces.len());
    }

    #[test]
    fn no_more_is_read_than_so_many_records_take() {
        assert_eq!(Sizes::default().bytes_of(1, 0), u32::MAX, "nothing is known yet");
        let batch = |offset: i64, size: usize| {
            let batch = BatchBuilder::new().stored_at(Offset(offset), LeaderEpoch(0));
            batch.value(TimestampMs(1), &vec![7; size]).value(TimestampMs(1), &[7; 20]).build()
        };
        let (small, large) = (batch(0, 100), batch(2, 900));
        let both = [small.as_slice(), &large].concat();
        let sizes = Sizes::of(&super::batches(pieces(&both, &[]))).unwrap();
        let record = u32::try_from(both.len().div_ceil(4)).unwrap();
        let batch = u32::try_from(large.len()).unwrap();
        assert_eq!(sizes.bytes_of(10, 0), 10 * record + batch);
        assert_eq!(sizes.bytes_of(10, 1 << 20), (1 << 20) + batch);
        assert_eq!(sizes.bytes_of(u32::MAX, 0), u32::MAX);
        assert!(Sizes::of(&[]).is_none());
    }
}
