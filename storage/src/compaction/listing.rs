//! A pass with more new keys than the table has room for: see [`super::list`]. The list is in a file that is called like a segment that
//! compaction writes, so that it goes like one when a crash leaves it.

use std::collections::BTreeMap;

use model::Offset;

use super::Stop;
use super::keys::KeyMap;
use super::learn::Learner;
use super::list::{List, Marks, PAGE_BYTES, PAGE_ENTRIES, Tables};
use super::output::Output;
use super::plan::Plan;
use super::source::{Chunk, Source};
use super::work::Pace;
use crate::bytes_at::{block_up, len_u64, to_usize};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::load::damaged_at;
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::{LogRef, Store};

/// No segment comes to have it: there is one generation more with every pass.
const GENERATION: u32 = u32::MAX;

/// What became of a list.
pub(super) enum ByList {
    Judged(Listed),
    /// It may not hold more than the table does, which is as it was.
    None(KeyMap),
}

/// What a list says.
pub(super) struct Listed {
    pub marks: Marks,
    /// Records from here on are not in it.
    pub covered: Offset,
    /// There was more than it may hold.
    pub unfinished: bool,
}

/// A list, and the table that is to be filled from it.
struct Made {
    keys: KeyMap,
    list: List,
    starts: BTreeMap<Offset, usize>,
    covered: Offset,
    unfinished: bool,
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Judges by a list, if that covers more than the table does, which is up to `covered`.
    pub(super) async fn judge_by_list(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        (keys, covered): (KeyMap, Offset),
        pace: &mut Pace,
    ) -> Result<ByList, Stop> {
        let first = plan.parts.first().filter(|_| pace.limits.marks_max() > 0 && !log.unlisted.get());
        let Some(first) = first else { return Ok(ByList::None(keys)) };
        let name = SegmentName { base: first.name.base, generation: GENERATION };
        let output = Output::begin(self, log, name, plan.incarnation).await;
        let mut output = output.map_err(|error| self.unwritten_output(log, &error))?;
        let made = self.make_list(log, plan, keys, pace, &mut output).await;
        drop(output);
        let judged = match made {
            Ok(made) if made.covered > covered => {
                self.hold_against(log, plan, name, made, pace).await.map(ByList::Judged)
            }
            Ok(made) => {
                // The next one would be made in vain too.
                log.unlisted.set(true);
                Ok(ByList::None(made.keys))
            }
            Err(stop) => Err(stop),
        };
        self.remove_output(log, name).await;
        judged
    }

    async fn make_list(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        keys: KeyMap,
        pace: &mut Pace,
        output: &mut Output<D>,
    ) -> Result<Made, Stop> {
        let from = plan.parts.first().map_or(plan.first, |part| part.name.base);
        let list = List::new(plan.first, pace.limits.marks_max());
        let mut learner = Learner::listing(keys, list, from, pace.limits.batch_bytes_max);
        let mut starts = BTreeMap::new();
        for part in &plan.parts {
            starts.insert(part.name.base, learner.list.as_ref().map_or(0, |list| list.len));
            let mut source = Source::new(log.id, part, pace.limits);
            while let Some(chunk) = source.next(self, log).await? {
                if let Chunk::Batches(batches) = chunk {
                    self.spend(log, pace, len_u64(batches.len)).await;
                    let file = Some(&mut *output);
                    learner = self.learn_some(log, plan, learner, &mut source, batches, file).await?;
                }
                self.check(log, plan)?;
                if learner.full {
                    break;
                }
            }
            if learner.full {
                break;
            }
            learner.pass_to(part.end);
        }
        let written = output.write_rest(self).await;
        written.map_err(|error| self.unwritten_output(log, &error))?;
        let Learner { keys, list, covered, full, .. } = learner;
        let list = list.ok_or(Stop::Abandoned)?;
        Ok(Made { keys, list, starts, covered, unfinished: full })
    }

    /// Fills the table with what is new in the list, as often as need be, and marks what has a later one there.
    async fn hold_against(
        &self,
        log: &LogRef<D, S>,
        plan: &Plan,
        name: SegmentName,
        made: Made,
        pace: &mut Pace,
    ) -> Result<Listed, Stop> {
        let Made { keys, list, starts, covered, unfinished } = made;
        let mut tables = Tables::new(keys, &list);
        let mut from = list.old;
        while from < list.len {
            let mut to = from;
            while to < list.len {
                let page = self.page(log, name, &list, to / PAGE_ENTRIES, pace).await?;
                let (begin, is_first) = (to, to == from);
                let work = move || {
                    if is_first {
                        // It may be a hundred MiB: not for the core's thread.
                        tables.keys.clear();
                    }
                    let filled = tables.fill(&page, begin % PAGE_ENTRIES);
                    (tables, filled)
                };
                let filled;
                (tables, filled) = self.disk.aside(work).await;
                to += filled;
                self.check(log, plan)?;
                if filled == 0 || !to.is_multiple_of(PAGE_ENTRIES) {
                    break; // It is full, or the list is at its end.
                }
            }
            if to == from {
                return Err(Stop::Abandoned); // There is no such table.
            }
            for index in 0..to.div_ceil(PAGE_ENTRIES) {
                let page = self.page(log, name, &list, index, pace).await?;
                let work = move || {
                    tables.mark(&page, index * PAGE_ENTRIES, to);
                    tables
                };
                tables = self.disk.aside(work).await;
                self.check(log, plan)?;
            }
            from = to;
        }
        Ok(Listed { marks: tables.marks(starts), covered, unfinished })
    }

    /// Entries of a list, which are what was written.
    async fn page(
        &self,
        log: &LogRef<D, S>,
        name: SegmentName,
        list: &List,
        index: usize,
        pace: &mut Pace,
    ) -> Result<Vec<u8>, Stop> {
        let at = FIRST_POSITION + len_u64(index * PAGE_BYTES);
        let failed = |error| Stop::Failed(damaged_at(&self.paths, log.id, name, at, &error));
        let len = list.page_bytes(index);
        self.spend(log, pace, len_u64(len)).await;
        let file = self.files.get((log.id, name)).await.map_err(failed)?;
        let buffer = file.read(at, to_usize(block_up(len_u64(len)))).await.map_err(failed)?;
        self.count(|counters| counters.compaction_read_bytes += len_u64(len));
        let bytes = (*buffer).as_ref().get(..len).unwrap_or_default().to_vec();
        if list.is_sound(index, &bytes) {
            return Ok(bytes);
        }
        let rotten = "a list of keys is not what was written";
        Err(Stop::Failed(damaged_at(&self.paths, log.id, name, at, &rotten)))
    }
}
