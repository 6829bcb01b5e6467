//! Records that are not what they say.

use bytes::{BufMut, Bytes, BytesMut};
use model::batch::BatchBuilder;
use model::{ErrorCode, TimestampMs};

use super::beside::Scene;
use super::wire::{Produce, produced};

/// Where the parts of a batch's header are.
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const COUNT_AT: usize = 57;

fn good() -> Vec<u8> {
    BatchBuilder::new().value(TimestampMs(1), b"value").build()
}

/// A good batch after a change, its checksum right again.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = good();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(batch)
}

/// The batch with the right checksum.
pub fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&batch[CRC_AT + 4..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The checksum of record batches, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[test]
fn every_damaged_batch_is_refused_and_the_connection_goes_on() {
    use ErrorCode as E;
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let before = client.end_offset();
    let mut flipped = good();
    *flipped.last_mut().unwrap() ^= 1;
    let two = [good(), good()].concat();
    let truncated = good()[..good().len() - 3].to_vec();
    let magic = |magic| changed(MAGIC_AT, &[magic]);
    let cases: [(&str, Vec<u8>, ErrorCode); 14] = [
        ("bad checksum", flipped, E::CorruptMessage),
        ("magic 0", magic(0), E::InvalidRecord),
        ("magic 1", magic(1), E::InvalidRecord),
        ("magic 3", magic(3), E::CorruptMessage),
        ("magic -1", magic(255), E::CorruptMessage),
        ("truncated", truncated, E::InvalidRecord),
        ("two batches", two, E::InvalidRecord),
        ("nothing", Vec::new(), E::InvalidRecord),
        ("half a header", good()[..30].to_vec(), E::InvalidRecord),
        ("length 2 GiB", changed(LENGTH_AT, &i32::MAX.to_be_bytes()), E::InvalidRecord),
        ("length -1", changed(LENGTH_AT, &(-1_i32).to_be_bytes()), E::CorruptMessage),
        ("2^31 records", changed(COUNT_AT, &i32::MAX.to_be_bytes()), E::InvalidRecord),
        ("negative records", changed(COUNT_AT, &i32::MIN.to_be_bytes()), E::InvalidRecord),
        ("no records", changed(COUNT_AT, &[0; 4]), E::InvalidRecord),
    ];
    for (name, batch, code) in cases {
        let request = Produce { partitions: vec![(0, Some(Bytes::from(batch)))], ..Produce::default() };
        client.send(&request.frame()).unwrap();
        let (_, error, offset) = produced(client.receive().unwrap())[0];
        assert_eq!(error, code.code(), "{name}");
        assert_eq!(offset, -1, "{name}");
    }
    assert!(client.end_offset() >= before);
    scene.end();
}

/// Counts in a request that are larger than the request.
#[test]
fn counts_of_2_to_the_31_close_the_connection() {
    let scene = Scene::new(&[]);
    let counts = [i32::MAX, i32::MIN, 1 << 30];
    let mut cases: Vec<(&str, BytesMut)> = Vec::new();
    for count in counts {
        let mut topics = super::harness::front(0, 8);
        topics.put_i16(-1);
        topics.put_i16(-1);
        topics.put_i32(1000);
        topics.put_i32(count);
        cases.push(("Produce", topics));
        let mut partitions = super::harness::front(0, 8);
        partitions.put_i16(-1);
        partitions.put_i16(-1);
        partitions.put_i32(1000);
        super::harness::put_topic(&mut partitions, "t");
        partitions.put_i32(count);
        cases.push(("Produce", partitions));
        let mut fetch = super::harness::front(1, 11);
        fetch.put_slice(&[0; 25]);
        fetch.put_i32(count);
        cases.push(("Fetch", fetch));
        let mut metadata = super::harness::front(3, 1);
        metadata.put_i32(if count == i32::MIN { i32::MAX - 1 } else { count });
        cases.push(("Metadata", metadata));
        let mut protocols = super::harness::front(11, 0);
        super::wire::put_string(&mut protocols, "g");
        protocols.put_i32(10_000);
        super::wire::put_string(&mut protocols, "");
        super::wire::put_string(&mut protocols, "consumer");
        protocols.put_i32(count);
        cases.push(("JoinGroup", protocols));
    }
    for (name, frame) in cases {
        let mut client = scene.client();
        client.send(&frame).unwrap();
        let error = client.receive().expect_err(name);
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{name} hangs");
        scene.broker.wait_for_log(&format!("{name} cannot be read"));
    }
    scene.end();
}
