//! What a pass works on: which part of a log is new, which of that may be compacted by now, and whether it is enough.

use std::collections::HashMap;

use model::Offset;

use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::load::Reader;
use crate::log::{CompactionSettings, Loaded, Log, LogSettings, Segment};
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::{LogRef, Store, StoreError};

/// Somebody looked at a log, and there was not enough to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Looked {
    /// What was the active segment then: another one means that there is more.
    active: Offset,
    /// Time alone changes nothing before this.
    again_ms: i64,
    settings: CompactionSettings,
}

/// What is new in a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct New {
    /// From here...
    first: Offset,
    /// ...to before this: a later segment is active, or too young.
    upto: Offset,
    bytes: u64,
    /// Bytes before it.
    old_bytes: u64,
    /// Some of it waits for longer than `max.compaction.lag.ms`.
    overdue: bool,
    /// When time makes more of it.
    again_ms: i64,
}

/// A sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub name: SegmentName,
    pub size: u64,
    /// Where the next one begins.
    pub end: Offset,
    pub max_timestamp_ms: i64,
}

impl Part {
    /// Whether retention takes it, or has.
    pub fn is_before(&self, log_start: Offset) -> bool {
        self.end <= log_start
    }
}

/// One pass over one log.
pub(super) struct Plan {
    pub first: Offset,
    pub upto: Offset,
    /// All segments before `upto`, oldest first, that have something behind the log start: others are about to go.
    pub parts: Vec<Part>,
    /// The log's, as long as which the plan holds.
    pub incarnation: u32,
    pub settings: CompactionSettings,
    /// The last offset of each producer.
    pub producers: HashMap<i64, i64>,
    segment_bytes: u64,
}

impl Plan {
    /// None when there is nothing to do, or what there is is not at rest yet.
    pub fn of<D: Disk, S: Derived>(log: &Log<D, S>, now_ms: i64) -> Option<Self> {
        let rest = log.at_rest.get();
        let loaded = log.loaded.borrow();
        let loaded = loaded.as_deref()?;
        let settings = loaded.settings.compaction?;
        let new = loaded.new_part(&rest, log.log_start(), settings, now_ms);
        let bound = rest.segment.min(loaded.synced.segment);
        let upto = new.upto.min(bound);
        if upto <= new.first || !loaded.handled_past(bound) {
            return None;
        }
        let start = log.log_start();
        let parts = loaded.sealed().filter(|part| !part.is_before(start) && part.end <= upto).collect();
        let snapshot = loaded.derived.snapshot();
        let last = |producer: &crate::derived::ProducerSnapshot| {
            producer.batches.last().map(|batch| (producer.id, batch.last_offset))
        };
        Some(Self {
            first: new.first,
            upto,
            parts,
            incarnation: loaded.incarnation,
            settings,
            producers: snapshot.producers.iter().filter_map(last).collect(),
            segment_bytes: loaded.settings.segment_bytes,
        })
    }

    /// The segments that have something before `covered`, in groups that fit one segment each.
    pub fn groups(&self, covered: Offset) -> Vec<&[Part]> {
        let count = self.parts.partition_point(|part| part.name.base < covered);
        let mut rest = self.parts.get(..count).unwrap_or_default();
        let mut groups = Vec::new();
        while let Some(first) = rest.first() {
            let mut bytes = 0;
            let fits = |part: &&Part| {
                bytes += part.size - FIRST_POSITION;
                bytes <= self.segment_bytes && part.end.0 - first.name.base.0 <= i64::from(i32::MAX)
            };
            let len = rest.iter().take_while(fits).count().max(1);
            let (group, behind) = rest.split_at(len);
            groups.push(group);
            rest = behind;
        }
        groups
    }

    /// What is left of some segments when retention has taken those before the log start.
    pub fn kept(group: &[Part], log_start: Offset) -> &[Part] {
        let gone = group.partition_point(|part| part.is_before(log_start));
        group.get(gone..).unwrap_or_default()
    }

    /// What the segment is called that takes the place of a group.
    pub fn output(group: &[Part]) -> Option<SegmentName> {
        let base = group.first()?.name.base;
        let newest = group.iter().map(|part| part.name.generation).max()?;
        Some(SegmentName { base, generation: newest.checked_add(1)? })
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Whether there may be enough to compact, as far as one can tell without loading the log.
    pub fn may_compact(&self, settings: &LogSettings, now_ms: i64) -> bool {
        let Some(settings) = settings.compaction else { return false };
        let rest = self.at_rest.get();
        let active = self.loaded.borrow().as_ref().map_or(rest.segment, |loaded| loaded.end_cursor().segment);
        let looked = self.looked.get().is_some_and(|looked| {
            looked.active == active && looked.settings == settings && now_ms < looked.again_ms
        });
        !looked && active > rest.compacted_to.max(self.log_start())
    }

    /// How much of a loaded log is new, in millionths, if that is enough for a pass.
    pub fn compaction_due(&self, now_ms: i64) -> Option<u32> {
        let rest = self.at_rest.get();
        let loaded = self.loaded.borrow();
        let loaded = loaded.as_deref()?;
        let settings = loaded.settings.compaction?;
        let new = loaded.new_part(&rest, self.log_start(), settings, now_ms);
        let part = new.bytes.saturating_mul(1_000_000) / (new.bytes + new.old_bytes).max(1);
        let part = u32::try_from(part).unwrap_or(u32::MAX);
        let due = part > settings.dirty_ppm_min || (new.overdue && new.bytes > 0);
        if !due {
            let active = loaded.end_cursor().segment;
            self.looked.set(Some(Looked { active, again_ms: new.again_ms, settings }));
        }
        due.then_some(part)
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Reads when the first segment of a loaded log that has something new was begun, unless that is known: what `max.compaction.lag.ms`
    /// counts from. Those behind it were begun later.
    pub async fn date_new(&self, log: &LogRef<D, S>) -> Result<(), StoreError> {
        let Some(part) = log.undated() else { return Ok(()) };
        let _reading = log.reading();
        let reader = Reader { disk: &self.disk, paths: &self.paths, files: &self.files };
        let read = reader.first_time(log.id, part.name, part.size).await;
        let mut loaded = log.loaded.borrow_mut();
        let segment = loaded.as_mut().and_then(|loaded| loaded.segment_at(part.name.base));
        // Else it went meanwhile, and whatever was read says nothing.
        if let Some(segment) = segment.filter(|segment| segment.name() == part.name) {
            segment.begun_ms = read?;
        }
        Ok(())
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// The first segment that has something new, if its age counts and is not known.
    fn undated(&self) -> Option<Part> {
        let loaded = self.loaded.borrow();
        let loaded = loaded.as_deref()?;
        loaded.settings.compaction.filter(|settings| settings.lag_ms_max < i64::MAX)?;
        let first = loaded.first_new(&self.at_rest.get(), self.log_start());
        let begun = loaded.segments.iter().map(|segment| segment.begun_ms);
        let (part, begun) = loaded.sealed().zip(begun).find(|(part, _)| part.end > first)?;
        begun.is_none().then_some(part)
    }
}

impl<D: Disk, S: Derived> Loaded<D, S> {
    /// Where what is new begins.
    fn first_new(&self, rest: &AtRest, log_start: Offset) -> Offset {
        let known = if rest.compacted_to > self.end { log_start } else { rest.compacted_to };
        known.max(log_start)
    }

    /// All segments but the active one.
    fn sealed(&self) -> impl Iterator<Item = Part> + '_ {
        self.segments.iter().zip(self.segments.iter().skip(1)).map(|(segment, next)| Part {
            name: segment.name(),
            size: segment.size,
            end: next.base,
            max_timestamp_ms: segment.max_timestamp_ms,
        })
    }

    fn new_part(&self, rest: &AtRest, log_start: Offset, settings: CompactionSettings, now_ms: i64) -> New {
        let first = self.first_new(rest, log_start);
        let active = self.end_cursor().segment;
        let mut new = New { first, upto: active, bytes: 0, old_bytes: 0, overdue: false, again_ms: i64::MAX };
        let begun = self.segments.iter().map(Segment::begun_by);
        for ((part, begun), next_begun) in self.sealed().zip(begun.clone()).zip(begun.skip(1)) {
            let bytes = part.size - FIRST_POSITION;
            if part.end <= first {
                new.old_bytes += bytes;
                continue;
            }
            if let Some(begun) = begun.filter(|begun| *begun > 0) {
                let due = begun.saturating_add(settings.lag_ms_max);
                new.overdue |= due < now_ms;
                new.again_ms = new.again_ms.min(due.saturating_add(1));
            }
            // Where nobody gave the records a time, they are from before the next segment. Kafka asks for the time of the file.
            let newest = match part.max_timestamp_ms {
                time @ 0.. => time,
                none => next_begun.unwrap_or(none),
            };
            let ripe = newest.saturating_add(settings.lag_ms_min);
            if settings.lag_ms_min > 0 && ripe > now_ms && new.upto == active {
                new.upto = part.name.base.max(first);
                new.again_ms = new.again_ms.min(ripe);
            }
            if part.end <= new.upto {
                new.bytes += bytes;
            }
        }
        // What is overdue but too young, or is already, does not need a look every time.
        new.again_ms = new.again_ms.max(now_ms.saturating_add(1));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sizes: &[(i64, i64, u64)]) -> Plan {
        let part = |&(base, end, bytes): &(i64, i64, u64)| Part {
            name: SegmentName { base: Offset(base), generation: u32::try_from(base % 3).unwrap() },
            size: FIRST_POSITION + bytes,
            end: Offset(end),
            max_timestamp_ms: 0,
        };
        Plan {
            first: Offset(0),
            upto: Offset(i64::MAX),
            parts: sizes.iter().map(part).collect(),
            incarnation: 0,
            settings: CompactionSettings::default(),
            producers: HashMap::new(),
            segment_bytes: 100,
        }
    }

    fn bases(groups: &[&[Part]]) -> Vec<Vec<i64>> {
        groups.iter().map(|group| group.iter().map(|part| part.name.base.0).collect()).collect()
    }

    #[test]
    fn small_segments_become_one_and_large_ones_stay_alone() {
        let plan = plan(&[(0, 10, 60), (10, 20, 40), (20, 30, 0), (30, 40, 500), (40, 50, 1), (50, 60, 1)]);
        assert_eq!(bases(&plan.groups(Offset(60))), [vec![0, 10, 20], vec![30], vec![40, 50]]);
        assert_eq!(bases(&plan.groups(Offset(50))), [vec![0, 10, 20], vec![30], vec![40]]);
        assert_eq!(bases(&plan.groups(Offset(5))), [vec![0]]);
        let name = Plan::output(plan.groups(Offset(60))[0]).unwrap();
        assert_eq!(name, SegmentName { base: Offset(0), generation: 3 });
    }

    #[test]
    fn what_retention_takes_leaves_a_group() {
        let plan = plan(&[(0, 10, 1), (10, 20, 1), (20, 30, 1)]);
        let kept = |log_start| bases(&[Plan::kept(&plan.parts, Offset(log_start))]).concat();
        assert_eq!((kept(9), kept(10), kept(29)), (vec![0, 10, 20], vec![10, 20], vec![20]));
        assert!(kept(30).is_empty());
    }

    #[test]
    fn offsets_of_one_segment_fit_its_index() {
        let far = i64::from(i32::MAX);
        let plan = plan(&[(0, 10, 1), (10, far, 1), (far, far + 5, 1)]);
        assert_eq!(bases(&plan.groups(Offset(i64::MAX))), [vec![0, 10], vec![far]]);
    }
}
