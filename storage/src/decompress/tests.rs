//! What comes out, and how much.

use std::io::{Read, Write};

use model::batch::Compression;

use super::{WINDOW_BYTES_MAX, reader};

const CAP: usize = 8 << 20;
const STEP_BYTES: usize = 64 << 10;
const ALL: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn decompress(compression: Compression, payload: &[u8], cap: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = reader(compression, payload.to_vec(), cap as u64).ok()?;
    reader.read_to_end(&mut out).ok().map(|_| out)
}

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
                Some(&bytes),
                "{compression:?} {length}"
            );
            assert_eq!(
                decompress(compression, &packed, length).as_ref(),
                Some(&bytes),
                "{compression:?} {length}"
            );
        }
    }
    assert_eq!(decompress(Compression::None, b"as is", 5), Some(b"as is".to_vec()));
}

#[test]
fn xerial_frames_are_joined() {
    let (first, second) = (text(40_000), text(7));
    let framed = xerial(&[&first, b"", &second]);
    assert_eq!(decompress(Compression::Snappy, &framed, CAP), Some([first, second].concat()));
    assert_eq!(decompress(Compression::Snappy, &xerial(&[]), CAP), Some(Vec::new()));
    for end in 1..framed.len() {
        let cut = decompress(Compression::Snappy, &framed[..end], CAP);
        assert!(cut.is_none() || end == 16 || cut.unwrap().len() < 40_007);
    }
}

#[test]
fn frames_of_a_producer_that_flushes_are_joined() {
    let mut twice = compress(Compression::Gzip, b"one ");
    twice.extend(compress(Compression::Gzip, b"two"));
    assert_eq!(decompress(Compression::Gzip, &twice, CAP), Some(b"one two".to_vec()));
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
        assert_eq!(decompress(compression, &bomb, CAP), None);
        assert_eq!(decompress(compression, &bomb, 1000), None);
    }
    assert_eq!(decompress(Compression::None, b"12", 1), None);
}

#[test]
fn stated_sizes_allocate_nothing() {
    // A raw block of a few bytes that states 4 GiB, and a zstd frame that states a window of 2 GiB.
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1];
    assert_eq!(decompress(Compression::Snappy, &snappy, usize::MAX), None);
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    assert_eq!(decompress(Compression::Zstd, &zstd, CAP), None);
}

#[test]
fn damage_is_found_or_harmless() {
    for compression in ALL {
        let packed = compress(compression, &text(700));
        for end in 0..packed.len() {
            let cut = decompress(compression, &packed[..end], CAP);
            assert!(cut != Some(text(700)) || end + 8 > packed.len(), "{compression:?} cut at {end}");
        }
        for bit in 0..packed.len() * 8 {
            let mut packed = packed.clone();
            packed[bit / 8] ^= 1 << (bit % 8);
            if let Some(out) = decompress(compression, &packed, CAP) {
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
    assert_eq!(decompress(Compression::Lz4, &packed, CAP), None);
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
        if let Some(out) = decompress(compression, &input, 1 << 16) {
            assert!(out.len() <= 1 << 16);
        }
    });
}

/// Every way of writing a block that the reference decoder takes, as far as encoders go.
#[test]
fn snappy_is_what_the_reference_decoder_says() {
    for seed in 0..40_u32 {
        let length = 1 + seed as usize * 4001;
        let mut state = seed;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Runs, repeats far back, and noise.
                if state >> 28 < seed % 16 { (state >> 20).to_le_bytes()[0] } else { b'r' }
            })
            .collect();
        let mut packed = compress(Compression::Snappy, &bytes);
        assert_eq!(decompress(Compression::Snappy, &packed, CAP), Some(bytes), "{seed}");
        // Damage is judged alike, but for what reaches back further than any encoder.
        for round in 0..10_usize {
            let at = (round * 7919 + length) % packed.len();
            packed[at] ^= 1 << (round % 8);
            let reference = snap::raw::decompress_len(&packed).is_ok_and(|length| length < CAP);
            let reference =
                reference.then(|| snap::raw::Decoder::new().decompress_vec(&packed).ok()).flatten();
            let ours = decompress(Compression::Snappy, &packed, CAP);
            assert!(ours == reference || ours.is_none(), "{seed} {round}");
            assert!(ours.is_some() || reference.is_none_or(|bytes| bytes.len() > 64 << 10), "{seed} {round}");
        }
    }
}

#[test]
fn a_zstd_window_beyond_the_bound_is_taken_only_as_far_as_the_bound() {
    let large = |length: usize| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&vec![7; length]).unwrap();
        encoder.finish().unwrap()
    };
    let bound = usize::try_from(WINDOW_BYTES_MAX).unwrap();
    assert_eq!(super::zstd_window(&large(10)), Some(1 << 27));
    assert_eq!(decompress(Compression::Zstd, &large(bound), 1 << 30).map(|out| out.len()), Some(bound));
    assert_eq!(decompress(Compression::Zstd, &large(bound + 1), 1 << 30), None);
    let small = compress(Compression::Zstd, &vec![7; 3 * bound]);
    assert!(super::zstd_window(&small).unwrap() <= WINDOW_BYTES_MAX);
    assert_eq!(decompress(Compression::Zstd, &small, 1 << 30).map(|out| out.len()), Some(3 * bound));
    // A second frame does not get around it.
    let twice = [compress(Compression::Zstd, b"x"), large(bound)].concat();
    assert_eq!(decompress(Compression::Zstd, &twice, 1 << 30), None);
}

#[test]
fn snappy_holds_little_of_what_it_becomes() {
    let bytes = text(4 << 20);
    let blocks: Vec<&[u8]> = bytes.chunks(1 << 20).collect();
    for packed in [compress(Compression::Snappy, &bytes), xerial(&blocks)] {
        let mut decoder = super::snappy::Decoder::new(packed);
        let mut out = vec![0; 60_000];
        let mut at = 0;
        loop {
            let read = decoder.read(&mut out).unwrap();
            if read == 0 {
                break;
            }
            assert_eq!(out[..read], bytes[at..at + read]);
            at += read;
            assert!(decoder.held() <= 1 << 20, "{}", decoder.held());
        }
        assert_eq!(at, bytes.len());
    }
}
