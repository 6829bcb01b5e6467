//! Where things are in a data directory.

use std::path::{Path, PathBuf};

use model::{Offset, TopicId, TopicPartition};

use crate::journal::JournalId;
use crate::segment::SegmentName;

/// The snapshot of the coordinator on a partition.
pub(crate) const COORDINATOR: &str = "coordinator";

/// Names under one data directory.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Names under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All journals.
    pub fn journals(&self) -> PathBuf {
        self.root.join("journals")
    }

    /// One journal.
    pub fn journal(&self, id: JournalId) -> PathBuf {
        self.journals().join(id.to_string())
    }

    /// All topics.
    pub fn topics(&self) -> PathBuf {
        self.root.join("topics")
    }

    /// One topic.
    pub fn topic(&self, id: TopicId) -> PathBuf {
        self.topics().join(id.to_string())
    }

    /// One partition.
    pub fn partition(&self, id: TopicPartition) -> PathBuf {
        self.topic(id.topic).join(id.partition.to_string())
    }

    /// One segment.
    pub fn segment(&self, id: TopicPartition, name: impl Into<SegmentName>) -> PathBuf {
        self.partition(id).join(segment_file(name.into(), "log"))
    }

    /// One segment's sparse index.
    pub fn index(&self, id: TopicPartition, name: impl Into<SegmentName>) -> PathBuf {
        self.partition(id).join(segment_file(name.into(), "index"))
    }

    /// One snapshot of producers and epochs.
    pub fn snapshot(&self, id: TopicPartition, offset: Offset) -> PathBuf {
        self.partition(id).join(format!("{:020}.snapshot", offset.0))
    }

    /// What the coordinator on a partition knew.
    pub fn coordinator(&self, id: TopicPartition) -> PathBuf {
        self.partition(id).join(COORDINATOR)
    }

    /// Slot 0 or 1 of a journal's checkpoint.
    pub fn checkpoint(&self, id: JournalId, slot: u64) -> PathBuf {
        self.journal(id).join(format!("checkpoint-{slot}"))
    }

    /// File `number` of a journal's ring.
    pub fn ring_file(&self, id: JournalId, number: u32) -> PathBuf {
        self.journal(id).join(ring_file_name(number))
    }
}

fn segment_file(name: SegmentName, kind: &str) -> String {
    match name.generation {
        0 => format!("{:020}.{kind}", name.base.0),
        generation => format!("{:020}-{generation}.{kind}", name.base.0),
    }
}

/// What the name of a file in a partition's directory says: a segment, and what of it.
pub(crate) fn parse_segment_file(name: &str) -> Option<(SegmentName, &str)> {
    let (stem, kind) = name.split_once('.')?;
    let (base, generation) = match stem.split_once('-') {
        None => (stem, 0),
        Some((base, generation)) => (base, generation.parse().ok().filter(|number| *number > 0)?),
    };
    Some((SegmentName { base: Offset(base.parse().ok()?), generation }, kind))
}

/// Name of file `number` of a ring.
pub fn ring_file_name(number: u32) -> String {
    format!("ring-{number:04}")
}

/// The number in a ring file's name.
pub fn ring_file_number(name: &str) -> Option<u32> {
    name.strip_prefix("ring-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use model::TopicId;

    use super::*;

    #[test]
    fn names_of_segments_come_back() {
        let id = TopicPartition { topic: TopicId([1; 16]), partition: 0 };
        for generation in [0, 1, 77] {
            let name = SegmentName { base: Offset(42), generation };
            let path = Paths::new("/d").segment(id, name);
            let file = path.file_name().and_then(|file| file.to_str()).unwrap();
            assert_eq!(parse_segment_file(file), Some((name, "log")));
        }
        for other in ["x.log", "1", "1-.log", "1-0.log", "1-2-3.log", "coordinator"] {
            assert_eq!(parse_segment_file(other), None, "{other}");
        }
    }
}
