//! Decompression of one batch's records, capped: only for looking a timestamp up inside a compressed batch.
//!
//! Everything else passes compressed records through untouched. This takes time in proportion to its output, so it
//! belongs on a blocking thread; and its input is whatever a client once sent, so the output grows with what is
//! really there, up to the cap, and never by a number inside the input.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::io::Read;

use model::batch::Compression;

/// Output of one step.
const STEP_BYTES: usize = 64 << 10;

/// Why there is no output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DecompressError {
    /// There is more than the cap allows.
    TooLarge {
        /// Bytes allowed.
        cap: usize,
    },
    /// The input is not what its compression says.
    Corrupt {
        /// What it should have been.
        compression: Compression,
        /// What the decoder says.
        reason: String,
    },
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { cap } => write!(f, "the records decompress to more than {cap} bytes"),
            Self::Corrupt { compression, reason } => {
                write!(f, "the records are not valid {compression:?}: {reason}")
            }
        }
    }
}

impl std::error::Error for DecompressError {}

/// The records of a batch's `payload`, at most `cap` bytes of them.
///
/// # Errors
/// [`DecompressError`]: all or nothing.
pub fn decompress(compression: Compression, payload: &[u8], cap: usize) -> Result<Vec<u8>, DecompressError> {
    match compression {
        Compression::None if payload.len() > cap => Err(DecompressError::TooLarge { cap }),
        Compression::None => Ok(payload.to_vec()),
        Compression::Gzip => read_capped(compression, flate2::read::MultiGzDecoder::new(payload), cap),
        Compression::Snappy => snappy(payload, cap),
        Compression::Lz4 => lz4(payload, cap),
        Compression::Zstd => zstandard(payload, cap),
    }
}

fn corrupt(compression: Compression, reason: impl ToString) -> DecompressError {
    DecompressError::Corrupt { compression, reason: reason.to_string() }
}

/// Reads to the end in steps.
fn read_capped(compression: Compression, decoder: impl Read, cap: usize) -> Result<Vec<u8>, DecompressError> {
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    let mut decoder = decoder.take(limit);
    let mut out = Vec::new();
    loop {
        let length = out.len();
        out.resize(length + STEP_BYTES, 0);
        let space = out.get_mut(length..).unwrap_or_default();
        let read = decoder.read(space).map_err(|error| corrupt(compression, error))?;
        out.truncate(length + read);
        if out.len() > cap {
            return Err(DecompressError::TooLarge { cap });
        }
        if read == 0 {
            return Ok(out);
        }
    }
}

/// Blocks that refer to earlier blocks are refused, as by Kafka's own clients, which never write any.
fn lz4(payload: &[u8], cap: usize) -> Result<Vec<u8>, DecompressError> {
    const FLAGS_AT: usize = 4;
    const INDEPENDENT_BLOCKS: u8 = 0x20;
    match payload.get(FLAGS_AT) {
        Some(flags) if flags & INDEPENDENT_BLOCKS != 0 => {}
        _ => return Err(corrupt(Compression::Lz4, "no frame of independent blocks")),
    }
    read_capped(Compression::Lz4, lz4_flex::frame::FrameDecoder::new(payload), cap)
}

/// Decodes into a buffer as a whole: that way no window is allocated, whose size the frame would choose. Nothing
/// states the size reliably, so the buffer grows until it fits.
fn zstandard(payload: &[u8], cap: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decoder = zstd::bulk::Decompressor::new().map_err(|error| corrupt(Compression::Zstd, error))?;
    let mut size = payload.len().saturating_mul(4).max(STEP_BYTES).min(cap);
    loop {
        let mut out = Vec::with_capacity(size);
        match decoder.decompress_to_buffer(payload, &mut out) {
            Ok(_) if out.len() > cap => return Err(DecompressError::TooLarge { cap }),
            Ok(_) => return Ok(out),
            Err(error) if !error.to_string().contains("too small") => {
                return Err(corrupt(Compression::Zstd, error));
            }
            Err(_) if size >= cap => return Err(DecompressError::TooLarge { cap }),
            Err(_) => size = size.saturating_mul(4).min(cap),
        }
    }
}

/// Either one raw block, or xerial's framing as the Java client writes it: a header of 16 bytes, then raw blocks
/// with their length in front.
fn snappy(payload: &[u8], cap: usize) -> Result<Vec<u8>, DecompressError> {
    const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
    const XERIAL_VERSIONS_BYTES: usize = 8;

    let mut out = Vec::new();
    let Some(framed) = payload.strip_prefix(XERIAL_MAGIC) else {
        snappy_block(payload, cap, &mut out)?;
        return Ok(out);
    };
    let short = || corrupt(Compression::Snappy, "the framing ends too early");
    let mut rest = framed.get(XERIAL_VERSIONS_BYTES..).ok_or_else(short)?;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk().ok_or_else(short)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| short())?;
        let (block, tail) = tail.split_at_checked(length).ok_or_else(short)?;
        snappy_block(block, cap, &mut out)?;
        rest = tail;
    }
    Ok(out)
}

fn snappy_block(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    /// The best that the format can do is 64 bytes of output from a copy of two.
    const EXPANSION_MAX: usize = 32;

    let length = snap::raw::decompress_len(block).map_err(|error| corrupt(Compression::Snappy, error))?;
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupt(Compression::Snappy, "a block states more than it can hold"));
    }
    if length > cap - out.len() {
        return Err(DecompressError::TooLarge { cap });
    }
    let start = out.len();
    out.resize(start + length, 0);
    let space = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, space)
        .map_err(|error| corrupt(Compression::Snappy, error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CAP: usize = 8 << 20;
    const ALL: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
        }
    }

    fn xerial(blocks: &[&[u8]]) -> Vec<u8> {
        let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for block in blocks {
            let block = compress(Compression::Snappy, block);
            framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend(block);
        }
        framed
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).flat_map(|i| (i * i % 251).to_string().into_bytes()).take(length).collect()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for compression in ALL {
            for length in [0, 1, 100, STEP_BYTES, STEP_BYTES + 1, 1 << 20] {
                let bytes = text(length);
                let packed = compress(compression, &bytes);
                assert_eq!(
                    decompress(compression, &packed, CAP).as_ref(),
                    Ok(&bytes),
                    "{compression:?} {length}"
                );
                assert_eq!(
                    decompress(compression, &packed, length).as_ref(),
                    Ok(&bytes),
                    "{compression:?} {length}"
                );
            }
        }
        assert_eq!(decompress(Compression::None, b"as is", 5), Ok(b"as is".to_vec()));
    }

    #[test]
    fn xerial_frames_are_joined() {
        let (first, second) = (text(40_000), text(7));
        let framed = xerial(&[&first, b"", &second]);
        assert_eq!(decompress(Compression::Snappy, &framed, CAP), Ok([first, second].concat()));
        assert_eq!(decompress(Compression::Snappy, &xerial(&[]), CAP), Ok(Vec::new()));
        for end in 1..framed.len() {
            let cut = decompress(Compression::Snappy, &framed[..end], CAP);
            assert!(cut.is_err() || end == 16 || cut.unwrap().len() < 40_007);
        }
    }

    #[test]
    fn frames_of_a_producer_that_flushes_are_joined() {
        let mut twice = compress(Compression::Gzip, b"one ");
        twice.extend(compress(Compression::Gzip, b"two"));
        assert_eq!(decompress(Compression::Gzip, &twice, CAP), Ok(b"one two".to_vec()));
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..100 {
            encoder.write_all(&text(1000)).unwrap();
            encoder.flush().unwrap();
        }
        let streamed = encoder.finish().unwrap();
        assert_eq!(decompress(Compression::Zstd, &streamed, CAP).unwrap().len(), 100_000);
    }

    #[test]
    fn bombs_stop_at_the_cap() {
        for compression in ALL {
            let bomb = compress(compression, &vec![0; CAP + 1]);
            assert_eq!(decompress(compression, &bomb, CAP), Err(DecompressError::TooLarge { cap: CAP }));
            assert_eq!(decompress(compression, &bomb, 0), Err(DecompressError::TooLarge { cap: 0 }));
        }
        assert_eq!(decompress(Compression::None, b"12", 1), Err(DecompressError::TooLarge { cap: 1 }));
    }

    #[test]
    fn stated_sizes_allocate_nothing() {
        // A raw block of a few bytes that states 4 GiB, and a zstd frame that states a window of 2 GiB.
        let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1];
        assert!(matches!(
            decompress(Compression::Snappy, &snappy, usize::MAX),
            Err(DecompressError::Corrupt { .. })
        ));
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        assert_eq!(decompress(Compression::Zstd, &zstd, CAP), Ok(Vec::new()));
    }

    #[test]
    fn damage_is_found_or_harmless() {
        for compression in ALL {
            let packed = compress(compression, &text(700));
            for end in 0..packed.len() {
                let cut = decompress(compression, &packed[..end], CAP);
                assert!(cut != Ok(text(700)) || end + 8 > packed.len(), "{compression:?} cut at {end}");
            }
            for bit in 0..packed.len() * 8 {
                let mut packed = packed.clone();
                packed[bit / 8] ^= 1 << (bit % 8);
                if let Ok(out) = decompress(compression, &packed, CAP) {
                    assert!(out.len() <= CAP);
                }
            }
        }
    }

    #[test]
    fn linked_lz4_blocks_are_refused() {
        let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(b"linked").unwrap();
        let packed = encoder.finish().unwrap();
        assert!(matches!(decompress(Compression::Lz4, &packed, CAP), Err(DecompressError::Corrupt { .. })));
    }

    #[test]
    fn hostile_bytes_never_panic() {
        bolero::check!().with_iterations(5_000).with_type::<(u8, Vec<u8>)>().for_each(|(pick, bytes)| {
            let compression = ALL[usize::from(*pick) % ALL.len()];
            let magic: &[u8] = match compression {
                Compression::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0],
                Compression::Snappy if pick & 0x80 != 0 => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
                Compression::Snappy | Compression::None => &[],
                Compression::Lz4 => &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
                Compression::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            };
            let input = [magic, bytes].concat();
            if let Ok(out) = decompress(compression, &input, 1 << 16) {
                assert!(out.len() <= 1 << 16);
            }
        });
    }
}
