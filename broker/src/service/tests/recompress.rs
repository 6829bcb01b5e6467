//! Topics that say how their batches are compressed.

use std::io::Write;

use bytes::Bytes;
use model::batch::{BatchBuilder, Codec, Compression, RecordBatch};
use model::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};
use storage::recompress::recompress;

use super::create;
use super::data::{fetched_batches, produced, wanted};
use crate::service::harness::{Client, fetch, produce};

fn builder(client: &Client) -> BatchBuilder {
    let now = TimestampMs(client.simulation.now_ms());
    BatchBuilder::new().producer(ProducerId(7), ProducerEpoch(0), 0).value(now, &[b'v'; 500]).record(
        now,
        Some(b"key"),
        None,
    )
}

fn gzipped(records: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(records).unwrap();
    encoder.finish().unwrap()
}

fn stored(client: &Client, topic: &str) -> Bytes {
    let (_, partitions) = fetched_batches(client.response(fetch(topic, &wanted((0, -1), &[(0, 0)]))));
    partitions[0].3.clone()
}

#[test]
fn batches_are_stored_as_their_topic_says() {
    let client = Client::new();
    for (name, compression) in [
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ] {
        assert_eq!(create(&client, name, 1, &[("compression.type", name)]), 0);
        let sent = builder(&client);
        let sent = [sent.build(), sent.build_compressed(Compression::Gzip, gzipped)];
        for (n, sent) in sent.iter().enumerate() {
            // The second is the first again.
            let answer = produced(client.response(produce(name, -1, &[(0, sent.clone())])));
            assert_eq!((answer[0].1, answer[0].2), (0, 0), "{name} {n}");
        }
        let stored = stored(&client, name);
        let (batch, rest) = RecordBatch::parse(&stored).unwrap();
        assert!(rest.is_empty() && batch.check_crc().is_ok());
        assert_eq!((batch.compression(), batch.record_count()), (Ok(compression), 2));
        assert_eq!((batch.producer_id(), batch.base_sequence()), (ProducerId(7), 0));
        let back = recompress(&batch, Codec { compression: Compression::None, level: 0 }, 1 << 20).unwrap();
        assert_eq!(
            RecordBatch::parse(&back).unwrap().0.payload(),
            RecordBatch::parse(&sent[0]).unwrap().0.payload()
        );
    }
}

#[test]
fn what_cannot_be_recompressed_is_refused_by_itself() {
    let client = Client::new();
    create(&client, "t", 4, &[("compression.type", "uncompressed"), ("max.message.bytes", "1000")]);
    let good = || BatchBuilder::new().value(TimestampMs(client.simulation.now_ms()), b"x").build();
    let zeros = BatchBuilder::new().value(TimestampMs(client.simulation.now_ms()), &[0; 10_000]);
    let bomb = zeros.build_compressed(Compression::Gzip, gzipped);
    assert!(bomb.len() < 1000);
    let garbage = zeros.build_compressed(Compression::Gzip, |_| b"nonsense".to_vec());
    let packed = zeros.build_compressed(Compression::Gzip, |_| gzipped(b"nonsense"));
    let batches = [(0, good()), (1, bomb), (2, garbage), (3, packed)];
    let codes: Vec<_> =
        produced(client.response(produce("t", -1, &batches))).iter().map(|one| one.1).collect();
    let (large, invalid) = (ErrorCode::MessageTooLarge.code(), ErrorCode::InvalidRecord.code());
    assert_eq!(codes, [0, large, invalid, invalid]);
    let ends = (0..4).map(|index| produced(client.response(produce("t", -1, &[(index, good())])))[0].2);
    assert_eq!(ends.collect::<Vec<_>>(), [1, 0, 0, 0], "nothing of what was refused is there");
}
