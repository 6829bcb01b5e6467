//! Going through a segment batch header by batch header, a window at a time.

use std::rc::Rc;

use model::batch::Header as BatchHeader;
use model::limits::SEGMENT_READ_BYTES;
use model::{Offset, TopicPartition};

use crate::bytes_at::{block_down, block_up, to_usize};
use crate::disk::{Disk, File};
use crate::load::{Reader, damaged_at};
use crate::log::Segment;
use crate::segment::FIRST_POSITION;
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
        let mut window = Window { start: 0, bytes: None };
        // No checksum of a batch covers its base offset.
        let mut expected = (at == FIRST_POSITION).then_some(segment.base);
        while at < to {
            let (len, time, base) = {
                let head = self.bytes(id, segment.base, at, 61, to, &mut window).await?;
                let header =
                    BatchHeader::parse(head).map_err(|e| damaged_at(self.paths, id, segment.base, at, &e))?;
                let base = header.base_offset();
                let out_of_place = base < segment.base || expected.is_some_and(|expected| expected != base);
                if at + header.size_bytes() as u64 > to || out_of_place {
                    return Err(damaged_at(self.paths, id, segment.base, at, &"batch out of place"));
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
            segment.begun_ms.get_or_insert(time.0);
            at += len;
        }
        segment.size = at;
        Ok(())
    }

    /// `len` bytes at `at` of a segment, through a window that moves along.
    async fn bytes<'w>(
        &self,
        id: TopicPartition,
        base: Offset,
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
            window.bytes = Some(self.read(id, base, window.start, wanted).await?);
        }
        let from = to_usize(at - window.start);
        let bytes = window.bytes.as_ref().map_or(&[][..], |bytes| (**bytes).as_ref());
        bytes
            .get(from..from + to_usize(len))
            .ok_or_else(|| damaged_at(self.paths, id, base, at, &"the segment is shorter than its log"))
    }

    /// Whole blocks of a segment.
    pub async fn read(
        &self,
        id: TopicPartition,
        base: Offset,
        position: u64,
        len: usize,
    ) -> Result<Rc<D::Buffer>, StoreError> {
        let file = self.files.get((id, base)).await.map_err(|e| damaged_at(self.paths, id, base, 0, &e))?;
        file.read(position, len).await.map_err(|e| damaged_at(self.paths, id, base, position, &e))
    }
}
