//! Entries whose bytes stand in the segment already: are they there?
//!
//! When they are not, one of three is the case, and only the rest of the journal tells which. A later truncation cut them off, and a
//! start that was interrupted has gone on from there. Or the commit was torn: no later frame knows it as durable, nobody was told of
//! it, and what the same commit says of the log behind it goes too. Or else it is damage.
//!
//! Nothing else may have changed them: retention and deletion wait for a checkpoint that no longer needs the entry, as do
//! appends behind a truncation; extents do not overlap.

use std::collections::BTreeMap;

use model::limits::SEGMENT_READ_BYTES;
use model::{Offset, TopicPartition};

use super::{Recovering, Recovery, TopicState};
use crate::bytes_at::{len_u64, to_usize};
use crate::checkpoint::AtRest;
use crate::disk::{Disk, File, together};
use crate::journal::extent::Claim;
use crate::journal::replay::{Frame, RecoveryError, io_error};
use crate::journal::{Entry, EntryKind, JournalId, Lsn};
use crate::segment::{Cursor, Header, SegmentName};

/// What a segment has in some place.
#[derive(Clone, Copy)]
pub(super) struct Stands {
    header: Header,
    /// Of the bytes there.
    crc: u32,
}

/// A log as it was before an extent that is not there.
pub(crate) struct Suspect {
    /// The frame that speaks of it.
    sequence: u64,
    /// Where its appends begin.
    start: Cursor,
    rest: AtRest,
    rolled: Vec<(Offset, u64, u32)>,
    cut: Option<(Offset, Offset)>,
    /// What is wrong, and where.
    what: String,
}

impl<D: Disk, T: Fn(model::TopicId) -> TopicState> Recovery<'_, D, T> {
    /// Looks whether the segment has what the entry says. Returns how many bytes of appends that are.
    pub(super) async fn extent(
        &mut self,
        journal: JournalId,
        lsn: Lsn,
        entry: &Entry,
        payload: &[u8],
        found: Option<Stands>,
    ) -> Result<u64, RecoveryError> {
        let id = entry.partition;
        let Some(claim) = Claim::read(entry, payload) else {
            return Err(RecoveryError::Damaged(format!(
                "journal {journal}: entry {} of frame {} makes no sense",
                lsn.entry, lsn.sequence
            )));
        };
        let start = Cursor { segment: entry.segment, position: entry.position };
        let name = self.logs.get(&id).map_or(entry.segment.into(), |log| log.name(entry));
        if self.is_own(id, name, claim, found) {
            let begun = self.logs.get(&id).and_then(|log| log.begun(entry.segment));
            self.segment(id, name, begun).await?;
            self.supersede(id, start, claim.from);
        } else if let Some(log) = self.logs.get_mut(&id)
            && log.suspect.is_none()
        {
            let path = self.paths.segment(id, name);
            let what = format!(
                "{} at byte {}: the {} bytes that frame {} of journal {journal} tells of are not there",
                path.display(),
                claim.from,
                claim.to - claim.from,
                lsn.sequence
            );
            let (rolled, cut) = (log.rolled.clone(), log.cut);
            log.suspect =
                Some(Box::new(Suspect { sequence: lsn.sequence, start, rest: log.rest, rolled, cut, what }));
        }
        Ok(claim.to - entry.position)
    }

    /// Reads what stands where the extents of one frame should, by the index of their entries, all at the same time: one after the
    /// other they take several times as long. Nothing before them in their commit changes what stands there.
    pub(super) async fn look_ahead(
        &self,
        journal: JournalId,
        frame: &Frame<D::Buffer>,
    ) -> Result<BTreeMap<u32, Stands>, RecoveryError> {
        let (mut indexes, mut reads) = (Vec::new(), Vec::new());
        let mut rest = frame.payload();
        for index in 0..frame.header.entries {
            let Some((entry, payload, after)) = Entry::read(rest) else { break };
            rest = after;
            let lsn = Lsn { sequence: frame.header.sequence, entry: index };
            let live = (self.topic)(entry.partition.topic) == TopicState::Live;
            let handled =
                self.logs.get(&entry.partition).is_some_and(|log| log.is_past(journal, lsn, &entry));
            if entry.kind != EntryKind::Extent || !live || handled {
                continue;
            }
            if let Some(claim) = Claim::read(&entry, payload) {
                let log = self.logs.get(&entry.partition);
                let name = log.map_or(entry.segment.into(), |log| log.name(&entry));
                indexes.push(index);
                reads.push(Box::pin(self.stands(entry.partition, name, claim)));
            }
        }
        let mut found = BTreeMap::new();
        for (index, stands) in indexes.into_iter().zip(together(reads).await) {
            found.extend(stands?.map(|stands| (index, stands)));
        }
        Ok(found)
    }

    /// What a segment has where these blocks should be; `None` when it has no such place.
    async fn stands(
        &self,
        id: TopicPartition,
        name: SegmentName,
        claim: Claim,
    ) -> Result<Option<Stands>, RecoveryError> {
        let path = self.paths.segment(id, name);
        let file = match self.files.get((id, name)).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io_error(&path))?,
        };
        let block = file.read(0, model::limits::BLOCK).await.map_err(io_error(&path))?;
        let Ok(header) = Header::read((*block).as_ref()) else { return Ok(None) };
        let mut crc = crc32fast::Hasher::new();
        let mut at = claim.from;
        while at < claim.to {
            let len = to_usize((claim.to - at).min(len_u64(SEGMENT_READ_BYTES)));
            let bytes = file.read(at, len).await.map_err(io_error(&path))?;
            let bytes: &[u8] = (*bytes).as_ref();
            if bytes.len() < len {
                return Ok(None);
            }
            crc.update(bytes);
            at += len_u64(len);
        }
        Ok(Some(Stands { header, crc: crc.finalize() }))
    }

    /// Whether that is what was claimed, in the log's very segment.
    fn is_own(&self, id: TopicPartition, name: SegmentName, claim: Claim, stands: Option<Stands>) -> bool {
        let begun = self.logs.get(&id).and_then(|log| log.begun(name.base));
        stands.is_some_and(|Stands { header, crc }| {
            header.partition == id
                && header.name() == name
                && begun.is_none_or(|incarnation| header.incarnation == incarnation)
                && crc == claim.crc
        })
    }

    /// The block that an extent begins in is whole in the segment: what was gathered of it is not written over that.
    fn supersede(&mut self, id: TopicPartition, start: Cursor, from: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(mut gathered) = log.gathered.take_if(|gathered| gathered.end() == start) else { return };
        let keep = to_usize(from.saturating_sub(gathered.position));
        self.gathered_bytes -= gathered.bytes.len() - keep;
        gathered.bytes.truncate(keep);
        if keep > 0 {
            log.gathered = Some(gathered);
        }
    }

    /// At the end of a journal, whose frames up to `durable` are known to have been durable: what is not there is damage or torn.
    pub(super) fn judge_extents(&mut self, durable: u64) -> Result<(), RecoveryError> {
        for log in self.logs.values_mut() {
            let Some(suspect) = log.suspect.take() else { continue };
            if suspect.sequence <= durable {
                return Err(RecoveryError::Damaged(format!(
                    "{}, though they were durable; restore the file from a replica or a backup",
                    suspect.what
                )));
            }
            tracing::info!(what = suspect.what, "a commit was cut short: nobody was told of it");
            if let Some(gathered) = log.gathered.take_if(|gathered| gathered.start() >= suspect.start) {
                self.gathered_bytes -= gathered.bytes.len();
            }
            log.go_back(*suspect);
        }
        Ok(())
    }
}

impl Recovering {
    /// Whether an entry no longer says anything: it is at rest, or a newer owner has spoken.
    pub(super) fn is_past(&self, journal: JournalId, lsn: Lsn, entry: &Entry) -> bool {
        self.rest.ownership > entry.ownership || (self.journal == Some(journal) && lsn <= self.rest.handled)
    }

    fn go_back(&mut self, suspect: Suspect) {
        self.rest = suspect.rest;
        self.rolled = suspect.rolled;
        self.cut = suspect.cut;
    }

    /// The log is cut off there: what stood behind it need not be anywhere.
    pub(super) fn clear_behind(&mut self, cut: Cursor) {
        self.suspect.take_if(|suspect| suspect.start >= cut);
    }
}
