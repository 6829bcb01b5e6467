//! ShareFetch, on the core that owns the partitions: the log is read where there is something to hand out, and what is free of
//! that becomes the member's.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use coordination::share::{Acquire, Acquired, LogBatch};
use model::batch::RecordBatch;
use model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use storage::Piece;
use storage::disk::Disk;

use super::Slot;
use crate::ops::{Fetch, FetchPartition, Fetched, Seen, ShareAwait, ShareFetch, ShareFetched};
use crate::shard::Shard;

/// What was read of one partition, for a member that may get some of it.
struct Read {
    slot: Rc<Slot>,
    /// Where the log was read.
    from: Offset,
    pieces: Vec<Piece>,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.slot.reading.set(false);
    }
}

impl<D: Disk> Shard<D> {
    /// Gives a member what there is of these partitions, in their order.
    pub(crate) async fn share_fetch(self: &Rc<Self>, wanted: ShareFetch) -> Vec<ShareFetched> {
        let mut told: Vec<ShareFetched> = Vec::with_capacity(wanted.partitions.len());
        let mut reads: Vec<(usize, Read)> = Vec::new();
        let mut room = wanted.bytes_max;
        for id in &wanted.partitions {
            let place = told.len();
            told.push(self.share_seen(&wanted, *id));
            if room == 0 && !reads.is_empty() {
                continue;
            }
            match self.share_read(&wanted, *id, room).await {
                Ok(Some(read)) => {
                    let bytes: usize = read.pieces.iter().map(|piece| piece.bytes().len()).sum();
                    room = room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
                    reads.push((place, read));
                }
                Ok(None) => {}
                Err(error) => told[place].error = error,
            }
        }
        let enough = wanted.bytes_max - room >= wanted.bytes_min.min(wanted.bytes_max);
        let mut left = wanted.records_max;
        for (place, read) in reads {
            if enough && left > 0 {
                self.share_acquire(&wanted, &mut left, &read, &mut told[place]);
            }
            self.share_read_over(read);
        }
        told
    }

    /// Whoever came while it was read may find something now.
    fn share_read_over(&self, read: Read) {
        let slot = Rc::clone(&read.slot);
        drop(read);
        if slot.turned_away.replace(false) {
            self.share_news(&slot);
        }
    }

    /// Nothing so far, and what a wait begins with: seen before the log is read, so that nothing between is missed.
    fn share_seen(self: &Rc<Self>, wanted: &ShareFetch, id: TopicPartition) -> ShareFetched {
        let mut fetched = ShareFetched {
            partition: id,
            error: ErrorCode::None,
            acquired: Vec::new(),
            records: Bytes::new(),
            seen: Seen { log_end: None, news: 0 },
        };
        match self.share_slot(&wanted.group, &wanted.member, id) {
            Ok(slot) => {
                let open = slot.with(|partition| partition.can_acquire()) == Some(true);
                let log_end = self.store.existing(id).map(|log| log.durable_end());
                fetched.seen = Seen { log_end: log_end.filter(|_| open), news: slot.news.get() };
            }
            Err(error) => fetched.error = error,
        }
        fetched
    }

    /// Reads the log where there may be something for a member.
    async fn share_read(
        self: &Rc<Self>,
        wanted: &ShareFetch,
        id: TopicPartition,
        room: u32,
    ) -> Result<Option<Read>, ErrorCode> {
        let Some(slot) = self.existing_share(&wanted.group, id) else { return Ok(None) };
        let log = self.loaded(id).await.map_err(|fault| fault.code)?;
        let from = slot.with(|partition| {
            if log.log_start() > partition.start() {
                partition.log_start_moved(log.log_start());
            }
            partition.can_acquire().then(|| partition.next_fetch_offset())
        });
        let Some(from) = from.flatten().filter(|from| *from < log.durable_end()) else { return Ok(None) };
        if slot.reading.replace(true) {
            slot.turned_away.set(true);
            return Ok(None);
        }
        let mut read = Read { slot, from, pieces: Vec::new() };
        let fetch = Fetch {
            partitions: vec![FetchPartition {
                partition: id,
                offset: from,
                bytes_max: room,
                current_leader_epoch: LeaderEpoch::NONE,
                last_fetched_epoch: LeaderEpoch::NONE,
            }],
            bytes_min: 0,
            bytes_max: room,
            wait_ms: 0,
            read_committed: false,
            always_one: true,
            paid: true,
            token: None,
        };
        let (mut fetched, _) = self.collect(&fetch).await;
        let error = match fetched.pop() {
            Some(Fetched { error: ErrorCode::None, records, .. }) => {
                read.pieces = records;
                return Ok(Some(read));
            }
            Some(failed) => failed.error,
            None => ErrorCode::UnknownServerError,
        };
        if error == ErrorCode::OffsetOutOfRange {
            // The log's start moved while it was read.
            read.slot.with(|partition| partition.log_start_moved(log.log_start()));
        }
        self.share_read_over(read);
        if error == ErrorCode::OffsetOutOfRange { Ok(None) } else { Err(error) }
    }

    /// Makes what is free of a read the member's.
    fn share_acquire(
        self: &Rc<Self>,
        wanted: &ShareFetch,
        left: &mut u32,
        read: &Read,
        told: &mut ShareFetched,
    ) {
        let mut batches: Vec<(LogBatch, &[u8])> = Vec::new();
        let whole = whole(&read.pieces);
        for bytes in &whole {
            for batch in RecordBatch::all_in(bytes) {
                let Ok(batch) = batch else { break };
                let (first, last) = (batch.base_offset(), batch.last_offset());
                batches.push((LogBatch { first, last }, batch.as_bytes()));
            }
        }
        let log: Vec<LogBatch> = batches.iter().map(|(batch, _)| *batch).collect();
        // Its session may have ended while the log was read: nobody would give back what it gets now.
        let there = self
            .shares
            .groups
            .borrow()
            .get(&wanted.group)
            .is_some_and(|known| known.members.contains(&wanted.member));
        if !there {
            return;
        }
        let request = Acquire {
            member: &wanted.member,
            mode: wanted.mode,
            records_max: *left,
            batch_size: wanted.batch_size,
            fetch_offset: read.from,
        };
        let now = self.tick();
        let acquired = read.slot.with(|partition| partition.acquire(now, &request, &log)).unwrap_or_default();
        if acquired.is_empty() {
            return;
        }
        for one in &acquired {
            let records = u32::try_from(one.last.0.abs_diff(one.first.0)).unwrap_or(u32::MAX);
            *left = left.saturating_sub(records.saturating_add(1));
        }
        let mut records = BytesMut::new();
        for (batch, bytes) in &batches {
            if acquired.iter().any(|one| meets(one, *batch)) {
                records.extend_from_slice(bytes);
            }
        }
        (told.acquired, told.records) = (acquired, records.freeze());
        self.time_shares();
    }

    /// Waits until one of the share partitions is not as it was seen, or the time is over, or it is cancelled.
    pub(crate) async fn share_await(self: &Rc<Self>, token: u64, wait: ShareAwait) {
        let mut grows = false;
        for (id, seen) in &wait.partitions {
            let news = self.existing_share(&wait.group, *id).map_or(0, |slot| slot.news.get());
            let end = self.store.existing(*id).map(|log| log.durable_end());
            let grew = seen.log_end.is_some_and(|seen| end.is_some_and(|end| end > seen));
            if grew || news != seen.news {
                return;
            }
            grows |= seen.log_end.is_some();
        }
        if self.stopping.get() {
            return;
        }
        let deadline = self.tick().after_ms(u64::from(wait.wait_ms));
        let ids = wait.partitions.into_iter().map(|(id, _)| id).collect();
        // Where no more may be handed out, what is written to the log changes nothing.
        let missing = if grows { 1 } else { u64::MAX };
        let ticket = self.fetches.borrow_mut().park(deadline, missing, ids);
        self.awaits.borrow_mut().insert(token, Some(ticket));
        self.released(ticket).await;
        self.awaits.borrow_mut().remove(&token);
    }
}

/// What was read, cut only where batches end. An append may lie in several frames of the journal, and then so does a batch: those pieces
/// are joined, the others stay where they are.
fn whole(pieces: &[Piece]) -> Vec<Cow<'_, [u8]>> {
    let mut whole = Vec::with_capacity(pieces.len());
    let mut open: Option<Vec<u8>> = None;
    for piece in pieces {
        let bytes = match open.take() {
            None => Cow::Borrowed(piece.bytes()),
            Some(mut joined) => {
                joined.extend_from_slice(piece.bytes());
                Cow::Owned(joined)
            }
        };
        if RecordBatch::all_in(&bytes).all(|batch| batch.is_ok()) {
            whole.push(bytes);
        } else {
            open = Some(bytes.into_owned());
        }
    }
    whole.extend(open.map(Cow::Owned));
    whole
}

/// Whether records of a batch of the log are among those acquired.
fn meets(one: &Acquired, batch: LogBatch) -> bool {
    one.first <= batch.last && batch.first <= one.last
}

#[cfg(test)]
mod tests {
    use model::TimestampMs;
    use model::batch::BatchBuilder;

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
            let pieces = pieces(&bytes, cuts);
            let whole = whole(&pieces);
            let found = whole.iter().flat_map(|bytes| RecordBatch::all_in(bytes));
            let found: Vec<i64> = found.map(|batch| batch.unwrap().base_offset().0).collect();
            assert_eq!(found, [0, 1, 2, 3], "{cuts:?}");
        }
        // What ends at a batch's end is not copied.
        assert!(whole(&pieces(&bytes, &ends)).iter().all(|bytes| matches!(bytes, Cow::Borrowed(_))));
    }
}
