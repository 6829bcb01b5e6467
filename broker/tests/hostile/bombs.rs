//! Batches that become a thousand times their size, looked through for a time.

use std::io::Write;
use std::thread;

use bytes::Bytes;
use model::batch::{BatchBuilder, Compression, RecordBatch};
use model::{ErrorCode, TimestampMs};

use super::batches::sealed;
use super::beside::Scene;
use super::wire::{Produce, produced};

/// Where the attributes of a batch are.
const ATTRIBUTES_AT: usize = 21;
const LENGTH_AT: usize = 8;
/// The time of the record behind the large one.
const BEHIND: i64 = 2000;

fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
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

/// A batch of two records with this payload in place of its own.
fn batch_of(compression: Compression, payload: &[u8]) -> Vec<u8> {
    let mut batch =
        BatchBuilder::new().value(TimestampMs(1), b"first").value(TimestampMs(BEHIND), b"last").build();
    batch.truncate(model::batch::HEADER_BYTES);
    batch[ATTRIBUTES_AT + 1] = compression as u8;
    batch.extend_from_slice(payload);
    let length = i32::try_from(batch.len() - LENGTH_AT - 4).unwrap();
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    sealed(batch)
}

/// Two records, the first of them of so many zeros.
fn bomb(compression: Compression, zeros: usize) -> Vec<u8> {
    let value = vec![0; zeros];
    let plain = BatchBuilder::new().value(TimestampMs(1), &value).value(TimestampMs(BEHIND), b"last").build();
    let (batch, _) = RecordBatch::parse(&plain).unwrap();
    batch_of(compression, &compressed(compression, batch.payload()))
}

/// Produces it and asks for the record behind, from many clients at the same time.
fn ask_behind(scene: &Scene, topic: &'static str, batch: Vec<u8>) -> Vec<(i16, i64)> {
    let mut client = scene.client();
    assert_eq!(client.create(topic, 1), 0);
    let request = Produce { topic, partitions: vec![(0, Some(Bytes::from(batch)))], ..Produce::default() };
    client.send(&request.frame()).unwrap();
    assert_eq!(produced(client.receive().unwrap()), [(0, 0, 0)]);
    let clients: Vec<_> = (0..6).map(|_| scene.client()).collect();
    let asking: Vec<_> = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || client.offset_at(topic, BEHIND)))
        .collect();
    asking.into_iter().map(|asked| asked.join().unwrap()).collect()
}

#[test]
fn bombs_are_looked_through_in_little_memory() {
    let scene = Scene::new(&[]);
    // Beyond what is looked through; and what is no compression at all.
    let unanswered = [
        ("endless", bomb(Compression::Zstd, 200 << 20)),
        ("no-gzip", batch_of(Compression::Gzip, b"no gzip")),
        ("no-snappy", batch_of(Compression::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1])),
        ("no-lz4", batch_of(Compression::Lz4, &[0; 100])),
    ];
    let answered = [
        ("gzip", bomb(Compression::Gzip, 60 << 20)),
        ("snappy", bomb(Compression::Snappy, 16 << 20)),
        ("lz4", bomb(Compression::Lz4, 60 << 20)),
        ("zstd", bomb(Compression::Zstd, 100 << 20)),
    ];
    for (cases, answer) in [(answered, (0, 1)), (unanswered, (ErrorCode::CorruptMessage.code(), -1))] {
        for (name, batch) in cases {
            assert!(batch.len() < 1 << 20, "{name}: {}", batch.len());
            assert_eq!(ask_behind(&scene, name, batch), [answer; 6], "{name}");
            scene.bystander.goes_on();
            scene.check_memory();
        }
    }
    scene.end();
}
