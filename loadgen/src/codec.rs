//! The codecs of Kafka, both ways, in memory. The input of a decoder comes from a broker and is trusted with nothing.

use std::io::{self, Read, Write};

use model::batch::Compression;

/// Most that a batch may decompress to: what a broker accepts is far below.
const DECOMPRESSED_BYTES_MAX: u64 = 256 << 20;
/// What Kafka's Java client writes before and between blocks of Snappy.
const XERIAL_HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// What people call it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Codec {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// As batches name it.
    pub const fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
            Self::Zstd => Compression::Zstd,
        }
    }

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Compresses records at the codec's usual level.
///
/// # Errors
/// Only when memory of the codec's own runs out.
pub fn compress(compression: Compression, records: &[u8]) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(records.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records)?;
            encoder.finish()
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(records).map_err(io::Error::other),
        Compression::Lz4 => {
            let mut info = lz4_flex::frame::FrameInfo::new();
            info.block_mode = lz4_flex::frame::BlockMode::Independent;
            info.block_size = lz4_flex::frame::BlockSize::Max64KB;
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(records)?;
            encoder.finish().map_err(io::Error::other)
        }
        Compression::Zstd => zstd::bulk::compress(records, 0),
    }
}

/// Decompresses `payload` behind what `out` holds.
///
/// # Errors
/// When it is not what `compression` says, or far too large.
pub fn decompress(compression: Compression, payload: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut capped = |reader: &mut dyn Read| {
        let read = reader.take(DECOMPRESSED_BYTES_MAX).read_to_end(out)?;
        if read as u64 == DECOMPRESSED_BYTES_MAX { Err(corrupt("far too large")) } else { Ok(()) }
    };
    match compression {
        Compression::None => {
            out.extend_from_slice(payload);
            Ok(())
        }
        Compression::Gzip => capped(&mut flate2::bufread::MultiGzDecoder::new(payload)),
        Compression::Lz4 => capped(&mut lz4_flex::frame::FrameDecoder::new(payload)),
        Compression::Zstd => capped(&mut zstd::stream::read::Decoder::with_buffer(payload)?),
        Compression::Snappy => match payload.strip_prefix(&XERIAL_HEADER[..8]) {
            None => snappy_block(payload, out),
            Some(rest) => {
                let mut rest = rest.get(8..).unwrap_or_default();
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let length = u32::from_be_bytes(*length) as usize;
                    let (block, after) = after.split_at_checked(length).ok_or_else(|| corrupt("cut off"))?;
                    snappy_block(block, out)?;
                    rest = after;
                }
                Ok(())
            }
        },
    }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let len = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if len as u64 > DECOMPRESSED_BYTES_MAX {
        return Err(corrupt("far too large"));
    }
    out.extend_from_slice(&snap::raw::Decoder::new().decompress_vec(block).map_err(io::Error::other)?);
    Ok(())
}

fn corrupt(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let records: Vec<u8> = (0..200_000_u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let small = compress(compression, &records).unwrap();
            assert!(compression == Compression::None || small.len() < records.len());
            let mut out = b"front".to_vec();
            decompress(compression, &small, &mut out).unwrap();
            assert!(out[5..] == records, "{compression:?}");
            if compression != Compression::None {
                assert!(decompress(compression, &small[..small.len() / 2], &mut Vec::new()).is_err());
            }
        }
    }

    #[test]
    fn the_java_clients_framing_of_snappy_is_read() {
        let block = |text: &[u8]| {
            let block = snap::raw::Encoder::new().compress_vec(text).unwrap();
            [&u32::try_from(block.len()).unwrap().to_be_bytes()[..], &block].concat()
        };
        let framed = [XERIAL_HEADER, &block(b"one "), &block(b"two")].concat();
        let mut out = Vec::new();
        decompress(Compression::Snappy, &framed, &mut out).unwrap();
        assert_eq!(out, b"one two");
    }
}
