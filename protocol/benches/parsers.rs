//! The two requests that come all the time, from the bytes of a frame: Produce and Fetch.
//!
//! `cargo bench -p millrace-protocol --bench parsers`. Records are not copied, so their size does not matter; the number of partitions does.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::{LeaderEpoch, Offset, TopicId};
use protocol::client::ClientHead;
use protocol::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::header::RequestHeader;
use protocol::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use protocol::{Text, TopicRef};

const HEAD: ClientHead<'_> = ClientHead { version: 12, correlation_id: 7, client_id: Some("bench") };
const PARTITIONS: [i32; 3] = [1, 6, 1000];

/// What a connection hands on: without the length in front.
fn frame(request: Bytes) -> Bytes {
    request.slice(4..)
}

fn produce(partitions: i32) -> Bytes {
    let records = Bytes::from(vec![7; 1024]);
    let partition = |index| ProducePartition { index, records: Some(records.clone()) };
    let topic = ProduceTopic { topic: topic(), partitions: (0..partitions).map(partition).collect() };
    let request =
        ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topics: vec![topic] };
    frame(request.encode(&HEAD))
}

fn fetch(partitions: i32) -> Bytes {
    let partition = |index| FetchPartition {
        index,
        current_leader_epoch: LeaderEpoch(3),
        fetch_offset: Offset(1 << 40),
        last_fetched_epoch: LeaderEpoch(-1),
        log_start_offset: Offset(-1),
        max_bytes: 1 << 20,
        replica_directory_id: [0; 16],
        high_watermark: Offset(i64::MAX),
    };
    let request = FetchRequest {
        cluster_id: None,
        replica_id: -1,
        replica_epoch: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 50 << 20,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic { topic: topic(), partitions: (0..partitions).map(partition).collect() }],
        forgotten: Vec::new(),
        rack_id: Text::default(),
    };
    let mut out = BytesMut::new();
    request.write(&HEAD, &mut out);
    frame(out.freeze())
}

fn topic() -> TopicRef {
    // Version 12 of both names topics; the next ones have ids.
    TopicRef { name: "a-topic-as-long-as-most".into(), id: TopicId::ZERO }
}

fn parsers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for partitions in PARTITIONS {
        group.throughput(Throughput::Elements(u64::from(partitions.unsigned_abs())));
        let bytes = produce(partitions);
        let decode = |frame: &Bytes| ProduceRequest::decode(&RequestHeader::parse(frame)?, frame);
        assert!(decode(&bytes).is_ok_and(|request| request.topics.len() == 1), "a good request");
        group.bench_function(format!("produce, {partitions} partitions"), |bencher| {
            bencher.iter(|| decode(black_box(&bytes)));
        });
        let bytes = fetch(partitions);
        let decode = |frame: &Bytes| FetchRequest::decode(&RequestHeader::parse(frame)?, frame);
        assert!(decode(&bytes).is_ok_and(|request| request.topics.len() == 1), "a good request");
        group.bench_function(format!("fetch, {partitions} partitions"), |bencher| {
            bencher.iter(|| decode(black_box(&bytes)));
        });
    }
}

criterion_group!(all, parsers);
criterion_main!(all);
