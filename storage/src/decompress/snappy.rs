//! Snappy as a stream: either one raw block, or xerial's framing as the Java client writes it, a header of 16 bytes and then
//! raw blocks with their length in front.
//!
//! The format lets a copy reach back to the block's beginning, so a decoder of all it allows needs the whole output. Every
//! encoder there is works on 64 KiB at a time and reaches back no further: what does is refused.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Read};

use super::corrupt;

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// As far as a copy may reach back.
const REACH: usize = 64 << 10;
/// Output held before the oldest is dropped.
const HELD_BYTES_MAX: usize = 4 * REACH;

/// What comes next.
enum Next {
    /// A block's length in the framing.
    Frame,
    /// A block; its bytes end at this position.
    Block(usize),
    /// A tag inside a block that ends there, and output that the block still owes.
    Tag(usize, u64),
    /// Nothing.
    End,
}

/// See the module.
pub(super) struct Decoder<T> {
    payload: T,
    at: usize,
    framed: bool,
    next: Next,
    /// The newest output; what lies before `taken` was read already and is there to be copied.
    output: Vec<u8>,
    taken: usize,
}

impl<T: AsRef<[u8]>> Decoder<T> {
    pub(super) fn new(payload: T) -> Self {
        let bytes = payload.as_ref();
        let framed = bytes.starts_with(XERIAL_MAGIC);
        let (at, next) =
            if framed { (XERIAL_HEADER_BYTES, Next::Frame) } else { (0, Next::Block(bytes.len())) };
        Self { payload, at, framed, next, output: Vec::new(), taken: 0 }
    }

    /// Bytes of output held.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.output.capacity()
    }

    fn take(&mut self, count: usize, end: usize) -> io::Result<&[u8]> {
        let to = self.at.checked_add(count).filter(|to| *to <= end);
        let taken = to.and_then(|to| self.payload.as_ref().get(self.at..to)).ok_or_else(ends_early)?;
        self.at += count;
        Ok(taken)
    }

    /// A number of `count` bytes, least first.
    fn number(&mut self, count: usize, end: usize) -> io::Result<u64> {
        let bytes = self.take(count, end)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// One step: some output, or none but progress.
    fn step(&mut self) -> io::Result<()> {
        match self.next {
            Next::End => {}
            Next::Frame if self.at == self.payload.as_ref().len() => self.next = Next::End,
            Next::Frame => {
                let length = self.take(4, self.payload.as_ref().len())?;
                let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                let end = self.at.checked_add(length).filter(|end| *end <= self.payload.as_ref().len());
                self.next = Next::Block(end.ok_or_else(ends_early)?);
            }
            Next::Block(end) => {
                let owed = self.block_length(end)?;
                // No copy reaches into an earlier block.
                self.output.clear();
                self.taken = 0;
                self.next = Next::Tag(end, owed);
            }
            Next::Tag(end, 0) if self.at == end => {
                self.next = if self.framed { Next::Frame } else { Next::End };
            }
            Next::Tag(end, owed) => {
                let before = self.output.len();
                self.tag(end, owed)?;
                self.next = Next::Tag(end, owed - (self.output.len() - before) as u64);
            }
        }
        Ok(())
    }

    /// Bytes that a block says it becomes.
    fn block_length(&mut self, end: usize) -> io::Result<u64> {
        let mut length = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.number(1, end)?;
            length |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(length).map(u64::from).map_err(|_| corrupt("a block over 4 GiB"));
            }
        }
        Err(corrupt("the length of a block has no end"))
    }

    fn tag(&mut self, end: usize, owed: u64) -> io::Result<()> {
        let tag = self.number(1, end)?;
        let (offset, length) = match tag & 3 {
            0 => return self.literal(tag >> 2, end, owed),
            1 => ((tag >> 5) << 8 | self.number(1, end)?, 4 + (tag >> 2 & 7)),
            2 => (self.number(2, end)?, 1 + (tag >> 2)),
            _ => (self.number(4, end)?, 1 + (tag >> 2)),
        };
        if length > owed {
            return Err(corrupt("a block becomes more than it says"));
        }
        let offset = usize::try_from(offset).ok().filter(|offset| (1..=REACH).contains(offset));
        let from = offset.and_then(|offset| self.output.len().checked_sub(offset));
        let from = from.ok_or_else(|| corrupt("a copy reaches back too far"))?;
        let length = usize::try_from(length).unwrap_or(0);
        if from + length <= self.output.len() {
            self.output.extend_from_within(from..from + length);
            return Ok(());
        }
        for at in from..from + length {
            // It reaches into what it has copied itself.
            let byte = self.output.get(at).copied().unwrap_or_default();
            self.output.push(byte);
        }
        Ok(())
    }

    fn literal(&mut self, tag: u64, end: usize, owed: u64) -> io::Result<()> {
        let length = match tag {
            0..60 => tag + 1,
            long => self.number(usize::try_from(long).unwrap_or(0) - 59, end)? + 1,
        };
        let length = Some(length).filter(|length| *length <= owed);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| corrupt("a block becomes more than it says"))?;
        let mut output = std::mem::take(&mut self.output);
        // No more than the input, which is there.
        output.extend_from_slice(self.take(length, end)?);
        self.output = output;
        Ok(())
    }
}

impl<T: AsRef<[u8]>> Read for Decoder<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // As much as is asked for: a step may be a few bytes.
        while self.output.len() - self.taken < out.len() && !matches!(self.next, Next::End) {
            if self.taken > HELD_BYTES_MAX {
                self.output.drain(..self.taken - REACH);
                self.taken = REACH;
            }
            if self.taken < self.output.len() && matches!(self.next, Next::Block(_)) {
                break; // Which begins without what was there before.
            }
            self.step()?;
        }
        let ready = self.output.get(self.taken..).unwrap_or_default();
        let count = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), ready.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Ok(count)
    }
}

fn ends_early() -> io::Error {
    corrupt("snappy ends too early")
}
