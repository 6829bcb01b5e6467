//! The snapshot of a log whose segments changed since the one that its checkpoint cites: after rolls and truncations that
//! only the journal knows of.

use model::{Offset, TopicPartition};

use crate::derived::{Derived, DerivedSnapshot};
use crate::disk::Disk;
use crate::load::Reader;
use crate::log::Segment;
use crate::recovery::Recovering;
use crate::segment::FIRST_POSITION;
use crate::snapshot::{SegmentFacts, Snapshot};
use crate::store::StoreError;

/// What [`Reader::rebuilt`] found.
pub(crate) struct Rebuilt {
    /// The log at its end.
    pub snapshot: Snapshot,
    /// The active segment's.
    pub incarnation: u32,
}

impl<D: Disk> Reader<'_, D> {
    /// The log at its end, from its segments. Stores a snapshot at every segment begun since the last one, as a roll does.
    pub(crate) async fn rebuilt<S: Derived>(
        &self,
        id: TopicPartition,
        log: &Recovering,
    ) -> Result<Rebuilt, StoreError> {
        let (mut segments, known) = self.segments_now(id, log).await?;
        let (mut derived, from) = self.derived_before::<S>(id, log, &segments, known).await?;
        let mut done: Vec<SegmentFacts> = Vec::new();
        for segment in &mut segments {
            if segment.base.0 < from.base {
                done.push(segment.facts());
                continue;
            }
            let size = segment.size;
            let first = segment.base.0 == from.base;
            segment.size = if first { from.size } else { FIRST_POSITION };
            segment.max_timestamp_ms = if first { from.max_timestamp_ms } else { -1 };
            segment.index = None;
            if !first {
                let mut listed = done.clone();
                listed.push(segment.facts());
                let mut before = derived.snapshot();
                before.epochs.retain(|(_, start)| *start < segment.base.0);
                self.store(id, Snapshot { offset: segment.base.0, segments: listed, derived: before })
                    .await?;
            }
            self.scan(id, segment, size, |header, offset| {
                derived.observe(header, offset, header.leader_epoch())
            })
            .await?;
            done.push(segment.facts());
        }
        let incarnation = done.last().map_or(0, |active| active.incarnation);
        let snapshot = Snapshot { offset: log.rest.end.0, segments: done, derived: derived.snapshot() };
        Ok(Rebuilt { snapshot, incarnation })
    }

    async fn store(&self, id: TopicPartition, snapshot: Snapshot) -> Result<(), StoreError> {
        let path = self.paths.snapshot(id, snapshot.at());
        let stored = self.disk.replace_file(&path, snapshot.to_file()).await;
        stored.map_err(|error| StoreError::Damaged(format!("{}: {error}", path.display())))
    }

    /// The segments, oldest first, with their sizes; how many of them the last snapshot lists.
    async fn segments_now(
        &self,
        id: TopicPartition,
        log: &Recovering,
    ) -> Result<(Vec<Segment>, usize), StoreError> {
        let facts = match log.before.snapshot {
            Some(offset) => self.snapshot(id, offset).await?.segments,
            None => vec![log.before.first_segment()],
        };
        let kept = |facts: &&SegmentFacts| {
            let base = Offset(facts.base);
            base >= log.before.oldest
                && log.cut.is_none_or(|(_, segment)| base <= segment)
                && log.rolled.iter().all(|(rolled, ..)| *rolled != base)
        };
        let listed = facts.iter().filter(kept).map(|facts| {
            let mut segment = Segment::new(Offset(facts.base), facts.incarnation);
            segment.generation = facts.generation;
            segment.max_timestamp_ms = facts.max_timestamp_ms;
            segment.size = facts.size;
            segment
        });
        let mut segments: Vec<Segment> = listed.collect();
        let known = segments.len();
        for (base, size_before, incarnation) in &log.rolled {
            if let Some(last) = segments.last_mut() {
                last.size = *size_before;
            }
            segments.push(Segment::new(*base, *incarnation));
        }
        match segments.last_mut() {
            Some(active) if active.base == log.rest.segment => {
                active.size = log.rest.position;
                active.generation = log.rest.segment_generation;
            }
            _ => {
                return Err(StoreError::Damaged(format!(
                    "the journal and the snapshot of {id} disagree on its segments"
                )));
            }
        }
        Ok((segments, known))
    }

    /// A derived state to scan on from: the last snapshot, unless the log was cut before it; else that of the newest segment
    /// which was there before; else the beginning. Where epochs began before the cut is taken from the last snapshot in any case:
    /// compaction may have removed the batches that say it.
    async fn derived_before<S: Derived>(
        &self,
        id: TopicPartition,
        log: &Recovering,
        segments: &[Segment],
        known: usize,
    ) -> Result<(S, SegmentFacts), StoreError> {
        let cut = log.cut.map(|(end, _)| end);
        let mut lineage = None;
        if let (Some(cited), Some(cut)) = (log.before.snapshot, cut)
            && cited > cut
        {
            let mut epochs = self.snapshot(id, cited).await?.derived.epochs;
            epochs.retain(|(_, start)| *start < cut.0);
            lineage = Some(epochs);
        }
        let cited = log.before.snapshot.filter(|offset| cut.is_none_or(|cut| *offset <= cut));
        let bases = segments.iter().take(known).rev().map(|segment| segment.base);
        let oldest = segments.first().map_or(log.rest.segment, |segment| segment.base);
        let mut found = (DerivedSnapshot::default(), Segment::new(oldest, 0).facts());
        for offset in cited.into_iter().chain(bases) {
            // A log's first segment has none.
            let Ok(snapshot) = self.snapshot(id, offset).await else { continue };
            if let Some(last) = snapshot.segments.last() {
                found = (snapshot.derived, *last);
                break;
            }
        }
        let (mut before, from) = found;
        if let Some(epochs) = lineage {
            before.epochs = epochs;
        }
        let mut derived = S::empty();
        derived.restore(&before);
        Ok((derived, from))
    }
}
