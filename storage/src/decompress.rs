//! Decompression of one batch's records as a stream: where a timestamp or keys are looked for in a compressed batch, and where it is made anew.
//!
//! Everything else passes compressed records through untouched. The input is whatever a client once sent, so what is held
//! at a time is bounded whatever it says: [`WINDOW_BYTES_MAX`] of history and a step of output.
#![deny(clippy::indexing_slicing)]

mod snappy;

use std::io::{self, Cursor, Read};

use model::batch::Compression;

/// What a decoder may keep of its output to refer back to. The Java client's default level takes 2 MiB, LZ4 blocks are of 4 MiB
/// at most, the others take less.
pub const WINDOW_BYTES_MAX: u64 = 8 << 20;
/// The largest window a zstd frame may ask for, as in Kafka, whose highest levels do. It is memory only as far as it is
/// filled, so where it is above [`WINDOW_BYTES_MAX`] the output is cut there.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The records of a batch's `payload`, at most `bytes_max` of them: what is beyond is an error, as everything is that the
/// compression does not allow.
///
/// # Errors
/// When it can be told from its beginning that it cannot be read.
pub fn reader<'a>(
    compression: Compression,
    payload: impl AsRef<[u8]> + Send + 'a,
    bytes_max: u64,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let input = Cursor::new(payload);
    Ok(match compression {
        Compression::None => Box::new(Capped::new(input, bytes_max)),
        Compression::Gzip => Box::new(Capped::new(flate2::bufread::MultiGzDecoder::new(input), bytes_max)),
        Compression::Snappy => Box::new(Capped::new(snappy::Decoder::new(input.into_inner()), bytes_max)),
        Compression::Lz4 => Box::new(Capped::new(lz4(input)?, bytes_max)),
        Compression::Zstd => {
            let fits = zstd_window(input.get_ref().as_ref()).is_none_or(|window| window <= WINDOW_BYTES_MAX);
            let (log_max, bytes_max) = if fits {
                (WINDOW_BYTES_MAX.ilog2(), bytes_max)
            } else {
                (ZSTD_WINDOW_LOG_MAX, bytes_max.min(WINDOW_BYTES_MAX))
            };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(log_max)?;
            Box::new(Capped::new(decoder, bytes_max))
        }
    })
}

/// An error about the bytes themselves.
pub(crate) fn corrupt(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Fails behind a number of bytes.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Capped<R> {
    const fn new(inner: R, bytes_max: u64) -> Self {
        Self { inner, left: bytes_max }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| corrupt("the records decompress to more than is looked through"))?;
        Ok(read)
    }
}

/// Blocks that refer to earlier blocks are refused, as by Kafka's own clients, which never write any.
fn lz4<T: AsRef<[u8]> + Send>(input: Cursor<T>) -> io::Result<impl Read + Send> {
    const MAGIC: &[u8] = &0x184d_2204_u32.to_le_bytes();
    const INDEPENDENT_BLOCKS: u8 = 0x20;
    match input.get_ref().as_ref().strip_prefix(MAGIC) {
        Some([flags, ..]) if flags & INDEPENDENT_BLOCKS != 0 => Ok(lz4_flex::frame::FrameDecoder::new(input)),
        _ => Err(corrupt("no LZ4 frame of independent blocks")),
    }
}

/// The window that the first frame asks for (RFC 8878, section 3.1.1.1.2), which is its content's size when it says so; none when there is
/// no frame.
fn zstd_window(payload: &[u8]) -> Option<u64> {
    const MAGIC: &[u8] = &0xfd2f_b528_u32.to_le_bytes();
    const SINGLE_SEGMENT: u8 = 0x20;
    let (descriptor, rest) = payload.strip_prefix(MAGIC)?.split_first()?;
    if descriptor & SINGLE_SEGMENT != 0 {
        // The size of the content comes behind the id of a dictionary.
        let dictionary = (1_usize << (descriptor & 3)) / 2;
        let size = 1_usize << (descriptor >> 6);
        let bytes = rest.get(dictionary..dictionary + size)?;
        return Some(bytes.iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte)));
    }
    let window = *rest.first()?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}

#[cfg(test)]
mod tests;
