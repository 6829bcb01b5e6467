//! Fetches: what is there goes at once; what is missing is waited for, once per commit and waiter at most.

mod borrow;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coordination::replica::waiters::FetchTicket;
use futures_lite::future::BoxedLocal;
use model::limits::RESPONSE_PINNED_BYTES;
use model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use storage::disk::Disk;
use storage::{Piece, ReadLimits};

use crate::answers::Answer;
use crate::counters::Counted;
use crate::lending::Loan;
use crate::ops::{Await, Fetch, FetchPartition, Fetched};
use crate::shard::{Fault, PartitionLog, Shard, fault};
use borrow::Purse;

/// How often waiting fetches are looked through for those whose time is over.
const TIMER: Duration = Duration::from_millis(5);

impl<D: Disk> Shard<D> {
    /// Reads what a fetch asks of this core; waits for more when there is less than it wants. The loan, when there are records
    /// and they are not paid for already, is for as long as the answer lives.
    pub async fn fetch(self: &Rc<Self>, fetch: Fetch) -> (Vec<Fetched<Piece>>, Option<Loan>) {
        let deadline = self.tick().after_ms(u64::from(fetch.wait_ms));
        let name = Name::new(self, fetch.token);
        loop {
            let ends = self.ends(&fetch);
            let (fetched, loan) = self.collect(&fetch).await;
            let bytes: usize = fetched.iter().map(records_bytes).sum();
            let news = fetched.iter().any(|one| !one.error.is_ok() || one.diverging.is_some());
            let missing = u64::from(fetch.bytes_min).saturating_sub(bytes as u64);
            let now = self.tick();
            if missing == 0 || news || now >= deadline || self.stopping.get() {
                self.counters.add(Counted::FetchBytes, bytes as u64);
                return (fetched, loan);
            }
            // What is collected again later holds no memory until then.
            drop((fetched, loan));
            // Bytes that came while this was collecting are not waited for.
            if self.ends(&fetch) == ends && name.is_known() {
                let ids = fetch.partitions.iter().map(|one| one.partition).collect();
                let ticket = self.fetches.borrow_mut().park(deadline, missing, ids);
                name.waits(Some(ticket));
                self.released(ticket).await;
            }
            if !name.is_known() {
                return (Vec::new(), None); // Nobody hears it.
            }
            name.waits(None);
        }
    }

    /// The same for a connection of this core, which may go at any moment: what has begun is finished without it, so that no
    /// log stays half loaded and no file half open. A wait for more is cancelled by its name.
    pub fn fetch_apart(self: &Rc<Self>, fetch: Fetch) -> BoxedLocal<(Vec<Fetched<Piece>>, Option<Loan>)> {
        let shard = Rc::clone(self);
        let mut fetching: BoxedLocal<_> = Box::pin(async move { shard.fetch(fetch).await });
        // Whoever runs the rest polls it at once, and leaves its own waker then.
        if let Poll::Ready(fetched) = fetching.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Box::pin(std::future::ready(fetched));
        }
        let (deliver, answer) = Answer::later();
        self.disk.spawn(async move { deliver.put(fetching.await) });
        Box::pin(answer)
    }

    fn ends(&self, fetch: &Fetch) -> Vec<Option<Offset>> {
        let end = |one: &FetchPartition| self.store.existing(one.partition).map(|log| log.durable_end());
        fetch.partitions.iter().map(end).collect()
    }

    pub(crate) async fn collect(self: &Rc<Self>, fetch: &Fetch) -> (Vec<Fetched<Piece>>, Option<Loan>) {
        // One answer pins at most this much, or one batch that is larger: the client comes back for the rest.
        let most = (fetch.bytes_max as usize).min(RESPONSE_PINNED_BYTES);
        let mut room = most;
        let mut fetched = Vec::with_capacity(fetch.partitions.len());
        let mut first = fetch.always_one;
        let mut purse = if fetch.paid { Purse::Paid } else { Purse::Empty };
        for wanted in &fetch.partitions {
            let share = Share {
                room: if first { room.max(1) } else { room },
                first,
                // Segments are read by the mebibyte, and several consumers would read the same again: not to fill up an answer.
                cold: first || room > most / 2,
            };
            let one = self.fetch_one(wanted, share, &mut purse).await;
            let bytes = records_bytes(&one);
            room = room.saturating_sub(bytes);
            first = first && bytes == 0;
            fetched.push(one);
        }
        let bytes: usize = fetched.iter().map(records_bytes).sum();
        let Purse::Lent(mut loan) = purse else { return (fetched, None) };
        loan.settle(bytes as u64);
        // It was lent for more than that, and somebody may wait for the rest.
        self.lend_again();
        (fetched, (bytes > 0).then_some(loan))
    }

    async fn fetch_one(
        self: &Rc<Self>,
        wanted: &FetchPartition,
        share: Share,
        purse: &mut Purse,
    ) -> Fetched<Piece> {
        match self.try_fetch(wanted, share, purse).await {
            Ok(fetched) => fetched,
            Err(fault) => {
                self.counters.count(Counted::FetchErrors);
                Fetched {
                    partition: wanted.partition,
                    error: fault.code,
                    high_watermark: Offset::NONE,
                    last_stable: Offset::NONE,
                    log_start: Offset::NONE,
                    leader_epoch: self.image().leader_epoch(),
                    diverging: None,
                    records: Vec::new(),
                }
            }
        }
    }

    async fn try_fetch(
        self: &Rc<Self>,
        wanted: &FetchPartition,
        Share { room, first, cold }: Share,
        purse: &mut Purse,
    ) -> Result<Fetched<Piece>, Fault> {
        let id = wanted.partition;
        let log = self.loaded(id).await?;
        let leader = self.leader(&log);
        let told = |code: ErrorCode| Fault { code, message: String::new() };
        leader.check_epoch(wanted.current_leader_epoch).map_err(told)?;
        let high_watermark = leader.high_watermark();
        let mut fetched = Fetched {
            partition: id,
            error: ErrorCode::None,
            high_watermark,
            last_stable: high_watermark, // No transactions yet: nothing is undecided.
            log_start: leader.log_start(),
            leader_epoch: leader.epoch(),
            diverging: None,
            records: Vec::new(),
        };
        if wanted.last_fetched_epoch != LeaderEpoch::NONE {
            fetched.diverging = diverging(&log, leader.epoch(), wanted).map_err(told)?;
            if fetched.diverging.is_some() {
                return Ok(fetched);
            }
        }
        leader.check_offset(wanted.offset).map_err(told)?;
        let mut bytes_max = (wanted.bytes_max as usize).min(room);
        if first {
            // Whatever the limit of a partition: the first batch of an answer is given.
            bytes_max = bytes_max.max(1);
        }
        if bytes_max == 0 || wanted.offset >= high_watermark {
            return Ok(fetched);
        }
        if matches!(purse, Purse::Empty) {
            // For all partitions at once: waiting for more while holding some could be for ever.
            *purse = Purse::Lent(self.borrow_memory(self.most_at_once(id, room)).await);
        }
        // Only the first batch of an answer may be larger than what was asked for.
        let limits = ReadLimits { bytes_max, before: high_watermark, always_one: first, cold };
        fetched.records =
            self.store.read(&log, wanted.offset, limits).await.map_err(|error| fault(id, &error))?;
        Ok(fetched)
    }

    /// Waits until a parked fetch is let go.
    pub(crate) async fn released(self: &Rc<Self>, ticket: FetchTicket) {
        let guard = Parked { shard: Rc::clone(self), ticket };
        poll_fn(|context| {
            if self.ready_tickets.borrow_mut().remove(&ticket) {
                return Poll::Ready(());
            }
            self.fetch_wakers.borrow_mut().insert(ticket, context.waker().clone());
            Poll::Pending
        })
        .await;
        drop(guard);
    }

    /// Waits until these partitions got as many bytes in all since, or the time is over, or it is cancelled.
    pub async fn await_bytes(self: &Rc<Self>, token: u64, wait: Await) {
        let moved = wait
            .partitions
            .iter()
            .any(|(id, seen)| self.store.existing(*id).is_some_and(|log| log.durable_end() > *seen));
        if moved || self.stopping.get() {
            return;
        }
        let deadline = self.tick().after_ms(u64::from(wait.wait_ms));
        let ids = wait.partitions.into_iter().map(|(id, _)| id).collect();
        let ticket = self.fetches.borrow_mut().park(deadline, wait.bytes_missing.max(1), ids);
        self.awaits.borrow_mut().insert(token, Some(ticket));
        self.released(ticket).await;
        self.awaits.borrow_mut().remove(&token);
    }

    /// Fetches and the like that wait here.
    pub fn waiting_fetches(&self) -> usize {
        self.fetches.borrow().len()
    }

    /// The one who waited got what it needs elsewhere, or is gone.
    pub(crate) fn cancel_await(&self, token: u64) {
        let known = self.awaits.borrow_mut().remove(&token);
        if let Some(Some(ticket)) = known {
            self.fetches.borrow_mut().cancel(ticket);
            self.wake(ticket);
        }
    }

    /// These logs have more durable records.
    pub(crate) fn grew(&self, logs: &[PartitionLog<D>]) {
        if self.fetches.borrow().is_empty() {
            return;
        }
        for log in logs {
            let total = log.durable_bytes();
            let before = self.seen_bytes.borrow_mut().insert(log.id, total).unwrap_or(0);
            self.fetches.borrow_mut().grew(log.id, total.saturating_sub(before).max(1));
        }
        self.let_go();
    }

    /// Something about this partition its readers must hear.
    pub(crate) fn disturb(&self, id: TopicPartition) {
        self.fetches.borrow_mut().disturbed(id);
        self.let_go();
    }

    fn let_go(&self) {
        let ready = self.fetches.borrow_mut().take_ready();
        ready.into_iter().for_each(|ticket| self.wake(ticket));
    }

    fn wake(&self, ticket: FetchTicket) {
        self.ready_tickets.borrow_mut().insert(ticket);
        let waker = self.fetch_wakers.borrow_mut().remove(&ticket);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn start_fetch_timer(self: Rc<Self>) {
        let disk = self.disk.clone();
        disk.clone().spawn(async move {
            while !self.stopping.get() {
                let now = self.tick();
                self.fetches.borrow_mut().tick(now);
                self.let_go();
                self.lender().set_pinned(self.store.pinned_bytes());
                self.lend_again();
                disk.sleep(TIMER).await;
            }
            self.lend_again();
            self.fetches.borrow_mut().tick(model::Tick(u64::MAX));
            self.let_go();
        });
    }
}

/// What one partition may have of an answer.
#[derive(Clone, Copy)]
struct Share {
    /// Bytes.
    room: usize,
    /// Nothing is in it yet: one batch is given, however large.
    first: bool,
    /// See [`ReadLimits::cold`].
    cold: bool,
}

/// The name of a fetch that can be cancelled, until it ends.
struct Name<D: Disk> {
    shard: Rc<Shard<D>>,
    token: Option<u64>,
}

impl<D: Disk> Name<D> {
    fn new(shard: &Rc<Shard<D>>, token: Option<u64>) -> Self {
        let name = Self { shard: Rc::clone(shard), token };
        name.waits(None);
        name
    }

    fn waits(&self, ticket: Option<FetchTicket>) {
        if let Some(token) = self.token {
            self.shard.awaits.borrow_mut().insert(token, ticket);
        }
    }

    /// Whether it was not cancelled.
    fn is_known(&self) -> bool {
        self.token.is_none_or(|token| self.shard.awaits.borrow().contains_key(&token))
    }
}

impl<D: Disk> Drop for Name<D> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.shard.awaits.borrow_mut().remove(&token);
        }
    }
}

/// A waiting fetch; nobody waits any more when it is dropped.
struct Parked<D: Disk> {
    shard: Rc<Shard<D>>,
    ticket: FetchTicket,
}

impl<D: Disk> Drop for Parked<D> {
    fn drop(&mut self) {
        self.shard.fetches.borrow_mut().cancel(self.ticket);
        self.shard.ready_tickets.borrow_mut().remove(&self.ticket);
        self.shard.fetch_wakers.borrow_mut().remove(&self.ticket);
    }
}

/// KIP-595: where the log a client has read from leaves this one.
fn diverging<D: Disk>(
    log: &PartitionLog<D>,
    leader: LeaderEpoch,
    wanted: &FetchPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let end = log.durable_end();
    let found = log.with_derived(|state| state.epochs.end_offset_led(wanted.last_fetched_epoch, leader, end));
    let (epoch, end) = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if epoch == LeaderEpoch::NONE {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok((epoch < wanted.last_fetched_epoch || end < wanted.offset).then_some((epoch, end)))
}

fn records_bytes(fetched: &Fetched<Piece>) -> usize {
    fetched.records.iter().map(|piece| piece.bytes().len()).sum()
}

/// The same with its records copied, for another core.
pub(crate) fn copied(fetched: Fetched<Piece>) -> Fetched<Bytes> {
    let mut all = BytesMut::with_capacity(records_bytes(&fetched));
    for piece in &fetched.records {
        all.extend_from_slice(piece.bytes());
    }
    let records = if all.is_empty() { Vec::new() } else { vec![all.freeze()] };
    Fetched { records, ..fetched.map_records(|_| Bytes::new()) }
}
