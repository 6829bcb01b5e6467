//! Bytes of the journal on their way back into segments: gathered, then written as whole blocks.

use std::rc::Rc;

use model::limits::BLOCK;
use model::{TopicId, TopicPartition};

use super::log::Gathered;
use super::{Recovery, TopicState};
use crate::bytes_at::{block_down, block_up, len_u64, to_usize};
use crate::disk::{Disk, File};
use crate::journal::replay::{RecoveryError, io_error};
use crate::segment::{FIRST_POSITION, Header, SegmentName};

/// Bytes gathered for one partition before they are written...
const GATHER_BYTES: usize = 1 << 20;
/// ...and for all.
const GATHER_TOTAL_BYTES: usize = 64 << 20;

impl<D: Disk, T: Fn(TopicId) -> TopicState> Recovery<'_, D, T> {
    /// Gathers bytes that go to a segment.
    pub(super) async fn write(
        &mut self,
        id: TopicPartition,
        segment: SegmentName,
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

    pub(super) async fn flush_all(&mut self) -> Result<(), RecoveryError> {
        let waiting = self.logs.iter().filter(|(_, log)| log.gathered.is_some());
        let ids: Vec<TopicPartition> = waiting.map(|(id, _)| *id).collect();
        for id in ids {
            self.flush(id).await?;
        }
        Ok(())
    }

    /// Writes what was gathered, whole blocks, keeping what the segment has around it.
    pub(super) async fn flush(&mut self, id: TopicPartition) -> Result<(), RecoveryError> {
        let Some(log) = self.logs.get_mut(&id) else { return Ok(()) };
        let Some(gathered) = log.gathered.take() else { return Ok(()) };
        self.gathered_bytes -= gathered.bytes.len();
        let path = self.paths.segment(id, gathered.segment);
        let incarnation = log.begun(gathered.segment.base);
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
    pub(super) async fn segment(
        &mut self,
        partition: TopicPartition,
        name: SegmentName,
        incarnation: Option<u32>,
    ) -> Result<Rc<D::File>, RecoveryError> {
        let id = (partition, name);
        let SegmentName { base, generation } = name;
        let path = self.paths.segment(partition, name);
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
            (Ok(found), None) if found.partition == partition && found.name() == name => {}
            (Ok(_), None) => return damaged("the header is of another segment"),
            (Err(what), None) => return damaged(&what),
            (Ok(found), Some(incarnation))
                if found == (Header { partition, base, incarnation, generation }) => {}
            // New, torn, or left over from before a truncation.
            (_, Some(incarnation)) => {
                self.make_header(&file, Header { partition, base, incarnation, generation }).await?
            }
        }
        if unsure {
            self.disk.sync_dir(&dir).await.map_err(io_error(&dir))?;
        }
        Ok(file)
    }

    pub(super) async fn make_header(
        &mut self,
        file: &Rc<D::File>,
        header: Header,
    ) -> Result<(), RecoveryError> {
        if let Some(log) = self.logs.get_mut(&header.partition) {
            log.headless |= log.before.segment == header.base && log.before.position > FIRST_POSITION;
        }
        let mut block = self.disk.buffer(BLOCK);
        header.write(block.as_mut());
        let path = self.paths.segment(header.partition, header.name());
        file.write(Rc::new(block), 0).await.map_err(io_error(&path))
    }
}
