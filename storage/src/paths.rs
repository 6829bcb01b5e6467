//! Where things are in a data directory.

use std::path::{Path, PathBuf};

use model::{Offset, TopicId, TopicPartition};

use crate::journal::JournalId;

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
    pub fn segment(&self, id: TopicPartition, base: Offset) -> PathBuf {
        self.partition(id).join(format!("{:020}.log", base.0))
    }

    /// One segment's sparse index.
    pub fn index(&self, id: TopicPartition, base: Offset) -> PathBuf {
        self.partition(id).join(format!("{:020}.index", base.0))
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

/// Name of file `number` of a ring.
pub fn ring_file_name(number: u32) -> String {
    format!("ring-{number:04}")
}

/// The number in a ring file's name.
pub fn ring_file_number(name: &str) -> Option<u32> {
    name.strip_prefix("ring-")?.parse().ok()
}
