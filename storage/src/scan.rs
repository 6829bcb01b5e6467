//! Going through a segment batch header by batch header, a window at a time.

use std::rc::Rc;

use model::batch::Header as BatchHeader;
use model::limits::{BLOCK, SEGMENT_READ_BYTES};
use model::{Offset, TopicPartition};

use crate::bytes_at::{block_down, block_up, to_usize};
use crate::disk::{Disk, File};
use crate::load::{Reader, damaged_at};
use crate::log::Segment;
use crate::segment::{FIRST_POSITION, SegmentName};
use crate::store::StoreError;

struct Window<D: Disk> {
    start: u64,
    bytes: Option<Rc<D::Buffer>>,
}

impl<D: Disk> Reader<'_, D> {
    /// Goes on from where `segment` ends to position `to`, batch header by batch header.
    pub async fn scan(
        &self,
        id: TopicPartition,
        segment: &mut Segment,
        to: u64,
        mut observe: impl FnMut(&BatchHeader<'_>, Offset),
    ) -> Result<(), StoreError> {
        let mut at = segment.size;
        let name = segment.name();
        let mut window = Window { start: 0, bytes: None };
        // No checksum of a batch covers its base offset.
        let mut expected = (at == FIRST_POSITION).then_some(segment.base);
        while at < to {
            let (len, time, base) = {
                let head = self.bytes(id, name, at, 61, to, &mut window).await?;
                let header =
                    BatchHeader::parse(head).map_err(|e| damaged_at(self.paths, id, name, at, &e))?;
                let base = header.base_offset();
                let follows = |expected: Offset| base == expected || (name.has_gaps() && base > expected);
                let out_of_place = base < name.base || expected.is_some_and(|expected| !follows(expected));
                if at + header.size_bytes() as u64 > to || out_of_place {
                    return Err(damaged_at(self.paths, id, name, at, &"batch out of place"));
                }
                expected = Some(header.last_offset().next());
                observe(&header, base);
                (header.size_bytes() as u64, header.max_timestamp(), base)
            };
            if let Some(index) = segment.index.as_mut()
                && index.covered() == at
            {
                index.observe(base, len, time);
            }
            segment.max_timestamp_ms = segment.max_timestamp_ms.max(time.0);
            if time.0 >= 0 {
                segment.begun_ms.get_or_insert(time.0);
            }
            at += len;
        }
        segment.size = at;
        Ok(())
    }

    /// The largest timestamp of a segment's first batch; none when nobody gave it one, or there is no batch.
    pub async fn first_time(
        &self,
        id: TopicPartition,
        name: SegmentName,
        size: u64,
    ) -> Result<Option<i64>, StoreError> {
        if size <= FIRST_POSITION {
            return Ok(None);
        }
        let block = self.read(id, name, FIRST_POSITION, BLOCK).await?;
        let header = BatchHeader::parse((*block).as_ref());
        let header = header.map_err(|error| damaged_at(self.paths, id, name, FIRST_POSITION, &error))?;
        Ok(Some(header.max_timestamp().0).filter(|time| *time >= 0))
    }

    /// `len` bytes at `at` of a segment, through a window that moves along.
    async fn bytes<'w>(
        &self,
        id: TopicPartition,
        segment: SegmentName,
        at: u64,
        len: u64,
        to: u64,
        window: &'w mut Window<D>,
    ) -> Result<&'w [u8], StoreError> {
        let held = window.bytes.as_ref().map_or(0, |bytes| (**bytes).as_ref().len() as u64);
        if at < window.start || at + len > window.start + held {
            window.start = block_down(at);
            let wanted = block_up(to).min(window.start + SEGMENT_READ_BYTES as u64) - window.start;
            let wanted = to_usize(wanted.max(block_up(at + len) - window.start));
            window.bytes = Some(self.read(id, segment, window.start, wanted).await?);
        }
        let from = to_usize(at - window.start);
        let bytes = window.bytes.as_ref().map_or(&[][..], |bytes| (**bytes).as_ref());
        bytes
            .get(from..from + to_usize(len))
            .ok_or_else(|| damaged_at(self.paths, id, segment, at, &"the segment is shorter than its log"))
    }

    /// Whole blocks of a segment.
    pub async fn read(
        &self,
        id: TopicPartition,
        segment: SegmentName,
        position: u64,
        len: usize,
    ) -> Result<Rc<D::Buffer>, StoreError> {
        let damaged = |position, error| damaged_at(self.paths, id, segment, position, &error);
        let file = self.files.get((id, segment)).await.map_err(|error| damaged(0, error))?;
        file.read(position, len).await.map_err(|error| damaged(position, error))
    }
}
