//! One partition of one share group: which records are in flight, and what has to be written of them.
//!
//! What is acquired is not written: after a start it is available, and its delivery does not count. Everything else
//! is told as a [`StateWrite`], and a record is not free for others, nor finished, before that is durable. Only a
//! lock that ran out frees its records at once, as in Kafka: should the write fail, a start may count one delivery less.

use std::collections::BTreeMap;

use model::{ErrorCode, LeaderEpoch, Offset, Tick};

use super::limits::{LOCK_BYTES, PARTITION_BYTES, RECORD_BYTES, RECORDS_WHEN_SHORT, RUN_BYTES};
use super::locks::Locks;
use super::settings::ShareSettings;
use super::state::{DeliveryState, PartitionState, StateBatch};
use super::window::{Cell, Kind, Run, Window};

/// Locks that one step looks at when they are due; what is left is due at once.
const LOCKS_PER_STEP: usize = 256;

/// What is to be written to `__share_group_state`, in the order of ids; then comes [`SharePartition::landed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateWrite {
    /// Rises by one from write to write.
    pub id: u64,
    /// See [`PartitionState::state_epoch`].
    pub state_epoch: i32,
    /// Of the leader that this is.
    pub leader_epoch: LeaderEpoch,
    /// Everything before is finished.
    pub start: Offset,
    /// Records from `start` on that are finished when this is written (KIP-1226).
    pub delivery_complete_count: i32,
    /// What became of records, ascending.
    pub batches: Vec<StateBatch>,
}

/// Records whose next state is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    first: Offset,
    end: Offset,
    kind: Kind,
    count: u16,
}

/// The records of a partition that are in flight in a share group.
#[derive(Debug)]
pub struct SharePartition {
    pub(super) settings: ShareSettings,
    pub(super) window: Window,
    pub(super) locks: Locks,
    /// Not known to be durable.
    writes: BTreeMap<u64, Vec<Piece>>,
    next_write: u64,
    /// Records in the window that are finished, or will be when their write is durable.
    complete: u64,
    /// No record before it is available.
    available_from: Offset,
    /// Where it began when it was opened: what came before of a batch is not known any more.
    pub(super) opened_at: Offset,
    /// Memory is short where it lives.
    short: bool,
    state_epoch: i32,
    leader_epoch: LeaderEpoch,
}

impl SharePartition {
    /// As it was left in `state`, for the leader of `leader_epoch`. `start` is where the group begins or goes on:
    /// the state's own, or what [`super::reset`] says.
    #[must_use]
    pub fn new(
        settings: ShareSettings,
        leader_epoch: LeaderEpoch,
        state: &PartitionState,
        start: Offset,
    ) -> Self {
        let mut window = Window::new(start);
        let mut complete = 0;
        for batch in super::state::combine(&state.batches, &[], start) {
            if batch.first > window.end() {
                // Handed out before the last start, and nobody said what became of it.
                window.push(batch.first, Cell::free(Kind::Available, 0));
            }
            let kind = match batch.state {
                DeliveryState::Available => Kind::Available,
                DeliveryState::Acknowledged => Kind::Acknowledged,
                DeliveryState::Archived => Kind::Archived,
            };
            let end = batch.last.next();
            if kind.finished() {
                complete += end.0.abs_diff(batch.first.0);
            }
            window.push(end, Cell::free(kind, batch.delivery_count));
        }
        let mut partition = Self {
            settings,
            window,
            opened_at: start,
            locks: Locks::default(),
            writes: BTreeMap::new(),
            next_write: 0,
            complete,
            available_from: start,
            short: false,
            state_epoch: state.state_epoch,
            leader_epoch,
        };
        partition.advance();
        partition
    }

    /// Takes other settings, from the next decision on. Locks keep their time.
    pub const fn set_settings(&mut self, settings: ShareSettings) {
        self.settings = settings;
    }

    /// Whether memory is short: then few new records come into flight, and no more of a batch than were asked for.
    pub const fn set_short(&mut self, short: bool) {
        self.short = short;
    }

    pub(super) const fn is_short(&self) -> bool {
        self.short
    }

    /// Memory it is counted with: what it takes, or a part of what it may come to take with the records that it has.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let taken = count(self.runs()).saturating_mul(RUN_BYTES) + count(self.locks()) * LOCK_BYTES;
        let unfinished = self.in_flight().saturating_sub(self.complete);
        PARTITION_BYTES + taken.max(unfinished.saturating_mul(RECORD_BYTES))
    }

    /// Everything before this offset is finished.
    #[must_use]
    pub const fn start(&self) -> Offset {
        self.window.start()
    }

    /// The first offset that was never handed out.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.window.end()
    }

    /// Records in flight: from the start to the end, finished ones among them.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.window.records()
    }

    /// Runs of equal state: memory is some 40 bytes for each.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.window.runs_len()
    }

    /// Locks that are held: one for each member and moment at which what it has is free again.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.locks.len()
    }

    /// See [`StateWrite::delivery_complete_count`].
    #[must_use]
    pub const fn delivery_complete_count(&self) -> u64 {
        self.complete
    }

    /// Writes that are not known to be durable.
    #[must_use]
    pub fn writes_in_flight(&self) -> usize {
        self.writes.len()
    }

    /// Where the log is to be read for the next member: the first record that anybody may have, else the end.
    pub fn next_fetch_offset(&mut self) -> Offset {
        let available = self
            .window
            .runs(self.available_from, self.end())
            .find(|run| run.cell.kind == Kind::Available)
            .map_or(self.end(), |run| run.first);
        self.available_from = available;
        available
    }

    /// Whether reading the log can bring a member anything: there is a record to hand out again, or room for new ones.
    pub fn can_acquire(&mut self) -> bool {
        self.next_fetch_offset() < self.end() || self.room() > 0
    }

    /// New records that may come into flight.
    #[must_use]
    pub fn room(&self) -> u64 {
        let most = self.settings.record_locks_max;
        let most = if self.short { most.min(RECORDS_WHEN_SHORT) } else { most };
        u64::from(most).saturating_sub(self.in_flight())
    }

    /// When [`expire`](Self::expire) is wanted; in the past when the last one left something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.locks.next_deadline()
    }

    /// Frees what is locked no longer. The write is only told, nothing waits for it.
    pub fn expire(&mut self, now: Tick) -> Option<StateWrite> {
        let mut batches = Vec::new();
        for _ in 0..LOCKS_PER_STEP {
            let Some(id) = self.locks.pop_due(now) else { break };
            for run in self.runs_of(id) {
                let kind = self.given_back(run.cell.count);
                self.locks.unlock(id, run.records());
                self.become_free(run, kind, run.cell.count);
                if kind.finished() {
                    self.complete += run.records();
                }
                add(&mut batches, run, kind, run.cell.count);
            }
        }
        if batches.is_empty() {
            return None;
        }
        batches.sort_unstable_by_key(|batch: &StateBatch| batch.first);
        let write = self.write(batches, Vec::new());
        self.advance();
        Some(write)
    }

    /// Gives back what a member holds: its session is over. That it was delivered counts.
    pub fn release(&mut self, member: &str) -> Option<StateWrite> {
        let mut batches = Vec::new();
        let mut pieces = Vec::new();
        for id in self.locks.of(member) {
            for run in self.runs_of(id) {
                let kind = self.given_back(run.cell.count);
                self.settle(run, kind, run.cell.count, &mut batches, &mut pieces);
            }
        }
        if pieces.is_empty() {
            return None;
        }
        batches.sort_unstable_by_key(|batch: &StateBatch| batch.first);
        Some(self.write(batches, pieces))
    }

    /// The log begins at `log_start` now: what is before it is finished, whoever holds it. The next write tells.
    pub fn log_start_moved(&mut self, log_start: Offset) {
        let dropped: Vec<Run> = self.window.runs(self.start(), log_start).collect();
        for run in dropped {
            self.locks.unlock(run.cell.lock, run.records());
            if run.cell.kind.finished() || matches!(run.cell.kind, Kind::Accepting | Kind::Archiving) {
                self.complete -= run.records();
            }
        }
        self.window.trim(log_start);
        self.advance();
    }

    /// The write with this id is durable, or it failed: then its records are their member's again, as long as the lock
    /// lasts. A state or leader epoch that is fenced means that this is not the leader any more, see [`refused`].
    pub fn landed(&mut self, id: u64, result: Result<(), ErrorCode>) {
        let Some(pieces) = self.writes.remove(&id) else { return };
        for piece in pieces {
            // What is before the start by now was dropped.
            let runs: Vec<Run> = self.window.runs(piece.first, piece.end).collect();
            for run in runs {
                if result.is_ok() {
                    self.locks.unlock(run.cell.lock, run.records());
                    self.become_free(run, piece.kind, piece.count);
                    continue;
                }
                if piece.kind.finished() {
                    self.complete -= run.records();
                }
                self.window.set(run.first, run.end, Cell { kind: Kind::Acquired, ..run.cell });
                self.locks.look_again(run.cell.lock);
            }
        }
        self.advance();
    }

    /// What becomes of a record that comes back after so many deliveries.
    pub(super) const fn given_back(&self, count: u16) -> Kind {
        if count >= self.settings.delivery_count_limit { Kind::Archived } else { Kind::Available }
    }

    /// Makes records nobody's.
    pub(super) fn become_free(&mut self, run: Run, kind: Kind, count: u16) {
        self.window.set(run.first, run.end, Cell::free(kind, count));
        if kind == Kind::Available {
            self.available_from = self.available_from.min(run.first);
        }
    }

    /// Has written what becomes of records that somebody holds.
    pub(super) fn settle(
        &mut self,
        run: Run,
        kind: Kind,
        count: u16,
        batches: &mut Vec<StateBatch>,
        pieces: &mut Vec<Piece>,
    ) {
        let becoming = match kind {
            Kind::Acknowledged => Kind::Accepting,
            Kind::Archived => Kind::Archiving,
            _ => Kind::Releasing,
        };
        self.window.set(run.first, run.end, Cell { kind: becoming, ..run.cell });
        if kind.finished() {
            self.complete += run.records();
        }
        pieces.push(Piece { first: run.first, end: run.end, kind, count });
        add(batches, run, kind, count);
    }

    /// The next write: of `batches`, after which `pieces` are what they become.
    pub(super) fn write(&mut self, batches: Vec<StateBatch>, pieces: Vec<Piece>) -> StateWrite {
        let id = self.next_write;
        self.next_write += 1;
        self.writes.insert(id, pieces);
        StateWrite {
            id,
            state_epoch: self.state_epoch,
            leader_epoch: self.leader_epoch,
            start: self.start(),
            delivery_complete_count: i32::try_from(self.complete).unwrap_or(i32::MAX),
            batches,
        }
    }

    /// Counts records as finished that are not in flight for anybody.
    pub(super) const fn count_complete(&mut self, records: u64) {
        self.complete += records;
    }

    /// Moves the start over what is finished.
    pub(super) fn advance(&mut self) {
        let first = self.window.runs(self.start(), self.end()).find(|run| !run.cell.kind.finished());
        let to = first.map_or(self.end(), |run| run.first);
        self.complete -= to.0.abs_diff(self.start().0);
        self.window.trim(to);
        self.available_from = self.available_from.max(to);
    }

    /// What a lock still holds and nothing is written of.
    fn runs_of(&self, id: u32) -> Vec<Run> {
        let Some(lock) = self.locks.get(id) else { return Vec::new() };
        let runs = self.window.runs(lock.first, lock.end);
        runs.filter(|run| run.cell.lock == id && run.cell.kind == Kind::Acquired).collect()
    }
}

/// Adds what becomes of records to a write; to its last batch, when it goes on there.
fn add(batches: &mut Vec<StateBatch>, run: Run, kind: Kind, delivery_count: u16) {
    let state = match kind {
        Kind::Acknowledged => DeliveryState::Acknowledged,
        Kind::Archived => DeliveryState::Archived,
        _ => DeliveryState::Available,
    };
    let last = Offset(run.end.0 - 1);
    match batches.last_mut() {
        Some(before)
            if before.last.next() == run.first
                && (before.state, before.delivery_count) == (state, delivery_count) =>
        {
            before.last = last;
        }
        _ => batches.push(StateBatch { first: run.first, last, state, delivery_count }),
    }
}

/// What a member is told of a write that the coordinator of the state refused with `error`, as in Kafka.
#[must_use]
pub const fn refused(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition => error,
        // Somebody else leads it, or it was begun anew: its state here is worth nothing.
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::UnknownServerError,
    }
}
