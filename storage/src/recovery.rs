//! Bringing every log to rest after a start: replay of all journals found, in order, straight into segments.
//!
//! It is physical redo: entries say what bytes go where, nothing is decided anew, and doing it twice is the same as once.
//! What was read back is durable before it is served. The cost follows from the journals, at most the rings, not from the data.

mod extent;
mod log;
mod retire;
mod segments;

use std::collections::{BTreeMap, BTreeSet};

use model::limits::BLOCK;
use model::{Offset, TopicId, TopicPartition};

use crate::bytes_at::len_u64;
use crate::checkpoint::{AtRest, CLOSED, Checkpoint};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::files::{Files, SegmentId};
use crate::files_behind::files_behind;
use crate::journal::entry::of_file_word;
use crate::journal::replay::{Frames, RecoveryError, io_error};
use crate::journal::{Entry, EntryKind, JournalId, Lsn};
use crate::load::Reader;
use crate::paths::Paths;
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::StoreError;
use extent::Stands;

pub(crate) use log::Recovering;
pub use retire::{remove_topic, retire};

/// What the metadata knows of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicState {
    /// It exists.
    Live,
    /// A tombstone says that it was deleted.
    Deleted,
    /// Nothing: metadata was lost, and its data must not be.
    Unknown,
}

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every log that was ever written to, at rest.
    pub logs: Vec<(TopicPartition, AtRest)>,
    /// Journals that are no longer needed once new ones are open: pass them to [`retire`].
    pub journals: Vec<JournalId>,
    /// Entries applied.
    pub entries: u64,
    /// Bytes of journal read.
    pub bytes: u64,
}

/// A checkpoint file is never larger: 2^20 logs.
const CHECKPOINT_BYTES_MAX: usize = (1 << 27) + BLOCK;

struct Recovery<'a, D: Disk, T> {
    disk: &'a D,
    paths: &'a Paths,
    files: Files<D>,
    topic: T,
    logs: BTreeMap<TopicPartition, Recovering>,
    gathered_bytes: usize,
    /// Segments whose names are durable.
    named: BTreeSet<SegmentId>,
    /// Partitions of topics that the metadata does not know, with entries that no later one has disowned yet.
    strange: BTreeSet<TopicPartition>,
    recovered: Recovered,
}

/// Replays all journals under `paths`. Durable on return; nothing was acknowledged that is not in `logs`.
pub async fn recover<D: Disk, S: Derived>(
    disk: &D,
    paths: &Paths,
    topic: impl Fn(TopicId) -> TopicState,
) -> Result<Recovered, RecoveryError> {
    let files = Files::new(disk.clone(), paths.clone(), 512);
    let mut recovery = Recovery {
        disk,
        paths,
        files,
        topic,
        logs: BTreeMap::new(),
        gathered_bytes: 0,
        named: BTreeSet::new(),
        strange: BTreeSet::new(),
        recovered: Recovered::default(),
    };
    recovery.check_topics().await?;
    let journals = recovery.read_checkpoints().await?;
    for checkpoint in &journals {
        recovery.replay(checkpoint).await?;
    }
    recovery.flush_all().await?;
    if recovery.recovered.entries > 0 {
        disk.sync_all().await.map_err(io_error(paths.root()))?;
    }
    recovery.finish::<S>().await
}

impl<D: Disk, T: Fn(TopicId) -> TopicState> Recovery<'_, D, T> {
    /// A topic directory that the metadata does not know stops the start: losing `metadata/` must not delete data.
    async fn check_topics(&self) -> Result<(), RecoveryError> {
        let dir = self.paths.topics();
        let listed = match self.disk.list_dir(&dir).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            listed => listed.map_err(io_error(&dir))?,
        };
        for entry in listed.iter().filter(|entry| entry.is_dir) {
            let known = TopicId::from_hex(&entry.name).map(&self.topic);
            if known.is_none_or(|state| state == TopicState::Unknown) {
                return Err(RecoveryError::Damaged(format!(
                    "{}: the metadata knows no such topic; restore metadata/ from a backup, or move this directory away to give \
                     its data up",
                    dir.join(&entry.name).display()
                )));
            }
        }
        Ok(())
    }

    /// Finds the journals and where each says its logs are at rest; the newest owner's word counts.
    async fn read_checkpoints(&mut self) -> Result<Vec<Checkpoint>, RecoveryError> {
        let dir = self.paths.journals();
        let listed = match self.disk.list_dir(&dir).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(io_error(&dir))?,
        };
        let mut checkpoints = Vec::new();
        for entry in listed {
            let Some(id) = JournalId::from_hex(&entry.name) else { continue };
            self.recovered.journals.push(id);
            if let Some(checkpoint) = self.newest_checkpoint(id).await? {
                checkpoints.push(checkpoint);
            }
        }
        for checkpoint in &checkpoints {
            for (id, rest) in &checkpoint.logs {
                if (self.topic)(id.topic) != TopicState::Live {
                    continue;
                }
                let known = self.logs.get(id);
                if known.is_none_or(|known| known.rest.ownership < rest.ownership) {
                    self.logs.insert(*id, Recovering::new(*rest, Some(checkpoint.journal)));
                }
            }
        }
        // Journals of earlier boots come first.
        checkpoints.sort_by_key(|checkpoint| checkpoint.logs.iter().map(|(_, rest)| rest.ownership).max());
        Ok(checkpoints)
    }

    /// `None` for a journal that was never opened: its first checkpoint is what opens it.
    async fn newest_checkpoint(&self, id: JournalId) -> Result<Option<Checkpoint>, RecoveryError> {
        let mut newest: Option<Checkpoint> = None;
        let mut wrong = Vec::new();
        for slot in 0..2 {
            let path = self.paths.checkpoint(id, slot);
            match self.disk.read_file(&path, CHECKPOINT_BYTES_MAX).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(RecoveryError::Io(path.display().to_string(), error)),
                Ok(bytes) => match Checkpoint::from_bytes(&bytes) {
                    Ok(read) if newest.as_ref().is_none_or(|newest| newest.number < read.number) => {
                        newest = Some(read)
                    }
                    Ok(_) => {}
                    Err(what) => wrong.push(format!("{}: {what}", path.display())),
                },
            }
        }
        if newest.is_none() && wrong.len() < 2 && self.no_frames(id).await? {
            return Ok(None);
        }
        newest.map(Some).ok_or_else(|| {
            let what = if wrong.is_empty() { "no checkpoint".to_string() } else { wrong.join("; ") };
            RecoveryError::Damaged(format!("journal {id} has frames but no readable checkpoint: {what}"))
        })
    }

    async fn no_frames(&self, id: JournalId) -> Result<bool, RecoveryError> {
        let mut frames = Frames::open(self.disk, &self.paths.journal(id), id, 1).await?;
        Ok(frames.next().await?.is_none())
    }

    async fn replay(&mut self, checkpoint: &Checkpoint) -> Result<(), RecoveryError> {
        if checkpoint.needed_from == CLOSED {
            return Ok(());
        }
        let id = checkpoint.journal;
        let mut frames = Frames::open(self.disk, &self.paths.journal(id), id, checkpoint.needed_from).await?;
        while let Some(frame) = frames.next().await? {
            self.recovered.bytes += u64::from(frame.header.length);
            let mut found = self.look_ahead(id, &frame).await?;
            let mut rest = frame.payload();
            for index in 0..frame.header.entries {
                let Some((entry, bytes, after)) = Entry::read(rest) else {
                    return Err(RecoveryError::Damaged(format!(
                        "journal {id}: entry {index} of frame {} is malformed",
                        frame.header.sequence
                    )));
                };
                let lsn = Lsn { sequence: frame.header.sequence, entry: index };
                self.apply(id, lsn, &entry, bytes, found.remove(&index)).await?;
                rest = after;
            }
        }
        frames.check_end().await?;
        if frames.last_sequence() < checkpoint.durable {
            return Err(RecoveryError::Damaged(format!(
                "journal {id} ends at frame {}, but frame {} was durable; restore it from a replica or a backup",
                frames.last_sequence(),
                checkpoint.durable
            )));
        }
        self.judge_extents(frames.durable_sequence().max(checkpoint.durable))?;
        match self.strange.first() {
            None => Ok(()),
            Some(stranger) => Err(RecoveryError::Damaged(format!(
                "journal {id} has records of {stranger}, whose topic the metadata does not know; restore metadata/ from a backup"
            ))),
        }
    }

    async fn apply(
        &mut self,
        journal: JournalId,
        lsn: Lsn,
        entry: &Entry,
        bytes: &[u8],
        found: Option<Stands>,
    ) -> Result<(), RecoveryError> {
        match (self.topic)(entry.partition.topic) {
            TopicState::Live if entry.kind != EntryKind::Delete => {}
            TopicState::Unknown if entry.kind != EntryKind::Delete => {
                self.strange.insert(entry.partition);
                return Ok(());
            }
            _ => {
                self.strange.remove(&entry.partition);
                return Ok(());
            }
        }
        let id = entry.partition;
        let log = self.logs.entry(id).or_insert_with(|| Recovering::new(AtRest::empty(), None));
        if log.is_past(journal, lsn, entry) {
            return Ok(());
        }
        log.journal = Some(journal);
        log.rest.ownership = entry.ownership;
        log.rest.handled = lsn;
        self.recovered.entries += 1;
        let mut len = len_u64(bytes.len());
        if matches!(entry.kind, EntryKind::Append | EntryKind::Fragment | EntryKind::Redo) {
            if entry.kind == EntryKind::Redo && entry.position == FIRST_POSITION {
                self.begin_again(id, entry).await?;
            }
            let name = self.logs.get(&id).map_or(entry.segment.into(), |log| log.name(entry));
            self.write(id, name, entry.position, bytes).await?;
        } else if entry.kind == EntryKind::Extent {
            len = self.extent(journal, lsn, entry, bytes, found).await?;
        } else if matches!(entry.kind, EntryKind::Roll | EntryKind::Truncate) {
            self.flush(id).await?;
        }
        if let Some(log) = self.logs.get_mut(&id) {
            log.take(entry, len);
        }
        Ok(())
    }

    /// A segment's bytes from its first on were copied forward: there may be no file of it at all.
    async fn begin_again(&mut self, id: TopicPartition, entry: &Entry) -> Result<(), RecoveryError> {
        self.flush(id).await?;
        let (incarnation, generation) = of_file_word(entry.base_offset);
        self.segment(id, SegmentName { base: entry.segment, generation }, Some(incarnation)).await?;
        if let Some(log) = self.logs.get_mut(&id).filter(|log| log.before.segment == entry.segment) {
            log.headless = false;
        }
        Ok(())
    }

    /// Stores snapshots of the logs whose segments changed, and gives up the rest.
    async fn finish<S: Derived>(mut self) -> Result<Recovered, RecoveryError> {
        for (id, mut log) in std::mem::take(&mut self.logs) {
            // A recovery before this one may already have removed what a truncation leaves behind.
            if log.headless && log.cut.is_none_or(|(_, segment)| segment >= log.before.segment) {
                let path = self.paths.segment(id, log.before.active());
                let what =
                    "the segment is missing or its header damaged; restore it from a replica or a backup";
                return Err(RecoveryError::Damaged(format!("{}: {what}", path.display())));
            }
            if log.cut.is_some() || !log.rolled.is_empty() {
                self.rebuild::<S>(id, &mut log).await?;
            } else {
                log.rest.size = (log.rest.size + log.rest.position).saturating_sub(log.before.position);
            }
            self.recovered.logs.push((id, log.rest));
        }
        self.files.close_all().await;
        Ok(self.recovered)
    }

    /// The snapshot at the end of a log whose segments are not those that its last one lists.
    async fn rebuild<S: Derived>(
        &self,
        id: TopicPartition,
        log: &mut Recovering,
    ) -> Result<(), RecoveryError> {
        let dir = self.paths.partition(id);
        self.disk.create_dir(&dir).await.map_err(io_error(&dir))?;
        let reader = Reader { disk: self.disk, paths: self.paths, files: &self.files };
        let rebuilt = reader.rebuilt::<S>(id, log).await.map_err(|error| match error {
            StoreError::Damaged(what) => RecoveryError::Damaged(what),
            other => RecoveryError::Damaged(format!("{id}: {other}")),
        })?;
        let snapshot = rebuilt.snapshot;
        let path = self.paths.snapshot(id, snapshot.at());
        self.disk.replace_file(&path, snapshot.to_file()).await.map_err(io_error(&path))?;
        log.rest.snapshot = Some(snapshot.at());
        log.rest.segment_incarnation = rebuilt.incarnation;
        log.rest.size = snapshot.segments.iter().map(|segment| segment.size - FIRST_POSITION).sum();
        log.rest.expires = snapshot.segments.first().map_or(-1, |segment| segment.max_timestamp_ms);
        log.rest.oldest = snapshot.segments.first().map_or(log.rest.segment, |segment| Offset(segment.base));
        if log.cut.is_some() {
            let behind = files_behind(self.disk, self.paths, id, log.rest.segment, log.rest.end).await;
            for name in behind.map_err(io_error(&dir))?.segments {
                self.files.remove((id, name)).await.map_err(io_error(&dir))?;
            }
            // Before the log grows past where they were. Snapshots there go when it is first touched: until there is a new
            // checkpoint, the old one may cite one of them.
            self.disk.sync_dir(&dir).await.map_err(io_error(&dir))?;
        }
        Ok(())
    }
}
