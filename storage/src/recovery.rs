//! Bringing every log to rest after a start: replay of all journals found, in order, straight into segments.
//!
//! It is physical redo: entries say what bytes go where, nothing is decided anew, and doing it twice is the same as once.
//! What was read back is durable before it is served. The cost follows from the journals, at most the rings, not from the data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use model::limits::BLOCK;
use model::{Offset, TopicId, TopicPartition};

use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::checkpoint::{AtRest, CLOSED, Checkpoint};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::files::{Files, SegmentId};
use crate::journal::entry::LAST;
use crate::journal::replay::{Frames, RecoveryError, io_error};
use crate::journal::ring::read_header;
use crate::journal::{Entry, EntryKind, JournalId, Lsn};
use crate::load::{Reader, files_behind};
use crate::paths::{Paths, ring_file_number};
use crate::segment::{FIRST_POSITION, Header};
use crate::store::StoreError;

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

/// Bytes gathered for one partition before they are written...
const GATHER_BYTES: usize = 1 << 20;
/// ...and for all.
const GATHER_TOTAL_BYTES: usize = 64 << 20;
/// A checkpoint file is never larger: 2^20 logs.
const CHECKPOINT_BYTES_MAX: usize = (1 << 27) + BLOCK;

/// Bytes of a segment that are contiguous and not written yet.
struct Gathered {
    segment: Offset,
    position: u64,
    bytes: Vec<u8>,
}

/// One log on its way to rest.
pub(crate) struct Recovering {
    /// As the checkpoint had it.
    pub before: AtRest,
    pub rest: AtRest,
    journal: Option<JournalId>,
    /// Segments begun since: (base, size of the one before, incarnation).
    pub rolled: Vec<(Offset, u64, u32)>,
    /// The lowest point at which the log was cut off since: (end, segment).
    pub cut: Option<(Offset, Offset)>,
    /// The checkpoint's active segment was not there, and nothing has filled its beginning yet. What was copied forward does.
    headless: bool,
    gathered: Option<Gathered>,
}

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

/// Puts ended journals out of use, in one step each, and returns the ring files that may be taken over.
pub async fn retire<D: Disk>(
    disk: &D,
    paths: &Paths,
    journals: &[JournalId],
) -> Result<Vec<PathBuf>, RecoveryError> {
    let all = paths.journals();
    for id in journals {
        let from = paths.journal(*id);
        disk.rename(&from, &all.join(format!("{id}.retired"))).await.map_err(io_error(&from))?;
    }
    disk.sync_dir(&all).await.map_err(io_error(&all))?;
    let mut adoptable = BTreeMap::new();
    for dir in disk.list_dir(&all).await.map_err(io_error(&all))? {
        if !dir.name.ends_with(".retired") {
            continue;
        }
        let path = all.join(&dir.name);
        let files = disk.list_dir(&path).await.map_err(io_error(&path))?;
        let mut kept = 0;
        for file in files.iter().filter(|file| ring_file_number(&file.name).is_some()) {
            let path = path.join(&file.name);
            // A power cut may have left one file under two names: the name of the ring it came from, and that of the one it
            // joined. It is taken over once. One without a header was never used.
            match ring_header(disk, &path).await? {
                Some(header) if !adoptable.contains_key(&header) => {
                    adoptable.insert(header, path);
                    kept += 1;
                }
                _ => disk.remove_file(&path).await.map_err(io_error(&path))?,
            }
        }
        if kept == 0 {
            disk.remove_dir(&path).await.map_err(io_error(&path))?;
        }
    }
    Ok(adoptable.into_values().collect())
}

/// Removes what is left of a deleted topic, durably: its tombstone may go after that. Every shard has deleted it before.
pub async fn remove_topic<D: Disk>(disk: &D, paths: &Paths, topic: TopicId) -> std::io::Result<()> {
    disk.remove_dir(&paths.topic(topic)).await?;
    match disk.sync_dir(&paths.topics()).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn ring_header<D: Disk>(disk: &D, path: &Path) -> Result<Option<(JournalId, u32)>, RecoveryError> {
    let file = disk.open(path).await.map_err(io_error(path))?;
    let block = file.read(0, BLOCK).await.map_err(io_error(path))?;
    file.close().await.map_err(io_error(path))?;
    Ok(read_header((*block).as_ref()).ok())
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
            let mut rest = frame.payload();
            for index in 0..frame.header.entries {
                let Some((entry, bytes, after)) = Entry::read(rest) else {
                    return Err(RecoveryError::Damaged(format!(
                        "journal {id}: entry {index} of frame {} is malformed",
                        frame.header.sequence
                    )));
                };
                let lsn = Lsn { sequence: frame.header.sequence, entry: index };
                self.apply(id, lsn, &entry, bytes).await?;
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
        let newer_owner = log.rest.ownership > entry.ownership;
        let handled = log.journal == Some(journal) && lsn <= log.rest.handled;
        if newer_owner || handled {
            return Ok(());
        }
        log.journal = Some(journal);
        log.rest.ownership = entry.ownership;
        log.rest.handled = lsn;
        self.recovered.entries += 1;
        if matches!(entry.kind, EntryKind::Append | EntryKind::Fragment | EntryKind::Redo) {
            if entry.kind == EntryKind::Redo && entry.position == FIRST_POSITION {
                self.begin_again(id, entry).await?;
            }
            self.write(id, entry.segment, entry.position, bytes).await?;
        } else if matches!(entry.kind, EntryKind::Roll | EntryKind::Truncate) {
            self.flush(id).await?;
        }
        if let Some(log) = self.logs.get_mut(&id) {
            log.take(entry, len_u64(bytes.len()));
        }
        Ok(())
    }

    /// A segment's bytes from its first on were copied forward: there may be no file of it at all.
    async fn begin_again(&mut self, id: TopicPartition, entry: &Entry) -> Result<(), RecoveryError> {
        self.flush(id).await?;
        let incarnation = u32::try_from(entry.base_offset.0).unwrap_or(u32::MAX);
        self.segment(id, entry.segment, Some(incarnation)).await?;
        if let Some(log) = self.logs.get_mut(&id).filter(|log| log.before.segment == entry.segment) {
            log.headless = false;
        }
        Ok(())
    }

    /// Gathers bytes that go to a segment.
    async fn write(
        &mut self,
        id: TopicPartition,
        segment: Offset,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), RecoveryError> {
        let Some(log) = self.logs.get_mut(&id) else { return Ok(()) };
        let follows = log.gathered.as_ref().is_some_and(|gathered| {
            gathered.segment == segment
                && gathered.position + len_u64(gathered.bytes.len()) == position
                && gathered.bytes.len() + bytes.len() <= GATHER_BYTES
        });
        if !follows {
            self.flush(id).await?;
        }
        if self.gathered_bytes > GATHER_TOTAL_BYTES {
            self.flush_all().await?;
        }
        let Some(log) = self.logs.get_mut(&id) else { return Ok(()) };
        let gathered = log.gathered.get_or_insert_with(|| Gathered { segment, position, bytes: Vec::new() });
        gathered.bytes.extend_from_slice(bytes);
        self.gathered_bytes += bytes.len();
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<(), RecoveryError> {
        let waiting = self.logs.iter().filter(|(_, log)| log.gathered.is_some());
        let ids: Vec<TopicPartition> = waiting.map(|(id, _)| *id).collect();
        for id in ids {
            self.flush(id).await?;
        }
        Ok(())
    }

    /// Writes what was gathered, whole blocks, keeping what the segment has around it.
    async fn flush(&mut self, id: TopicPartition) -> Result<(), RecoveryError> {
        let Some(log) = self.logs.get_mut(&id) else { return Ok(()) };
        let Some(gathered) = log.gathered.take() else { return Ok(()) };
        self.gathered_bytes -= gathered.bytes.len();
        let path = self.paths.segment(id, gathered.segment);
        let incarnation = log.begun(gathered.segment);
        let file = self.segment(id, gathered.segment, incarnation).await?;
        let start = block_down(gathered.position);
        let end = gathered.position + len_u64(gathered.bytes.len());
        let mut buffer = self.disk.buffer(to_usize(block_up(end) - start));
        let out = buffer.as_mut();
        for block in [start, block_down(end)] {
            let at = to_usize(block - start);
            if at < out.len() {
                let have = file.read(block, BLOCK).await.map_err(io_error(&path))?;
                let have: &[u8] = (*have).as_ref();
                out[at..at + BLOCK].fill(0);
                out[at..at + have.len()].copy_from_slice(have);
            }
        }
        let at = to_usize(gathered.position - start);
        out[at..at + gathered.bytes.len()].copy_from_slice(&gathered.bytes);
        file.write(Rc::new(buffer), start).await.map_err(io_error(&path))
    }

    /// The open file of a segment. `incarnation` is what it has to be when the file was begun since the checkpoint: then it is
    /// made anew unless it is that.
    async fn segment(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        incarnation: Option<u32>,
    ) -> Result<Rc<D::File>, RecoveryError> {
        let id = (partition, base);
        let path = self.paths.segment(partition, base);
        let damaged = |what: &str| Err(RecoveryError::Damaged(format!("{}: {what}", path.display())));
        // Names that a killed process left are there, but not yet for good.
        let unsure = incarnation.is_some() && self.named.insert(id);
        let dir = self.paths.partition(partition);
        let file = match self.files.get(id).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if incarnation.is_none() {
                    return damaged("a segment of the log is missing");
                }
                self.disk.create_dir(&dir).await.map_err(io_error(&dir))?;
                self.files.create(id).await.map_err(io_error(&path))?
            }
            opened => opened.map_err(io_error(&path))?,
        };
        let block = file.read(0, BLOCK).await.map_err(io_error(&path))?;
        match (Header::read((*block).as_ref()), incarnation) {
            (Ok(found), None) if found.partition == partition && found.base == base => {}
            (Ok(_), None) => return damaged("the header is of another segment"),
            (Err(what), None) => return damaged(&what),
            (Ok(found), Some(incarnation)) if found == (Header { partition, base, incarnation }) => {}
            // New, torn, or left over from before a truncation.
            (_, Some(incarnation)) => {
                self.make_header(&file, Header { partition, base, incarnation }).await?
            }
        }
        if unsure {
            self.disk.sync_dir(&dir).await.map_err(io_error(&dir))?;
        }
        Ok(file)
    }

    async fn make_header(&mut self, file: &Rc<D::File>, header: Header) -> Result<(), RecoveryError> {
        if let Some(log) = self.logs.get_mut(&header.partition) {
            log.headless |= log.before.segment == header.base && log.before.position > FIRST_POSITION;
        }
        let mut block = self.disk.buffer(BLOCK);
        header.write(block.as_mut());
        let path = self.paths.segment(header.partition, header.base);
        file.write(Rc::new(block), 0).await.map_err(io_error(&path))
    }

    /// Stores snapshots of the logs whose segments changed, and gives up the rest.
    async fn finish<S: Derived>(mut self) -> Result<Recovered, RecoveryError> {
        for (id, mut log) in std::mem::take(&mut self.logs) {
            // A recovery before this one may already have removed what a truncation leaves behind.
            if log.headless && log.cut.is_none_or(|(_, segment)| segment >= log.before.segment) {
                let path = self.paths.segment(id, log.before.segment);
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
            for base in behind.map_err(io_error(&dir))?.segments {
                self.files.remove((id, base)).await.map_err(io_error(&dir))?;
            }
            // Before the log grows past where they were. Snapshots there go when it is first touched: until there is a new
            // checkpoint, the old one may cite one of them.
            self.disk.sync_dir(&dir).await.map_err(io_error(&dir))?;
        }
        Ok(())
    }
}

impl Recovering {
    fn new(rest: AtRest, journal: Option<JournalId>) -> Self {
        Self { before: rest, rest, journal, rolled: Vec::new(), cut: None, headless: false, gathered: None }
    }

    /// A log at rest that is cut back to `rest`.
    pub fn truncated(before: AtRest, rest: AtRest) -> Self {
        Self { rest, cut: Some((rest.end, rest.segment)), ..Self::new(before, None) }
    }

    /// The incarnation of a segment that may have been begun since the checkpoint; `None`: it is older.
    fn begun(&self, base: Offset) -> Option<u32> {
        let rolled = self.rolled.iter().rfind(|(rolled, ..)| *rolled == base);
        let active = (self.before.segment == base).then_some(self.before.segment_incarnation);
        rolled.map(|(.., incarnation)| *incarnation).or(active)
    }

    /// What an entry does to where the log stands.
    fn take(&mut self, entry: &Entry, len: u64) {
        let rest = &mut self.rest;
        match entry.kind {
            EntryKind::Fragment if entry.flags & LAST == 0 => {}
            EntryKind::Append | EntryKind::Fragment => {
                rest.end = entry.end_offset;
                rest.segment = entry.segment;
                rest.position = entry.position + len;
            }
            EntryKind::Redo => {}
            EntryKind::Roll => {
                self.rolled.push((entry.segment, rest.position, rest.incarnation));
                rest.segment = entry.segment;
                rest.position = FIRST_POSITION;
            }
            EntryKind::Delete => {}
            EntryKind::LogStart => rest.log_start = rest.log_start.max(entry.base_offset),
            EntryKind::EpochStart => rest.leader_epoch = rest.leader_epoch.max(entry.leader_epoch),
            EntryKind::Truncate => {
                let cut = (entry.end_offset, entry.segment);
                self.cut = Some(self.cut.map_or(cut, |before| before.min(cut)));
                self.rolled.retain(|(base, ..)| *base <= entry.segment);
                rest.end = entry.end_offset;
                rest.segment = entry.segment;
                rest.position = entry.position;
                rest.log_start = rest.log_start.min(entry.end_offset);
                rest.incarnation = u32::try_from(entry.base_offset.0).unwrap_or(u32::MAX);
            }
        }
    }
}
