//! Compression of one batch's records as a stream, in the way the Java client writes each codec.
#![deny(clippy::indexing_slicing)]

use std::io::{self, Write};

use model::batch::{Codec, Compression};

/// Takes records and gives the payload of a batch. What it keeps beside its output is what the codec needs: some megabytes at most.
pub enum Writer {
    /// As they are.
    None(Vec<u8>),
    /// gzip.
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    /// Snappy in xerial's framing.
    Snappy(Box<Snappy>),
    /// LZ4 frames of independent blocks.
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    /// Zstandard.
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Writer {
    /// Nothing written yet.
    ///
    /// # Errors
    /// When the codec cannot be set up.
    pub fn new(codec: Codec) -> io::Result<Self> {
        Self::onto(codec, Vec::new())
    }

    /// The same into memory that is there.
    ///
    /// # Errors
    /// When the codec cannot be set up.
    pub fn onto(codec: Codec, mut out: Vec<u8>) -> io::Result<Self> {
        out.clear();
        Ok(match codec.compression {
            Compression::None => Self::None(out),
            Compression::Gzip => {
                let level = u32::try_from(codec.level).ok().filter(|level| *level <= 9);
                let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
                Self::Gzip(Box::new(flate2::write::GzEncoder::new(out, level)))
            }
            Compression::Snappy => Self::Snappy(Box::new(Snappy { out, held: Vec::new() })),
            Compression::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(out))),
            Compression::Zstd => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(out, codec.level)?)),
        })
    }

    /// Bytes of payload that there are by now.
    pub fn written(&self) -> usize {
        match self {
            Self::None(out) => out.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Snappy(encoder) => encoder.out.len(),
            Self::Lz4(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// The payload.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Snappy(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Snappy(encoder) => encoder.write(bytes),
            Self::Lz4(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // What was not given out yet is by `finish`.
    }
}

/// Snappy in xerial's framing: a header, then raw blocks with their length in front.
pub struct Snappy {
    out: Vec<u8>,
    /// Less than a block.
    held: Vec<u8>,
}

/// Magic, version, and the oldest version that reads it.
const XERIAL_HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Bytes of a block before compression, as in the Java client.
const BLOCK_BYTES: usize = 32 << 10;

impl Snappy {
    fn block(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            self.out.extend_from_slice(XERIAL_HEADER);
        }
        let packed = snap::raw::Encoder::new().compress_vec(&self.held).map_err(io::Error::other)?;
        let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&packed);
        self.held.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.held.is_empty() || self.out.is_empty() {
            self.block()?;
        }
        Ok(self.out)
    }
}

impl Write for Snappy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK_BYTES - self.held.len();
        let (now, _) = bytes.split_at(room.min(bytes.len()));
        self.held.extend_from_slice(now);
        if self.held.len() == BLOCK_BYTES {
            self.block()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::decompress;

    #[test]
    fn what_was_compressed_comes_back() {
        let all =
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for compression in all {
            for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7, 5 << 20] {
                let bytes: Vec<u8> =
                    (0..length).flat_map(|i| (i * i % 251).to_le_bytes()).take(length).collect();
                let mut writer = Writer::new(Codec { compression, level: 3 }).unwrap();
                for part in bytes.chunks(1000) {
                    writer.write_all(part).unwrap();
                }
                let packed = writer.finish().unwrap();
                let mut back = Vec::new();
                let mut reader = decompress::reader(compression, packed, 6 << 20).unwrap();
                reader.read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{compression:?} {length}");
            }
        }
    }
}
