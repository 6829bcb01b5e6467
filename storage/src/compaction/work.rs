//! What a pass does with batches that were read, on the helper thread: a step at a time, no faster than it may, and never on when the log is
//! another one.

use futures_lite::future::zip;

use super::filter::Filter;
use super::learn::Learner;
use super::output::Output;
use super::plan::Plan;
use super::source::{Batches, Source};
use super::{CompactionLimits, Stop};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::log::{Log, Phase};
use crate::store::{LogRef, Store};

/// How much a pass may read and write, and since when it does.
pub(super) struct Pace {
    begun_ns: u64,
    bytes: u64,
    bytes_per_second: u64,
    pub limits: CompactionLimits,
}

impl Pace {
    /// Nothing was read yet, at this speed.
    pub const fn begin(now_ns: u64, bytes_per_second: u64, limits: CompactionLimits) -> Self {
        Self { begun_ns: now_ns, bytes: 0, bytes_per_second, limits }
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// How many bytes compaction reads and writes in a second, about, from now on: also in the pass that is under way.
    pub fn set_compaction_speed(&self, bytes_per_second: u64) {
        if self.compaction_speed.replace(bytes_per_second) != bytes_per_second {
            self.moved.notify();
        }
    }

    /// Learns some batches, a step at a time; what follows them is read meanwhile. What is learnt goes to the file of a list, if there is one.
    pub(super) async fn learn_some(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        mut learner: Learner,
        source: &mut Source<D>,
        mut batches: Batches,
        mut list: Option<&mut Output<D>>,
    ) -> Result<Learner, Stop> {
        let mut at = 0;
        while at < batches.len && !learner.full {
            let work = move || {
                let taken = learner.take(batches.since(at));
                (learner, batches, taken)
            };
            let (done, ()) = zip(self.disk.aside(work), source.read_ahead(self)).await;
            let taken;
            (learner, batches, taken) = done;
            at += taken.map_err(|what| source.damaged(self, &what))?;
            if let (Some(entries), Some(list)) = (&mut learner.list, &mut list) {
                let put = list.append(self, &entries.bytes).await;
                put.map_err(|error| self.unwritten_output(log, &error))?;
                entries.pass();
            }
            self.check(log, plan)?;
        }
        source.take_back(batches);
        Ok(learner)
    }

    /// Writes what stays of some batches, a step at a time; what follows them is read meanwhile. Whether something is not as it was.
    pub(super) async fn write_some(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        mut filter: Filter,
        source: &mut Source<D>,
        mut batches: Batches,
        output: &mut Output<D>,
    ) -> Result<(bool, Filter), Stop> {
        let (mut at, mut changed) = (0, false);
        while at < batches.len {
            let work = move || {
                let filtered = filter.filter(batches.since(at));
                (filter, batches, filtered)
            };
            let (done, ()) = zip(self.disk.aside(work), source.read_ahead(self)).await;
            let filtered;
            (filter, batches, filtered) = done;
            at += filtered.map_err(|what| source.damaged(self, &what))?;
            changed |= filter.out.changed;
            let put = output.put(self, &filter.out.bytes).await;
            put.map_err(|error| self.unwritten_output(log, &error))?;
            self.check(log, plan)?;
        }
        source.take_back(batches);
        Ok((changed, filter))
    }

    /// So many bytes were read or written: waits until that is not too fast, or until the pass has to end or may go on at another speed.
    pub(super) async fn spend(&self, log: &Log<D, S>, pace: &mut Pace, bytes: u64) {
        let speed = self.compaction_speed.get();
        if pace.bytes_per_second != speed {
            *pace = Pace::begin(self.disk.now_ns(), speed, pace.limits);
        }
        pace.bytes += bytes;
        let due_ns = u128::from(pace.bytes) * 1_000_000_000 / u128::from(speed.max(1));
        let passed_ns = u128::from(self.disk.now_ns() - pace.begun_ns);
        if let Ok(wait) = u64::try_from(due_ns.saturating_sub(passed_ns))
            && wait > 0
        {
            let ended = || {
                let same_speed = self.compaction_speed.get() == speed;
                self.closing.get() || log.phase.get() != Phase::Loaded || !same_speed
            };
            let ending = self.moved.until(|| ended().then_some(()));
            let wait = self.disk.sleep(std::time::Duration::from_nanos(wait));
            futures_lite::future::or(ending, wait).await;
        }
        self.disk.yield_now().await;
    }
}
