//! Files of a partition that nothing cites: looked for once in a boot, when the log is first touched, so that a start lists no
//! directories. What a crash or a truncation leaves goes silently; what nobody can explain is kept, under another name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use model::{Offset, TopicPartition};

use crate::checkpoint::AtRest;
use crate::derived::Derived;
use crate::disk::Disk;
use crate::log::Segment;
use crate::paths::{COORDINATOR, parse_segment_file};
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::{Store, StoreError};

/// What a file that nothing explains is called from then on, behind its own name.
const SET_ASIDE: &str = ".set-aside";

/// What becomes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Stays,
    Goes,
    IsSetAside,
}

/// What a log cites.
struct Cited<'a> {
    rest: &'a AtRest,
    /// Generations of its segments, by base.
    segments: BTreeMap<Offset, u32>,
}

impl Cited<'_> {
    fn fate(&self, name: &str) -> Fate {
        if name.ends_with(SET_ASIDE) || name == COORDINATOR {
            return Fate::Stays;
        }
        if name.ends_with(".tmp") {
            return Fate::Goes; // It was about to replace a file when the process died.
        }
        let Some((SegmentName { base: offset, generation }, kind)) = parse_segment_file(name) else {
            return Fate::IsSetAside;
        };
        let cited = self.segments.get(&offset);
        match kind {
            "log" | "index" if cited == Some(&generation) => Fate::Stays,
            "snapshot" if cited.is_some() || self.rest.snapshot == Some(offset) => Fate::Stays,
            // Both can be made again from segments. A snapshot of what was cut off must not be taken for one of what followed.
            "index" | "snapshot" => Fate::Goes,
            // Begun or cut off when the process died; or wholly before the log start, and about to be removed.
            "log" if offset >= self.rest.end => Fate::Goes,
            // Compaction did not finish it, or has put another in its place.
            "log" if generation > 0 || self.is_compacted(offset) => Fate::Goes,
            "log" if offset < self.rest.oldest && self.rest.oldest <= self.rest.log_start => Fate::Goes,
            _ => Fate::IsSetAside,
        }
    }

    /// Whether the segment that holds an offset was made by compaction: those that it was made of are not needed.
    fn is_compacted(&self, offset: Offset) -> bool {
        self.segments.range(..=offset).next_back().is_some_and(|(_, generation)| *generation > 0)
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Compares the directory of a log that is being read in with what the log cites.
    pub(crate) async fn tidy(
        &self,
        id: TopicPartition,
        rest: &AtRest,
        segments: &VecDeque<Segment>,
    ) -> Result<(), StoreError> {
        if !self.tidied.borrow_mut().insert(id) {
            return Ok(());
        }
        let tidied = self.tidy_once(id, rest, segments).await;
        if tidied.is_err() {
            self.tidied.borrow_mut().remove(&id);
        }
        tidied
    }

    async fn tidy_once(
        &self,
        id: TopicPartition,
        rest: &AtRest,
        segments: &VecDeque<Segment>,
    ) -> Result<(), StoreError> {
        let dir = self.paths.partition(id);
        let listed = match self.disk.list_dir(&dir).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(|error| StoreError::Damaged(format!("{}: {error}", dir.display())))?,
        };
        let names: BTreeSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        for segment in segments.iter().filter(|segment| segment.size > FIRST_POSITION) {
            let path = self.paths.segment(id, segment.name());
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !names.contains(name) {
                let what = "a segment of the log is missing; restore it from a replica or a backup";
                return Err(StoreError::Damaged(format!("{}: {what}", path.display())));
            }
        }
        let named = segments.iter().map(|segment| (segment.base, segment.generation));
        let cited = Cited { rest, segments: named.collect() };
        let mut changed = false;
        for entry in listed.iter().filter(|entry| !entry.is_dir) {
            let path = dir.join(&entry.name);
            let done = match cited.fate(&entry.name) {
                Fate::Stays => continue,
                Fate::Goes => self.disk.remove_file(&path).await,
                Fate::IsSetAside => {
                    let aside = dir.join(format!("{}{SET_ASIDE}", entry.name));
                    tracing::warn!(
                        file = %path.display(),
                        renamed = %aside.display(),
                        "the log does not know this file: it was set aside; delete it unless you miss records, and report it"
                    );
                    self.disk.rename(&path, &aside).await
                }
            };
            changed = true;
            if let Err(error) = done {
                // It harms nobody, and the next start tries again.
                tracing::warn!(file = %path.display(), %error, "an unused file stays");
            }
        }
        // What goes stays gone: a log that has grown past it could not tell it from its own.
        if changed && let Err(error) = self.disk.sync_dir(&dir).await {
            self.disk.fatal(&format!("syncing directory {}", dir.display()), &error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_has_its_fate() {
        let rest = AtRest {
            log_start: Offset(25),
            oldest: Offset(20),
            segment: Offset(50),
            end: Offset(60),
            snapshot: Some(Offset(55)),
            ..AtRest::empty()
        };
        let cited = Cited { rest: &rest, segments: [20, 30, 50].map(|base| (Offset(base), 0)).into() };
        let name = |offset: i64, kind: &str| format!("{offset:020}.{kind}");
        for base in [20, 30, 50] {
            for kind in ["log", "index", "snapshot"] {
                assert_eq!(cited.fate(&name(base, kind)), Fate::Stays);
            }
        }
        assert_eq!(cited.fate(&name(55, "snapshot")), Fate::Stays);
        for (offset, kind) in
            [(10, "log"), (60, "log"), (70, "log"), (40, "index"), (54, "snapshot"), (61, "snapshot")]
        {
            assert_eq!(cited.fate(&name(offset, kind)), Fate::Goes, "{offset} {kind}");
        }
        assert_eq!(cited.fate(&(name(20, "snapshot") + ".tmp")), Fate::Goes);
        for unknown in [name(40, "log"), name(59, "log"), "notes".into(), "x.log".into(), name(20, "old")] {
            assert_eq!(cited.fate(&unknown), Fate::IsSetAside, "{unknown}");
            assert_eq!(cited.fate(&(unknown + SET_ASIDE)), Fate::Stays);
        }
        // Records that nobody deleted are never removed.
        let undeleted = AtRest { log_start: Offset(19), ..rest };
        let cited = Cited { rest: &undeleted, segments: [(Offset(20), 0)].into() };
        assert_eq!(cited.fate(&name(10, "log")), Fate::IsSetAside);
    }

    #[test]
    fn what_compaction_replaced_or_did_not_finish_goes() {
        let rest = AtRest { oldest: Offset(20), segment: Offset(50), end: Offset(60), ..AtRest::empty() };
        let segments = [(20, 2), (40, 0), (50, 0)].map(|(base, generation)| (Offset(base), generation));
        let cited = Cited { rest: &rest, segments: segments.into() };
        for stays in ["20-2.log", "20-2.index", "20.snapshot", "40.log", "50.index"] {
            assert_eq!(cited.fate(stays), Fate::Stays, "{stays}");
        }
        for gone in ["20.log", "20-1.log", "20-1.index", "30.log", "30.snapshot", "40-3.log", "60-1.log"] {
            assert_eq!(cited.fate(gone), Fate::Goes, "{gone}");
        }
        for unknown in ["45.log", "20-x.log"] {
            assert_eq!(cited.fate(unknown), Fate::IsSetAside, "{unknown}");
        }
    }
}
