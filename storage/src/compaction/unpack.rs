//! The records of a batch without its codec, all of them at once where there is room: each batch passes its codec once, then, and its records
//! are looked at as often as need be. Where there is none they stream by ([`crate::records::Records`]), once for every look.

use std::io;

use model::batch::{Compression, RecordBatch};
use model::limits::DECOMPRESSED_BYTES_MAX;

use crate::decompress;
use crate::records::plain::Plain;

/// Room for the records of a small batch.
const ROOM_MIN: usize = 64 << 10;
/// What records that compress well become, of their size.
const USUAL_RATIO: usize = 4;

/// Room for the records of one batch after the other.
pub(super) struct Room {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// Bytes that came out of a codec, all together.
    passed: u64,
}

impl Room {
    /// Grows up to so many bytes. Batches with a larger record are not looked into, so there is always room for one.
    pub const fn up_to(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max, passed: 0 }
    }

    /// The largest record that is looked into.
    pub const fn record_bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes that came out of a codec so far, as far as they found room: what takes time.
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// The payload of a batch without its codec; none when there is no room for all of it. An error says that it cannot be read.
    pub fn payload<'a>(&'a mut self, batch: &RecordBatch<'a>) -> io::Result<Option<&'a [u8]>> {
        let compression = batch.compression().map_err(io::Error::other)?;
        if compression == Compression::None {
            return Ok(Some(batch.payload()));
        }
        let mut source = decompress::reader(compression, batch.payload(), DECOMPRESSED_BYTES_MAX)?;
        let mut len = 0;
        loop {
            if len == self.bytes.len() && !self.grow(batch.payload().len()) {
                // It may have been just enough.
                return match source.read(&mut [0])? {
                    0 => Ok(self.bytes.get(..len)),
                    _ => Ok(None),
                };
            }
            let read = source.read(self.bytes.get_mut(len..).unwrap_or_default())?;
            self.passed += read as u64;
            if read == 0 {
                return Ok(self.bytes.get(..len));
            }
            len += read;
        }
    }

    /// The records of a batch, unless there is no room for all of them.
    pub fn records<'a>(&'a mut self, batch: &RecordBatch<'a>) -> io::Result<Option<Plain<'a>>> {
        let record_bytes_max = self.bytes_max;
        let payload = self.payload(batch)?;
        Ok(payload.map(|payload| Plain::new(payload, batch, record_bytes_max)))
    }

    /// Makes room for more of a payload of which so many bytes are there; false when it has all that it may have.
    fn grow(&mut self, payload: usize) -> bool {
        let len = self.bytes.len();
        let wanted = (2 * len).max(payload.saturating_mul(USUAL_RATIO)).max(ROOM_MIN).min(self.bytes_max);
        if wanted <= len {
            return false;
        }
        self.bytes.reserve_exact(wanted - len);
        self.bytes.resize(wanted, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use model::TimestampMs;
    use model::batch::{BatchBuilder, Codec};

    use super::*;
    use crate::compress::Writer;

    #[test]
    fn what_finds_room_is_there_and_what_does_not_is_none() {
        let all = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for compression in all {
            let value: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
            let plain = BatchBuilder::new().record(TimestampMs(1), Some(b"a"), Some(&value));
            let packed = plain.build_compressed(compression, |records| {
                let mut writer = Writer::new(Codec::usual(compression)).unwrap();
                writer.write_all(records).unwrap();
                writer.finish().unwrap()
            });
            let (plain, packed) = (plain.build(), packed);
            let plain = RecordBatch::parse(&plain).unwrap().0;
            let packed = RecordBatch::parse(&packed).unwrap().0;
            let bytes = plain.payload().len();
            for (bytes_max, fits) in [(bytes, true), (bytes - 1, false), (1 << 20, true), (1000, false)] {
                let mut room = Room::up_to(bytes_max);
                // The second time there is room already.
                for _ in 0..2 {
                    let expected = fits.then(|| plain.payload());
                    assert!(room.payload(&packed).unwrap() == expected, "{compression:?} {bytes_max}");
                }
                assert!(room.bytes.capacity() <= bytes_max);
                assert!(room.payload(&plain).unwrap() == Some(plain.payload()));
            }
        }
    }

    #[test]
    fn what_is_no_payload_is_an_error() {
        let garbled = BatchBuilder::new().build_compressed(Compression::Zstd, |_| vec![7; 50]);
        let garbled = RecordBatch::parse(&garbled).unwrap().0;
        assert!(Room::up_to(1 << 20).payload(&garbled).is_err());
    }
}
