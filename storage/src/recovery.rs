//! Bringing every log to rest after a start: replay of all journals found, in order, straight into segments.
//!
//! It is physical redo: entries say what bytes go where, nothing is decided anew, and doing it twice is the same as once.
//! What was read back is durable before it is served. The cost follows from the journals, at most the rings, not from the data.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use model::limits::BLOCK;
use model::{Offset, TopicId, TopicPartition};

use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::checkpoint::{AtRest, Checkpoint};
use crate::derived::Derived;
use crate::disk::{Disk, File};
use crate::files::Files;
use crate::journal::entry::LAST;
use crate::journal::replay::{Frames, RecoveryError, io_error};
use crate::journal::{Entry, EntryKind, JournalId, Lsn};
use crate::load::Reader;
use crate::log::Segment;
use crate::paths::{Paths, ring_file_number};
use crate::segment::{FIRST_POSITION, Header};
use crate::snapshot::{SegmentFacts, Snapshot};
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
    before: AtRest,
    pub rest: AtRest,
    journal: Option<JournalId>,
    /// Segments begun since: (base, size of the one before, incarnation).
    rolled: Vec<(Offset, u64, u32)>,
    truncated: bool,
    gathered: Option<Gathered>,
}

struct Recovery<'a, D: Disk, T> {
    disk: &'a D,
    paths: &'a Paths,
    files: Files<D>,
    topic: T,
    logs: HashMap<TopicPartition, Recovering>,
    gathered_bytes: usize,
    dirs: BTreeSet<TopicPartition>,
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
        logs: HashMap::new(),
        gathered_bytes: 0,
        dirs: BTreeSet::new(),
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
    let mut adoptable = Vec::new();
    for dir in disk.list_dir(&all).await.map_err(io_error(&all))? {
        if !dir.name.ends_with(".retired") {
            continue;
        }
        let path = all.join(&dir.name);
        let files = disk.list_dir(&path).await.map_err(io_error(&path))?;
        let rings: Vec<_> = files.iter().filter(|file| ring_file_number(&file.name).is_some()).collect();
        if rings.is_empty() {
            disk.remove_dir(&path).await.map_err(io_error(&path))?;
        }
        adoptable.extend(rings.into_iter().map(|file| path.join(&file.name)));
    }
    Ok(adoptable)
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
                    Ok(read) if newest.as_ref().is_none_or(|newest| newest.number < read.number) => newest = Some(read),
                    Ok(_) => {}
                    Err(what) => wrong.push(format!("{}: {what}", path.display())),
                },
            }
        }
        let frames = Frames::open(self.disk, &self.paths.journal(id), id).await?;
        if newest.is_none() && frames.first_sequence() == 1 && frames.last_sequence() == 0 && wrong.len() < 2 {
            let empty = self.no_frames(id).await?;
            if empty {
                return Ok(None);
            }
        }
        newest.map(Some).ok_or_else(|| {
            let what = if wrong.is_empty() { "no checkpoint".to_string() } else { wrong.join("; ") };
            RecoveryError::Damaged(format!("journal {id} has frames but no readable checkpoint: {what}"))
        })
    }

    async fn no_frames(&self, id: JournalId) -> Result<bool, RecoveryError> {
        let mut frames = Frames::open(self.disk, &self.paths.journal(id), id).await?;
        Ok(frames.next().await?.is_none())
    }

    async fn replay(&mut self, checkpoint: &Checkpoint) -> Result<(), RecoveryError> {
        let id = checkpoint.journal;
        let mut frames = Frames::open(self.disk, &self.paths.journal(id), id).await?;
        if checkpoint.needed_from <= checkpoint.durable && frames.first_sequence() > checkpoint.needed_from {
            return Err(RecoveryError::Damaged(format!(
                "journal {id} begins at frame {}, but its checkpoint needs frame {}",
                frames.first_sequence(),
                checkpoint.needed_from
            )));
        }
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
        if checkpoint.needed_from <= checkpoint.durable && frames.last_sequence() < checkpoint.durable {
            return Err(RecoveryError::Damaged(format!(
                "journal {id} ends at frame {}, but frame {} was durable; restore it from a replica or a backup",
                frames.last_sequence(),
                checkpoint.durable
            )));
        }
        Ok(())
    }

    async fn apply(&mut self, journal: JournalId, lsn: Lsn, entry: &Entry, bytes: &[u8]) -> Result<(), RecoveryError> {
        match (self.topic)(entry.partition.topic) {
            TopicState::Live => {}
            TopicState::Deleted => return Ok(()),
            TopicState::Unknown => {
                return Err(RecoveryError::Damaged(format!(
                    "journal {journal} has records of topic {}, which the metadata does not know; restore metadata/ from a backup",
                    entry.partition.topic
                )));
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
            self.write(id, entry.segment, entry.position, bytes).await?;
        } else if matches!(entry.kind, EntryKind::Roll | EntryKind::Truncate) {
            self.flush(id).await?;
        }
        if let Some(log) = self.logs.get_mut(&id) {
            log.take(entry, len_u64(bytes.len()));
        }
        Ok(())
    }

    /// Gathers bytes that go to a segment.
    async fn write(&mut self, id: TopicPartition, segment: Offset, position: u64, bytes: &[u8]) -> Result<(), RecoveryError> {
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
        let gathered =
            log.gathered.get_or_insert_with(|| Gathered { segment, position, bytes: Vec::new() });
        gathered.bytes.extend_from_slice(bytes);
        self.gathered_bytes += bytes.len();
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<(), RecoveryError> {
        let waiting = self.logs.iter().filter(|(_, log)| log.gathered.is_some());
        let mut ids: Vec<TopicPartition> = waiting.map(|(id, _)| *id).collect();
        ids.sort_unstable();
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
        let must_exist = log.before.segment == gathered.segment && log.before.position > FIRST_POSITION;
        let header = Header { partition: id, base: gathered.segment, incarnation: log.rest.incarnation };
        let path = self.paths.segment(id, gathered.segment);
        let file = self.segment(header, must_exist).await?;
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

    /// The open file of a segment, made when it is not there and need not be.
    async fn segment(&mut self, header: Header, must_exist: bool) -> Result<Rc<D::File>, RecoveryError> {
        let id = (header.partition, header.base);
        let path = self.paths.segment(id.0, id.1);
        match self.files.get(id).await {
            Ok(file) => {
                let block = file.read(0, BLOCK).await.map_err(io_error(&path))?;
                match Header::read((*block).as_ref()) {
                    Ok(found) if found == header => return Ok(file),
                    Ok(_) => {}
                    Err(what) if must_exist => {
                        return Err(RecoveryError::Damaged(format!("{}: {what}", path.display())));
                    }
                    Err(_) => {}
                }
                self.write_header(&file, header).await?;
                Ok(file)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                let dir = self.paths.partition(id.0);
                if self.dirs.insert(id.0) {
                    self.disk.create_dir(&dir).await.map_err(io_error(&dir))?;
                }
                let file = self.files.create(id).await.map_err(io_error(&path))?;
                self.write_header(&file, header).await?;
                self.disk.sync_dir(&dir).await.map_err(io_error(&dir))?;
                Ok(file)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(RecoveryError::Damaged(format!("{}: a segment of the log is missing", path.display())))
            }
            Err(error) => Err(RecoveryError::Io(path.display().to_string(), error)),
        }
    }

    async fn write_header(&self, file: &Rc<D::File>, header: Header) -> Result<(), RecoveryError> {
        let mut block = self.disk.buffer(BLOCK);
        header.write(block.as_mut());
        let path = self.paths.segment(header.partition, header.base);
        file.write(Rc::new(block), 0).await.map_err(io_error(&path))
    }

    /// Stores snapshots of the logs whose segments changed, and gives up the rest.
    async fn finish<S: Derived>(mut self) -> Result<Recovered, RecoveryError> {
        let logs = std::mem::take(&mut self.logs);
        let ordered: BTreeMap<TopicPartition, Recovering> = logs.into_iter().collect();
        for (id, mut log) in ordered {
            if log.truncated || !log.rolled.is_empty() {
                self.rebuild::<S>(id, &mut log).await?;
            }
            log.rest.size = log.rest.size.max(log.rest.position - FIRST_POSITION);
            self.recovered.logs.push((id, log.rest));
        }
        self.files.close_all().await;
        Ok(self.recovered)
    }

    /// The snapshot at the end of a log whose segments are not those that its last one lists.
    async fn rebuild<S: Derived>(&self, id: TopicPartition, log: &mut Recovering) -> Result<(), RecoveryError> {
        let reader = Reader { disk: self.disk, paths: self.paths, files: &self.files };
        let snapshot = reader.rebuilt::<S>(id, log).await.map_err(|error| match error {
            StoreError::Damaged(what) => RecoveryError::Damaged(what),
            other => RecoveryError::Damaged(format!("{id}: {other}")),
        })?;
        let path = self.paths.snapshot(id, snapshot.at());
        if self.disk.list_dir(&self.paths.partition(id)).await.is_err() {
            let dir = self.paths.partition(id);
            self.disk.create_dir(&dir).await.map_err(io_error(&dir))?;
        }
        self.disk.replace_file(&path, snapshot.to_file()).await.map_err(io_error(&path))?;
        log.rest.snapshot = Some(snapshot.at());
        log.rest.size = snapshot.segments.iter().map(|segment| segment.size - FIRST_POSITION).sum();
        log.rest.expires = snapshot.segments.first().map_or(-1, |segment| segment.max_timestamp_ms);
        log.rest.oldest = snapshot.segments.first().map_or(log.rest.segment, |segment| Offset(segment.base));
        if log.truncated {
            self.remove_after(id, log.rest.segment).await?;
        }
        Ok(())
    }

    /// Files behind the end of a truncated log.
    async fn remove_after(&self, id: TopicPartition, active: Offset) -> Result<(), RecoveryError> {
        let dir = self.paths.partition(id);
        for entry in self.disk.list_dir(&dir).await.map_err(io_error(&dir))? {
            let base = entry.name.strip_suffix(".log").and_then(|base| base.parse().ok()).map(Offset);
            if let Some(base) = base.filter(|base| *base > active) {
                self.files.remove((id, base)).await.map_err(io_error(&dir))?;
            }
        }
        Ok(())
    }
}

impl Recovering {
    fn new(rest: AtRest, journal: Option<JournalId>) -> Self {
        Self { before: rest, rest, journal, rolled: Vec::new(), truncated: false, gathered: None }
    }

    /// A log at rest that is cut back to `rest`.
    pub fn truncated(before: AtRest, rest: AtRest) -> Self {
        Self { rest, truncated: true, ..Self::new(before, None) }
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
                self.rolled.retain(|(base, ..)| *base < entry.segment);
                self.rolled.push((entry.segment, rest.position, rest.incarnation));
                rest.segment = entry.segment;
                rest.position = FIRST_POSITION;
            }
            EntryKind::LogStart => rest.log_start = rest.log_start.max(entry.base_offset),
            EntryKind::EpochStart => rest.leader_epoch = rest.leader_epoch.max(entry.leader_epoch),
            EntryKind::Truncate => {
                self.truncated = true;
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

impl<D: Disk> Reader<'_, D> {
    /// The log's snapshot at its end, from its segments.
    pub(crate) async fn rebuilt<S: Derived>(
        &self,
        id: TopicPartition,
        log: &Recovering,
    ) -> Result<Snapshot, StoreError> {
        let facts = match log.before.snapshot {
            Some(offset) => self.snapshot(id, offset).await?.segments,
            None => vec![Segment::new(log.before.segment, log.before.incarnation).facts()],
        };
        let rest = &log.rest;
        let mut segments: Vec<Segment> = Vec::new();
        for facts in facts.iter().filter(|facts| facts.base >= log.before.oldest.0 && facts.base <= rest.segment.0) {
            let mut segment = Segment::new(Offset(facts.base), facts.incarnation);
            segment.max_timestamp_ms = facts.max_timestamp_ms;
            segment.size = facts.size;
            segments.push(segment);
        }
        for (base, before_size, incarnation) in &log.rolled {
            if let Some(last) = segments.iter_mut().rfind(|segment| segment.base < *base) {
                last.size = *before_size;
            }
            if segments.iter().all(|segment| segment.base != *base) {
                segments.push(Segment::new(*base, *incarnation));
            }
        }
        if let Some(active) = segments.last_mut() {
            active.size = rest.position;
        }
        let (mut derived, from) = self.derived_before::<S>(id, log, &segments).await;
        for segment in segments.iter_mut().filter(|segment| segment.base.0 >= from.base) {
            let size = segment.size;
            let known = segment.base.0 == from.base;
            segment.size = if known { from.size } else { FIRST_POSITION };
            segment.max_timestamp_ms = if known { from.max_timestamp_ms } else { -1 };
            segment.index = None;
            self.scan(id, segment, size, |header, offset| derived.observe(header, offset, header.leader_epoch())).await?;
        }
        Ok(Snapshot {
            offset: rest.end.0,
            segments: segments.iter().map(Segment::facts).collect(),
            derived: derived.snapshot(),
        })
    }

    /// A derived state to scan on from: the newest snapshot that the log's end does not cut off, else the oldest segment.
    async fn derived_before<S: Derived>(
        &self,
        id: TopicPartition,
        log: &Recovering,
        segments: &[Segment],
    ) -> (S, SegmentFacts) {
        let cited = log.before.snapshot.filter(|offset| *offset <= log.rest.end && !log.truncated);
        let bases = segments.iter().rev().map(|segment| segment.base);
        for offset in cited.into_iter().chain(bases) {
            if let Ok(snapshot) = self.snapshot(id, offset).await
                && snapshot.offset <= log.rest.end.0
                && let Some(last) = snapshot.segments.last()
            {
                let mut derived = S::empty();
                derived.restore(&snapshot.derived);
                return (derived, *last);
            }
        }
        let oldest = segments.first().map_or(log.rest.segment, |segment| segment.base);
        (S::empty(), Segment::new(oldest, 0).facts())
    }
}
