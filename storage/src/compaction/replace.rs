//! Putting a compacted segment in the place of those that it was made of.
//!
//! 1. The new file is whole and durable, and so is its name. Nothing cites it yet.
//! 2. The snapshot that the log is loaded from lists it, in one step. The old files are still there, for a checkpoint that cites an
//!    older snapshot.
//! 3. Readers find it; whoever was reading the old ones looks again when that fails.
//! 4. A checkpoint is stored that cites no other snapshot, and the old files go.
//!
//! A crash in between leaves files that nothing cites. They go when the log is first touched ([`crate::tidy`]).
//!
//! No entry that a start would replay speaks of the old segments: their bytes were at rest before the checkpoint with which the pass
//! began. A truncation into the new one says which file it means ([`crate::journal::entry::file_word`]), and waits until this is done;
//! so does retention.

use std::io;
use std::rc::Rc;

use super::plan::{Part, Plan};
use super::{Stop, unwritten};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::load::Reader;
use crate::log::{Loaded, Log, Segment};
use crate::segment::Cursor;
use crate::snapshot::{SegmentFacts, Snapshot};
use crate::store::{LogRef, Store};

/// The list of segments stays as it is until this is dropped.
struct Held<'a, D: Disk, S>(&'a Store<D, S>, &'a Log<D, S>);

impl<D: Disk, S> Drop for Held<'_, D, S> {
    fn drop(&mut self) {
        self.1.replacing.set(false);
        self.0.moved.notify();
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// See the module.
    pub(super) async fn replace(
        self: &Rc<Self>,
        log: &LogRef<D, S>,
        plan: &Plan,
        group: &[Part],
        segment: Segment,
    ) -> Result<(), Stop> {
        let dir = self.paths.partition(log.id);
        if let Err(error) = self.disk.sync_dir(&dir).await
            && !log.is_deleted()
        {
            self.disk.fatal(&format!("syncing directory {}", dir.display()), &error);
        }
        self.settling.enter().await;
        let cited = self.hold(log, plan, group);
        let swapped = match &cited {
            Ok(_) => self.swap(log, group, segment).await,
            Err(_) => Ok(()),
        };
        self.settling.leave();
        let _held = cited?;
        swapped?;
        self.checkpoint(None).await.map_err(|error| unwritten(log, &error))?;
        self.remove_old(log, group).await.map_err(|error| unwritten(log, &error))
    }

    /// Nobody else may change the list of segments from now on, if it is still what it was.
    fn hold<'a>(
        &'a self,
        log: &'a LogRef<D, S>,
        plan: &Plan,
        group: &[Part],
    ) -> Result<Held<'a, D, S>, Stop> {
        self.check(log, plan)?;
        let loaded = log.loaded.borrow();
        let listed = loaded.as_ref().is_some_and(|loaded| loaded.place_of(group).is_some());
        if !listed {
            return Err(Stop::Abandoned); // Retention was there before.
        }
        log.replacing.set(true);
        Ok(Held(self, log))
    }

    async fn swap(&self, log: &LogRef<D, S>, group: &[Part], segment: Segment) -> Result<(), Stop> {
        let Some(cited) = log.at_rest.get().snapshot else { return Err(Stop::Abandoned) };
        let reader = Reader { disk: &self.disk, paths: &self.paths, files: &self.files };
        let mut snapshot = reader.snapshot(log.id, cited).await?;
        if !snapshot.replace(group, segment.facts()) {
            return Err(Stop::Abandoned);
        }
        let path = self.paths.snapshot(log.id, cited);
        if let Err(error) = self.disk.replace_file(&path, snapshot.to_file()).await {
            // Where it has been replaced all the same, nobody knows what a power cut leaves, and the new segment must not go.
            let unchanged =
                reader.snapshot(log.id, cited).await.is_ok_and(|mut now| now.replace(group, segment.facts()));
            if !unchanged && !log.is_deleted() {
                self.disk.fatal(&format!("replacing {}", path.display()), &error);
            }
            return Err(self.unwritten_output(log, &error));
        }
        let base = segment.base;
        if let Some(loaded) = log.loaded.borrow_mut().as_mut() {
            loaded.replace(group, segment);
            let mut rest = log.at_rest.get();
            loaded.describe(&mut rest);
            log.at_rest.set(rest);
        }
        log.replaced.set(log.replaced.get() + 1);
        self.store_index(log, base).await;
        Ok(())
    }

    async fn remove_old(&self, log: &LogRef<D, S>, group: &[Part]) -> io::Result<()> {
        for (index, part) in group.iter().enumerate() {
            self.files.remove((log.id, part.name)).await?;
            // That of the first one is the new segment's too.
            if index > 0 && log.at_rest.get().snapshot != Some(part.name.base) {
                self.disk.remove_file(&self.paths.snapshot(log.id, part.name.base)).await?;
            }
        }
        Ok(())
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Where these segments are in the list, one behind the other.
    fn place_of(&self, group: &[Part]) -> Option<usize> {
        let first = group.first()?;
        let at = self.segments.binary_search_by_key(&first.name.base, |segment| segment.base).ok()?;
        let same =
            |(segment, part): (&Segment, &Part)| segment.name() == part.name && segment.size == part.size;
        let listed = self.segments.len() > at + group.len();
        (listed && self.segments.iter().skip(at).zip(group).all(same)).then_some(at)
    }

    fn replace(&mut self, group: &[Part], segment: Segment) {
        let Some(at) = self.place_of(group) else { return };
        let facts = segment.facts();
        self.segments.drain(at..at + group.len());
        self.segments.insert(at, segment);
        // Memory has what was in them: that is not to be read any more either.
        if let Some(next) = self.segments.get(at + 1) {
            let behind = Cursor { segment: next.base, position: 0 };
            let safe = self.safe();
            self.runs.evict_to(behind, safe);
        }
        for mark in &mut self.marks {
            mark.snapshot.replace(group, facts);
        }
    }
}

impl Snapshot {
    /// Lists one segment in the place of others. False when they are not there.
    fn replace(&mut self, group: &[Part], segment: SegmentFacts) -> bool {
        let Some(first) = group.first() else { return false };
        let Some(at) = self.segments.iter().position(|facts| facts.name() == first.name) else {
            return false;
        };
        let end = at + group.len();
        let listed = self.segments.get(at..end).unwrap_or_default();
        let same = listed.len() == group.len()
            && listed.iter().zip(group).all(|(facts, part)| facts.name() == part.name);
        if same {
            drop(self.segments.splice(at..end, [segment]));
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use model::Offset;

    use super::*;
    use crate::derived::DerivedSnapshot;
    use crate::segment::SegmentName;

    #[test]
    fn a_snapshot_lists_the_new_one_in_the_place_of_the_old() {
        let facts = |base, generation| SegmentFacts {
            base,
            size: 5000,
            max_timestamp_ms: 1,
            incarnation: 0,
            generation,
        };
        let part = |base, generation| Part {
            name: SegmentName { base: Offset(base), generation },
            size: 5000,
            end: Offset(base + 10),
            max_timestamp_ms: 1,
        };
        let segments = vec![facts(0, 1), facts(10, 0), facts(20, 0)];
        let mut snapshot = Snapshot { offset: 25, segments, derived: DerivedSnapshot::default() };
        let before = snapshot.clone();
        assert!(!snapshot.replace(&[part(0, 0)], facts(0, 2)), "another file");
        assert!(!snapshot.replace(&[part(20, 0), part(30, 0)], facts(20, 1)));
        assert_eq!(snapshot, before);
        assert!(snapshot.replace(&[part(0, 1), part(10, 0)], facts(0, 2)));
        assert_eq!(snapshot.segments, [facts(0, 2), facts(20, 0)]);
    }
}
