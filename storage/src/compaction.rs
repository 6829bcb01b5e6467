//! Log compaction: of each key the last record stays, at the offset that it has.
//!
//! A pass reads the part of a log that is new since the last one and learns where each key was written last ([`learn`]); then it reads all
//! segments up to there and writes what stays of them ([`filter`]) to new ones, which take their place a group at a time, the oldest first
//! ([`replace`]). A table of fixed size holds the keys: when it is full, they go to a list ([`listing`]); where that would be too long, the pass ends
//! there, and another one goes on.
//!
//! Only sealed segments are compacted, and only once they are at rest: no entry that a start would replay speaks of them.

mod filter;
mod key_check;
mod keys;
mod learn;
mod list;
mod listing;
mod memory;
mod output;
mod plan;
mod replace;
mod source;
mod step;
mod unpack;
mod work;

use std::io;
use std::rc::Rc;

use model::Offset;

use crate::bytes_at::len_u64;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::flusher::Tail;
use crate::log::{Log, Phase, Segment};
use crate::segment::SegmentName;
use crate::segment_write::is_full;
use crate::store::{LogRef, Store, StoreError};
use filter::{Filter, Filtered, Known};
use keys::KeyMap;
use learn::Learner;
use listing::ByList;
use output::Output;
use plan::{Part, Plan};
use source::{Chunk, Source};
use unpack::Room;
use work::Pace;

pub use key_check::KeyCheck;
pub use memory::CompactionLimits;
pub(crate) use plan::Looked;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were replaced.
    pub replaced: usize,
    /// There was more than the table of keys has room for: another pass has to go on.
    pub unfinished: bool,
    /// The log was truncated or deleted meanwhile, or is not to be compacted any more, or the store closes: what was begun was
    /// given up.
    pub abandoned: bool,
}

/// What became of some segments.
enum Built {
    /// What stays of them.
    Anew(Box<Segment>),
    /// It is one, and all of it stays.
    Nothing,
    /// Retention took some meanwhile.
    Half,
}

/// Why a pass ends early.
enum Stop {
    /// The log is not what it was: nothing is wrong.
    Abandoned,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A log under compaction, until this is dropped.
struct Guard<'a, D: Disk, S> {
    store: &'a Store<D, S>,
    log: &'a Log<D, S>,
}

impl<D: Disk, S> Drop for Guard<'_, D, S> {
    fn drop(&mut self) {
        self.log.compacting.set(false);
        self.store.compaction_bytes.set(0);
        self.store.moved.notify();
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Compacts what is new in a loaded log, as its settings say, whether or not there is enough of it. One pass at a time; appends
    /// and reads go on meanwhile.
    pub async fn compact(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        limits: CompactionLimits,
        now_ms: i64,
    ) -> Result<Compacted, StoreError> {
        let turn = async { Some(self.compacting.turn().await) };
        let closing = self.moved.until(|| self.closing.get().then_some(None));
        let _turn = futures_lite::future::or(closing, turn).await;
        if log.phase.get() != Phase::Loaded || self.closing.get() {
            return Ok(Compacted { abandoned: true, ..Compacted::default() });
        }
        let _reading = log.reading();
        log.compacting.set(true);
        let _guard = Guard { store: self, log };
        let (incarnation, start) = (log.at_rest.get().incarnation, log.log_start());
        let mut done = Compacted::default();
        match self.pass(log, limits, now_ms, &mut done).await {
            Ok(()) => Ok(done),
            // What was read may have gone: that is no damage.
            Err(_) if self.has_changed(log, incarnation) || log.log_start() != start => {
                Ok(Compacted { abandoned: true, ..done })
            }
            Err(Stop::Abandoned) => Ok(Compacted { abandoned: true, ..done }),
            Err(Stop::Failed(StoreError::DiskFull)) => Err(StoreError::DiskFull),
            Err(Stop::Failed(error)) => {
                self.count(|counters| counters.compaction_errors += 1);
                Err(error)
            }
        }
    }

    async fn pass(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        limits: CompactionLimits,
        now_ms: i64,
        done: &mut Compacted,
    ) -> Result<(), Stop> {
        self.write_all_of(log, Tail::WhenQuiet).await.map_err(|error| unwritten(log, &error))?;
        // What is being copied forward goes to the journal ahead of what was queued before it: the plan has to know of it.
        drop(self.reclaiming.turn().await);
        self.sync_and_settle(std::slice::from_ref(log)).await.map_err(|error| unwritten(log, &error))?;
        let Some(plan) = Plan::of(log, now_ms) else { return Ok(()) };
        // A start that begins with this checkpoint has nothing to do in the segments that are about to be replaced.
        self.checkpoint(None).await.map_err(|error| unwritten(log, &error))?;
        self.lend_for_batches(&limits, 0);
        let mut pace = Pace::begin(self.disk.now_ns(), self.compaction_speed.get(), limits);
        let learner = self.learn(log, &plan, &mut pace).await?;
        let (mut covered, mut unfinished) = (learner.covered, learner.full);
        tracing::debug!(partition = %log.id, from = %plan.first, to = %covered, keys = learner.keys.used(), "compacting");
        if covered <= plan.first {
            // The next pass would come no further: it has to be told.
            let what = format!("compacting {}: there is no room for the record at offset {covered}", log.id);
            return Err(Stop::Failed(StoreError::Damaged(what)));
        }
        let by_list = match unfinished {
            true => self.judge_by_list(log, &plan, (learner.keys, covered), &mut pace).await?,
            false => ByList::None(learner.keys),
        };
        let known = match by_list {
            ByList::None(keys) => Known::Table(keys),
            ByList::Judged(listed) => {
                (covered, unfinished) = (listed.covered, listed.unfinished);
                tracing::debug!(partition = %log.id, to = %covered, "compacting by a list");
                Known::Marks(listed.marks)
            }
        };
        let mut filter = Filter {
            known,
            covered,
            upto: plan.upto,
            now_ms,
            tombstones_ms: plan.settings.tombstones_ms,
            room: Room::up_to(limits.batch_bytes_max),
            step_bytes: limits.step_bytes(),
            producers: plan.producers.clone(),
            blind: false,
            out: Filtered::default(),
        };
        for group in plan.groups(covered) {
            let mut left = Plan::kept(group, log.log_start());
            while !left.is_empty() {
                let (replaced, back) = self.compact_group(log, &plan, left, filter, &mut pace).await?;
                filter = back;
                done.replaced += replaced.unwrap_or(0);
                // Retention took the first of them meanwhile: the others are still there twice.
                let again = Plan::kept(left, log.log_start());
                left = if replaced.is_none() { again } else { &[] };
            }
        }
        self.check(log, &plan)?;
        let rest = log.at_rest.get();
        log.at_rest.set(crate::checkpoint::AtRest { compacted_to: rest.compacted_to.max(covered), ..rest });
        self.checkpoint(None).await.map_err(|error| unwritten(log, &error))?;
        done.unfinished = unfinished;
        Ok(())
    }

    /// Learns where keys were written last, from the first new record on.
    async fn learn(&self, log: &LogRef<D, S>, plan: &Plan, pace: &mut Pace) -> Result<Learner, Stop> {
        let keys = KeyMap::with_memory(pace.limits.table_bytes());
        let mut learner = Learner::new(keys, plan.first, pace.limits.batch_bytes_max);
        for part in plan.parts.iter().filter(|part| part.end > plan.first) {
            let mut source = Source::new(log.id, part, pace.limits);
            while let Some(chunk) = source.next(self, log).await? {
                if let Chunk::Batches(batches) = chunk {
                    self.spend(log, pace, len_u64(batches.len)).await;
                    learner = self.learn_some(log, plan, learner, &mut source, batches, None).await?;
                }
                self.check(log, plan)?;
                if learner.full {
                    return Ok(learner);
                }
            }
            learner.pass_to(part.end);
        }
        Ok(learner)
    }

    /// Writes what stays of some segments to a new one and puts that in their place. Returns how many it replaced; none when retention
    /// took some meanwhile.
    async fn compact_group(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        plan: &Plan,
        group: &[Part],
        filter: Filter,
        pace: &mut Pace,
    ) -> Result<(Option<usize>, Filter), Stop> {
        let Some(name) = Plan::output(group) else { return Ok((Some(0), filter)) };
        let built = self.build(log, plan, (group, name), filter, pace).await;
        let replaced = match built {
            Ok((Built::Anew(segment), filter)) => match self.replace(log, plan, group, *segment).await {
                Ok(()) => Ok((Some(group.len()), filter)),
                Err(Stop::Abandoned) if has_lost_some(log, group) => Ok((None, filter)),
                Err(stop) => Err(stop),
            },
            Ok((Built::Nothing, filter)) => Ok((Some(0), filter)),
            Ok((Built::Half, filter)) => Ok((None, filter)),
            Err(stop) => Err(stop),
        };
        if log.name_of(name.base) != name {
            self.remove_output(log, name).await;
        }
        replaced
    }

    /// A segment with what stays of a group.
    async fn build(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        (group, name): (&[Part], SegmentName),
        filter: Filter,
        pace: &mut Pace,
    ) -> Result<(Built, Filter), Stop> {
        let unwritten = |error: io::Error| self.unwritten_output(log, &error);
        let mut output = Output::begin(self, log, name, plan.incarnation).await.map_err(unwritten)?;
        let (changed, filter) = self.write_group(log, plan, group, filter, pace, &mut output).await?;
        if has_lost_some(log, group) {
            return Ok((Built::Half, filter));
        }
        if !changed && group.len() == 1 {
            return Ok((Built::Nothing, filter));
        }
        let time = group.iter().map(|part| part.max_timestamp_ms).max().unwrap_or(-1);
        let segment = output.finish(self, log, time).await.map_err(unwritten)?;
        self.count(|counters| counters.compaction_written_bytes += segment.size);
        Ok((Built::Anew(Box::new(segment)), filter))
    }

    /// Whether something is not as it was. It ends early when retention takes some of the group.
    async fn write_group(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        group: &[Part],
        mut filter: Filter,
        pace: &mut Pace,
        output: &mut Output<D>,
    ) -> Result<(bool, Filter), Stop> {
        let mut changed = false;
        for part in group {
            let mut source = Source::new(log.id, part, pace.limits);
            filter.open(part.name.base);
            while let Some(chunk) = source.next(self, log).await? {
                let before = output.size();
                match chunk {
                    Chunk::Batches(batches) => {
                        self.spend(log, pace, len_u64(batches.len)).await;
                        let some;
                        (some, filter) =
                            self.write_some(log, plan, filter, &mut source, batches, output).await?;
                        changed |= some;
                    }
                    Chunk::Large(large) => {
                        // Nobody looks into it, so it stays, and so does what would delete something in it.
                        filter.blind = true;
                        output.note(large.base, large.len, large.max_timestamp);
                        let mut at = large.at;
                        while let Some(bytes) = source.piece(self, log, &large, at).await? {
                            self.spend(log, pace, len_u64(bytes.len())).await;
                            at += len_u64(bytes.len());
                            let put = output.append(self, &bytes).await;
                            put.map_err(|error| self.unwritten_output(log, &error))?;
                            self.check(log, plan)?;
                        }
                    }
                }
                self.spend(log, pace, output.size() - before).await;
                self.check(log, plan)?;
            }
            if has_lost_some(log, group) {
                break;
            }
        }
        Ok((changed, filter))
    }

    /// Whether the pass may go on.
    fn check(&self, log: &Log<D, S>, plan: &Plan) -> Result<(), Stop> {
        if self.has_changed(log, plan.incarnation) {
            return Err(Stop::Abandoned);
        }
        if self.disk_full.get() || self.is_stalled() {
            return Err(Stop::Failed(StoreError::DiskFull));
        }
        Ok(())
    }

    fn has_changed(&self, log: &Log<D, S>, incarnation: u32) -> bool {
        let same = log.phase.get() == Phase::Loaded
            && log.loaded.borrow().as_ref().is_some_and(|loaded| {
                loaded.incarnation == incarnation && loaded.settings.compaction.is_some()
            });
        !same || self.closing.get()
    }

    fn unwritten_output(&self, log: &Log<D, S>, error: &io::Error) -> Stop {
        if is_full(error) {
            self.refuse_appends(&self.paths.partition(log.id), 0, error);
        }
        unwritten(log, error)
    }
}

/// Whether retention took some of these segments, or is about to.
fn has_lost_some<D: Disk, S: Derived>(log: &Log<D, S>, group: &[Part]) -> bool {
    Plan::kept(group, log.log_start()).len() < group.len()
}

fn unwritten<D: Disk, S>(log: &Log<D, S>, error: &io::Error) -> Stop {
    Stop::Failed(match is_full(error) {
        true => StoreError::DiskFull,
        false => StoreError::Unwritten(format!("compacting {}: {error}", log.id)),
    })
}

/// How far compaction came in a log.
impl<D: Disk, S: Derived> Log<D, S> {
    /// Everything before this offset has been through compaction.
    pub fn compacted_to(&self) -> Offset {
        self.at_rest.get().compacted_to
    }

    /// Behind this offset of a loaded log nothing is gone. Before it tombstones may be, and whoever knows the log as it was up to some
    /// earlier offset would miss them if it went on from there.
    pub fn thinned_to(&self) -> Offset {
        let loaded = self.loaded.borrow();
        let Some(loaded) = loaded.as_ref() else { return Offset::ZERO };
        let last = loaded.segments.iter().rposition(|segment| segment.generation > 0);
        last.map_or(Offset::ZERO, |last| loaded.segments.get(last + 1).map_or(loaded.end, |next| next.base))
    }
}
