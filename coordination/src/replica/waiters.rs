//! Who waits on a core: producers for an offset to be safe, fetches for bytes or time. Pure book-keeping; the driver
//! calls it once per commit, and each waiter is let go exactly once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Offset, Tick, TopicPartition};

/// Answers of one partition that wait until everything below an offset is safe.
#[derive(Debug)]
pub struct AckWaiters<T> {
    /// By (end offset, order of arrival).
    parked: BTreeMap<(Offset, u64), T>,
    arrivals: u64,
}

impl<T> Default for AckWaiters<T> {
    fn default() -> Self {
        Self { parked: BTreeMap::new(), arrivals: 0 }
    }
}

impl<T> AckWaiters<T> {
    /// Parks an answer until the high watermark is at least `end`.
    pub fn park(&mut self, end: Offset, answer: T) {
        self.parked.insert((end, self.arrivals), answer);
        self.arrivals += 1;
    }

    /// Takes the answers that `high_watermark` lets go, by offset, then by arrival.
    pub fn release(&mut self, high_watermark: Offset) -> impl Iterator<Item = T> + use<T> {
        let later = self.parked.split_off(&(high_watermark.next(), 0));
        std::mem::replace(&mut self.parked, later).into_values()
    }

    /// Takes all answers: the partition is gone.
    pub fn abandon(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.parked).into_values()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }
}

/// One parked fetch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchTicket(u64);

#[derive(Debug)]
struct ParkedFetch {
    deadline: Tick,
    bytes_missing: u64,
    partitions: Vec<TopicPartition>,
}

/// Fetches of one core that wait for bytes of some of its partitions, or for time.
#[derive(Default, Debug)]
pub struct FetchWaiters {
    parked: HashMap<FetchTicket, ParkedFetch>,
    by_partition: HashMap<TopicPartition, BTreeSet<FetchTicket>>,
    by_deadline: BTreeSet<(Tick, FetchTicket)>,
    /// Let go and not yet taken.
    ready: Vec<FetchTicket>,
    next: u64,
}

impl FetchWaiters {
    /// Parks a fetch that still misses `bytes_missing` bytes, until they arrive in `partitions` or until `deadline`.
    pub fn park(
        &mut self,
        deadline: Tick,
        bytes_missing: u64,
        mut partitions: Vec<TopicPartition>,
    ) -> FetchTicket {
        let ticket = FetchTicket(self.next);
        self.next += 1;
        partitions.sort_unstable();
        partitions.dedup();
        for partition in &partitions {
            self.by_partition.entry(*partition).or_default().insert(ticket);
        }
        self.by_deadline.insert((deadline, ticket));
        self.parked.insert(ticket, ParkedFetch { deadline, bytes_missing, partitions });
        ticket
    }

    /// `bytes` more may be read of a partition.
    pub fn grew(&mut self, partition: TopicPartition, bytes: u64) {
        let Some(tickets) = self.by_partition.get(&partition) else { return };
        for ticket in tickets.iter().copied().collect::<Vec<_>>() {
            if let Some(fetch) = self.parked.get_mut(&ticket) {
                fetch.bytes_missing = fetch.bytes_missing.saturating_sub(bytes);
                if fetch.bytes_missing == 0 {
                    self.let_go(ticket);
                }
            }
        }
    }

    /// Something happened to a partition that its readers must hear now: a new epoch, a new start, its deletion.
    pub fn disturbed(&mut self, partition: TopicPartition) {
        for ticket in self.by_partition.get(&partition).into_iter().flatten().copied().collect::<Vec<_>>() {
            self.let_go(ticket);
        }
    }

    /// Lets go whose time is over.
    pub fn tick(&mut self, now: Tick) {
        while let Some(&(deadline, ticket)) = self.by_deadline.first()
            && deadline <= now
        {
            self.let_go(ticket);
        }
    }

    /// When the next one's time is over.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The client is gone.
    pub fn cancel(&mut self, ticket: FetchTicket) {
        self.forget(ticket);
        self.ready.retain(|ready| *ready != ticket);
    }

    /// Takes the fetches that were let go, each once, in the order of their release.
    pub fn take_ready(&mut self) -> Vec<FetchTicket> {
        std::mem::take(&mut self.ready)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parked.is_empty()
    }

    fn let_go(&mut self, ticket: FetchTicket) {
        if self.forget(ticket) {
            self.ready.push(ticket);
        }
    }

    fn forget(&mut self, ticket: FetchTicket) -> bool {
        let Some(fetch) = self.parked.remove(&ticket) else { return false };
        self.by_deadline.remove(&(fetch.deadline, ticket));
        for partition in fetch.partitions {
            if let Some(tickets) = self.by_partition.get_mut(&partition) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.by_partition.remove(&partition);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TopicId;

    fn partition(partition: u32) -> TopicPartition {
        TopicPartition { topic: TopicId([1; 16]), partition }
    }

    #[test]
    fn acks_leave_by_offset_then_arrival() {
        let mut waiters = AckWaiters::default();
        for (end, name) in [(10, "a"), (20, "b"), (10, "c"), (30, "d")] {
            waiters.park(Offset(end), name);
        }
        assert_eq!(waiters.release(Offset(9)).count(), 0);
        assert_eq!(waiters.release(Offset(20)).collect::<Vec<_>>(), ["a", "c", "b"]);
        assert_eq!(waiters.len(), 1);
        assert_eq!(waiters.abandon().collect::<Vec<_>>(), ["d"]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_fetch_leaves_once_when_the_sum_suffices() {
        let mut waiters = FetchWaiters::default();
        let ticket = waiters.park(Tick(100), 50, vec![partition(0), partition(1), partition(0)]);
        waiters.grew(partition(0), 20);
        waiters.grew(partition(2), 500);
        assert!(waiters.take_ready().is_empty());
        waiters.grew(partition(1), 30);
        waiters.grew(partition(1), 30);
        waiters.tick(Tick(100));
        assert_eq!(waiters.take_ready(), [ticket]);
        assert!(waiters.is_empty() && waiters.by_partition.is_empty() && waiters.by_deadline.is_empty());
    }

    #[test]
    fn time_disturbance_and_cancellation_end_waiting() {
        let mut waiters = FetchWaiters::default();
        let late = waiters.park(Tick(200), 1, vec![partition(0)]);
        let early = waiters.park(Tick(100), 1, vec![partition(0)]);
        assert_eq!(waiters.next_deadline(), Some(Tick(100)));
        waiters.tick(Tick(150));
        assert_eq!(waiters.take_ready(), [early]);
        waiters.disturbed(partition(0));
        assert_eq!(waiters.take_ready(), [late]);
        let gone = waiters.park(Tick(300), 1, vec![partition(0)]);
        waiters.grew(partition(0), 5);
        waiters.cancel(gone);
        assert!(waiters.take_ready().is_empty());
    }
}
