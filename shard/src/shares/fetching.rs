//! ShareFetch, on the core that owns the partitions: the log is read where there is something to hand out, and what is free of
//! that becomes the member's.

use std::rc::Rc;

use bytes::Bytes;
use coordination::share::{Acquire, Acquired, LogBatch};
use model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use storage::disk::Disk;

use super::Slot;
use super::found::{Found, Sizes, batches};
use crate::ops::{Fetch, FetchPartition, Fetched, Seen, ShareAwait, ShareFetch, ShareFetched};
use crate::shard::Shard;

/// How much is to be read of a partition.
#[derive(Clone, Copy)]
struct Limits {
    /// Records that are missing yet.
    records: u32,
    /// Bytes that are missing yet.
    bytes: u32,
    /// Bytes at most.
    room: u32,
    /// But for the first batch, which comes whatever its size.
    always_one: bool,
}

/// What was read of one partition, for a member that may get some of it.
struct Read {
    slot: Rc<Slot>,
    /// Where the log was read.
    from: Offset,
    found: Vec<Found>,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.slot.reading.set(false);
    }
}

impl<D: Disk> Shard<D> {
    /// Gives a member what there is of these partitions, in their order.
    pub(crate) async fn share_fetch(self: &Rc<Self>, wanted: ShareFetch) -> Vec<ShareFetched> {
        self.share_member(&wanted.group, &wanted.member, wanted.session);
        let mut told: Vec<ShareFetched> = Vec::with_capacity(wanted.partitions.len());
        let mut reads: Vec<(usize, Read)> = Vec::new();
        let mut room = wanted.bytes_max;
        // Records that are still to be read, as far as it is sure that those that were are anybody's.
        let mut missing = wanted.records_max;
        for id in &wanted.partitions {
            let place = told.len();
            told.push(self.share_seen(&wanted, *id));
            let bytes_missing = wanted.bytes_min.saturating_sub(wanted.bytes_max - room);
            let enough = missing == 0 && bytes_missing == 0;
            if (room == 0 || enough) && !reads.is_empty() {
                continue;
            }
            let always_one = wanted.always_one && reads.is_empty();
            let limits = Limits { records: missing, bytes: bytes_missing, room, always_one };
            match self.share_read(&wanted, *id, limits, &mut told[place].seen).await {
                Ok(Some((read, new))) => {
                    let bytes: usize = read.found.iter().map(|found| found.bytes.bytes().len()).sum();
                    room = room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
                    missing = missing.saturating_sub(new);
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
            // Who waits for as many bytes as this one lacks would not find them either.
            self.share_read_over(read, if enough { 0 } else { wanted.bytes_min });
        }
        told
    }

    /// Whoever came while it was read may find something now, unless it waits for so many bytes that there are not.
    fn share_read_over(&self, read: Read, bytes_lacked: u32) {
        let slot = Rc::clone(&read.slot);
        drop(read);
        let waited_for = slot.turned_away.take();
        if waited_for.is_some_and(|bytes| bytes_lacked == 0 || bytes < bytes_lacked) {
            slot.reads.set(slot.reads.get() + 1);
            self.disturb(slot.id);
        }
        // The group's last member may have gone meanwhile.
        self.close_idle_shares(&slot.key.group);
    }

    /// Nothing so far, and what a wait begins with: seen before the log is read, so that nothing between is missed.
    fn share_seen(self: &Rc<Self>, wanted: &ShareFetch, id: TopicPartition) -> ShareFetched {
        let mut fetched = ShareFetched {
            partition: id,
            error: ErrorCode::None,
            acquired: Vec::new(),
            records: Bytes::new(),
            seen: Seen { log_end: None, news: 0, turned_away: None },
        };
        match self.share_slot(&wanted.group, &wanted.member, wanted.session, id) {
            Ok(slot) => {
                let open = slot.with(|partition| partition.can_acquire()) == Some(true);
                let log_end = self.store.existing(id).map(|log| log.durable_end());
                let news = slot.news.get();
                fetched.seen = Seen { log_end: log_end.filter(|_| open), news, turned_away: None };
            }
            Err(error) => fetched.error = error,
        }
        fetched
    }

    /// Reads the log where there may be something for a member; with what was read, how many of its records nobody has had.
    async fn share_read(
        self: &Rc<Self>,
        wanted: &ShareFetch,
        id: TopicPartition,
        limits: Limits,
        seen: &mut Seen,
    ) -> Result<Option<(Read, u32)>, ErrorCode> {
        let Some(slot) = self.existing_share(&wanted.group, id) else { return Ok(None) };
        let log = self.loaded(id).await.map_err(|fault| fault.code)?;
        let from = slot.with(|partition| {
            if log.log_start() > partition.start() {
                partition.log_start_moved(log.log_start());
            }
            partition
                .can_acquire()
                .then(|| (partition.next_fetch_offset(), partition.end(), partition.room()))
        });
        let Some((from, end, free)) = from.flatten().filter(|(from, ..)| *from < log.durable_end()) else {
            return Ok(None);
        };
        if slot.reading.replace(true) {
            let least = slot.turned_away.get().map_or(wanted.bytes_min, |least| least.min(wanted.bytes_min));
            slot.turned_away.set(Some(least));
            seen.turned_away = Some(slot.reads.get());
            return Ok(None);
        }
        let mut read = Read { slot, from, found: Vec::new() };
        // Where records came back, any part of what is read may be somebody else's.
        let all_new = from >= end;
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        let Limits { room, always_one, .. } = limits;
        let wanted_new = limits.records.min(free).max(1);
        let (mut at, mut bytes, mut new) = (from, 0, 0);
        let mut factor = 1_u32;
        let error = loop {
            let bytes_missing = limits.bytes.saturating_sub(bytes);
            let wants = read.slot.sizes.get().bytes_of(wanted_new.saturating_sub(new), bytes_missing);
            let left = room - bytes;
            let wants = if all_new { wants.saturating_mul(factor).min(left) } else { left };
            let fetch = one_partition(id, at, wants, always_one && bytes == 0);
            let (mut fetched, _) = self.collect(&fetch).await;
            let found = match fetched.pop() {
                Some(Fetched { error: ErrorCode::None, records, .. }) => batches(records),
                // Whoever reads there next is told.
                _ if !read.found.is_empty() => return Ok(Some((read, new))),
                Some(failed) => break failed.error,
                None => break ErrorCode::UnknownServerError,
            };
            let Some((sizes, next)) =
                Sizes::of(&found).zip(found.last().map(|found| found.batch.last.next()))
            else {
                // The next batch is larger than those before.
                if wants < left {
                    factor = factor.saturating_mul(2);
                    continue;
                }
                return Ok(Some((read, new)));
            };
            read.slot.sizes.set(sizes);
            bytes = found.iter().fold(bytes, |sum, found| {
                sum.saturating_add(u32::try_from(found.bytes.bytes().len()).unwrap_or(u32::MAX))
            });
            read.found.extend(found);
            at = next;
            if all_new {
                new = u32::try_from(from.0.abs_diff(at.0)).unwrap_or(u32::MAX).min(free);
            }
            // Records that are larger than those before, or some of the first batch that are not wanted: then there is more.
            let enough = (!all_new || new >= wanted_new) && bytes >= limits.bytes;
            if enough || bytes >= room || at >= log.durable_end() {
                return Ok(Some((read, new)));
            }
        };
        if error == ErrorCode::OffsetOutOfRange {
            // The log's start moved while it was read: what there is now may be for this member.
            read.slot.with(|partition| partition.log_start_moved(log.log_start()));
            self.share_news(&read.slot);
        }
        self.share_read_over(read, 0);
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
        let log: Vec<LogBatch> = read.found.iter().map(|found| found.batch).collect();
        // Its session may have ended while the log was read: nobody would give back what it gets now.
        if !self.is_share_member(&wanted.group, &wanted.member, wanted.session) {
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
        let given = read.found.iter().filter(|found| acquired.iter().any(|one| meets(one, found.batch)));
        let given: Vec<&[u8]> = given.map(|found| found.bytes.bytes()).collect();
        let records = Bytes::from(given.concat());
        (told.acquired, told.records) = (acquired, records);
        self.time_shares();
    }

    /// Waits until one of the share partitions is not as it was seen, or the time is over, or it is cancelled.
    pub(crate) async fn share_await(self: &Rc<Self>, token: u64, wait: ShareAwait) {
        let deadline = self.tick().after_ms(u64::from(wait.wait_ms));
        // Where no more may be handed out, what is written to the log changes nothing.
        let grows = wait.partitions.iter().any(|(_, seen)| seen.log_end.is_some());
        let missing = if grows { 1 } else { u64::MAX };
        loop {
            let changed =
                wait.partitions.iter().any(|(id, seen)| self.share_changed(&wait.group, *id, *seen));
            if changed || self.stopping.get() || self.tick() >= deadline {
                break;
            }
            let ids = wait.partitions.iter().map(|(id, _)| *id).collect();
            let ticket = self.fetches.borrow_mut().park(deadline, missing, ids);
            self.awaits.borrow_mut().insert(token, Some(ticket));
            self.released(ticket).await;
            // Or it was cancelled.
            if self.awaits.borrow_mut().remove(&token).is_none() {
                break;
            }
        }
    }

    /// Whether there may be something now that there was not when it was seen like this.
    fn share_changed(&self, group: &str, id: TopicPartition, seen: Seen) -> bool {
        let slot = self.existing_share(group, id);
        let (news, reads) = slot.map_or((0, 0), |slot| (slot.news.get(), slot.reads.get()));
        let end = self.store.existing(id).map(|log| log.durable_end());
        let grew = seen.log_end.is_some_and(|seen| end.is_some_and(|end| end > seen));
        grew || news != seen.news || seen.turned_away.is_some_and(|seen| seen != reads)
    }
}

/// A read of one partition that waits for nothing.
fn one_partition(id: TopicPartition, offset: Offset, bytes_max: u32, always_one: bool) -> Fetch {
    let partition = FetchPartition {
        partition: id,
        offset,
        bytes_max,
        current_leader_epoch: LeaderEpoch::NONE,
        last_fetched_epoch: LeaderEpoch::NONE,
    };
    Fetch {
        partitions: vec![partition],
        bytes_min: 0,
        bytes_max,
        wait_ms: 0,
        read_committed: false,
        always_one,
        paid: true,
        token: None,
    }
}

/// Whether records of a batch of the log are among those acquired.
fn meets(one: &Acquired, batch: LogBatch) -> bool {
    one.first <= batch.last && batch.first <= one.last
}
