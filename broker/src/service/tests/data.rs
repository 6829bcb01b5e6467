//! Produce, Fetch and the offsets between them.

use bytes::{Buf, Bytes};
use model::batch::{BatchBuilder, RecordBatch};
use model::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};
use net::service::Reply;
use protocol::control::messages::*;
use protocol::message;

use super::super::harness::{Client, Wanted, fetch, joined, produce};
use super::{create, list};

pub(crate) fn batch(client: &Client, values: &[&str]) -> Vec<u8> {
    let now = TimestampMs(client.simulation.now_ms());
    values.iter().fold(BatchBuilder::new(), |batch, value| batch.value(now, value.as_bytes())).build()
}

/// Index, error, base offset and append time of each partition of a Produce 8 response.
pub(super) fn produced(mut response: Bytes) -> Vec<(i32, i16, i64, i64)> {
    response.advance(4 + 4);
    let name = usize::from(response.get_u16());
    response.advance(name);
    let count = response.get_i32();
    let partition = |_| {
        let found = (response.get_i32(), response.get_i16(), response.get_i64(), response.get_i64());
        response.advance(8 + 4);
        let message = response.get_i16();
        response.advance(usize::try_from(message).unwrap_or(0));
        found
    };
    (0..count).map(partition).collect()
}

/// Index, error, high watermark and values of one partition.
type FetchedPartition = (i32, i16, i64, Vec<String>);

/// Session and partitions of a Fetch 11 response.
fn fetched(response: Bytes) -> (i32, Vec<FetchedPartition>) {
    let (session, partitions) = fetched_batches(response);
    let values = |records: &[u8]| {
        let values = RecordBatch::all_in(records).flat_map(|batch| {
            let values = batch.unwrap().records().map(|record| record.unwrap().value.unwrap().to_vec());
            values.map(|value| String::from_utf8(value).unwrap()).collect::<Vec<_>>()
        });
        values.collect()
    };
    let found = partitions.into_iter();
    let found = found.map(|(index, error, watermark, records)| (index, error, watermark, values(&records)));
    (session, found.collect())
}

/// The same with the batches as they came.
pub(super) fn fetched_batches(mut response: Bytes) -> (i32, Vec<(i32, i16, i64, Bytes)>) {
    response.advance(4 + 4);
    assert_eq!(response.get_i16(), 0);
    let session = response.get_i32();
    let mut found = Vec::new();
    for _ in 0..response.get_i32() {
        let name = usize::from(response.get_u16());
        response.advance(name);
        for _ in 0..response.get_i32() {
            let (index, error, high_watermark) = (response.get_i32(), response.get_i16(), response.get_i64());
            response.advance(8 + 8 + 4 + 4);
            let length = usize::try_from(response.get_i32()).unwrap();
            found.push((index, error, high_watermark, response.split_to(length)));
        }
    }
    (session, found)
}

pub(super) fn wanted(session: (i32, i32), partitions: &[(i32, i64)]) -> Wanted {
    Wanted { session, wait_ms: 0, bytes_min: 1, partitions: partitions.to_vec() }
}

#[test]
fn what_is_produced_is_fetched_from_both_cores() {
    let client = Client::new();
    assert_eq!(create(&client, "t", 4, &[]), 0);
    let batches: Vec<_> = (0..4).map(|index| (index, batch(&client, &["a", "b"]))).collect();
    let answers = produced(client.response(produce("t", -1, &batches)));
    assert_eq!(answers, [(0, 0, 0, -1), (1, 0, 0, -1), (2, 0, 0, -1), (3, 0, 0, -1)]);
    let answers = produced(client.response(produce("t", 1, &[(2, batch(&client, &["c"]))])));
    assert_eq!(answers, [(2, 0, 2, -1)]);
    let asked = wanted((0, -1), &[(0, 0), (1, 1), (2, 2), (3, 2)]);
    let (_, partitions) = fetched(client.response(fetch("t", &asked)));
    let values: Vec<_> = partitions.iter().map(|(index, .., values)| (*index, values.join(""))).collect();
    // A fetch gives whole batches: the client skips what it did not ask for.
    assert_eq!(values, [(0, "ab".into()), (1, "ab".into()), (2, "c".into()), (3, String::new())]);
}

#[test]
fn pipelined_batches_keep_their_order() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    client.simulation.run_until(async {
        let mut replies = Vec::new();
        for i in 0..20 {
            let batch = batch(&client, &[&format!("{i}")]);
            replies.push(client.begin(produce("t", -1, &[(0, batch)])).await);
        }
        for (i, reply) in replies.into_iter().enumerate() {
            let Reply::Send(response) = reply.await else { panic!("no response") };
            assert_eq!(produced(joined(&response))[0].2, i64::try_from(i).unwrap());
        }
    });
}

#[test]
fn a_fetch_over_several_cores_waits_for_bytes_or_time() {
    let client = Client::new();
    create(&client, "t", 2, &[]);
    let asked = Wanted { wait_ms: 500, ..wanted((0, -1), &[(0, 0), (1, 0)]) };
    let before = client.simulation.now_ms();
    let (_, nothing) = fetched(client.response(fetch("t", &asked)));
    assert!(nothing.iter().all(|(.., values)| values.is_empty()));
    assert!(client.simulation.now_ms() - before >= 500, "it waited");
    client.simulation.run_until(async {
        let asked = Wanted { wait_ms: 60_000, ..wanted((0, -1), &[(0, 0), (1, 0)]) };
        let waiting = client.begin(fetch("t", &asked)).await;
        let appended = client.begin(produce("t", -1, &[(1, batch(&client, &["x"]))])).await;
        let before = client.simulation.now_ms();
        let (_, reply) = futures_lite::future::zip(appended, waiting).await;
        let Reply::Send(response) = reply else { panic!("no response") };
        assert_eq!(fetched(joined(&response)).1[1].3, ["x"]);
        assert!(client.simulation.now_ms() - before < 60_000, "the bytes let it go");
    });
}

#[test]
fn sessions_tell_only_what_changed() {
    let client = Client::new();
    create(&client, "t", 3, &[]);
    let (session, all) = fetched(client.response(fetch("t", &wanted((0, 0), &[(0, 0), (1, 0), (2, 0)]))));
    assert_eq!((session != 0, all.len()), (true, 3));
    client.response(produce("t", -1, &[(1, batch(&client, &["x"]))]));
    let (_, changed) = fetched(client.response(fetch("t", &wanted((session, 1), &[]))));
    assert_eq!(changed, [(1, 0, 1, vec!["x".to_owned()])]);
    let (_, unknown) = fetched(client.response(fetch("t", &wanted((session, 2), &[(1, 1), (9, 0)]))));
    assert_eq!(unknown, [(9, ErrorCode::UnknownTopicOrPartition.code(), -1, vec![])]);
}

#[test]
fn idempotence_is_kept_across_requests() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let plain = message!(InitProducerIdRequest { transactional_id: None });
    let id: InitProducerIdResponse = client.ask(5, &plain);
    assert_eq!((id.error_code, id.producer_id, id.producer_epoch), (0, 0, 0));
    let next: InitProducerIdResponse = client.ask(2, &plain);
    assert_eq!(next.producer_id, 1);
    let now = TimestampMs(client.simulation.now_ms());
    let sequenced = |first| {
        let builder = BatchBuilder::new().producer(ProducerId(id.producer_id), ProducerEpoch(0), first);
        vec![(0, builder.value(now, b"v").build())]
    };
    let send = |first| {
        let (_, error, base, _) = produced(client.response(produce("t", -1, &sequenced(first))))[0];
        (error, base)
    };
    assert_eq!([send(0), send(1)], [(0, 0), (0, 1)]);
    assert_eq!(send(0), (0, 0), "a duplicate has the original's offset");
    assert_eq!(send(5), (ErrorCode::OutOfOrderSequenceNumber.code(), -1));
    let transactional = message!(InitProducerIdRequest { transactional_id: Some("tx".into()) });
    let refused: InitProducerIdResponse = client.ask(5, &transactional);
    assert_eq!((refused.error_code, refused.producer_id), (ErrorCode::InvalidRequest.code(), -1));
}

#[test]
fn what_is_wrong_is_told_per_partition() {
    let client = Client::new();
    create(&client, "t", 1, &[("max.message.bytes", "100"), ("min.insync.replicas", "2")]);
    let code =
        |acks, index, batch: Vec<u8>| produced(client.response(produce("t", acks, &[(index, batch)])))[0].1;
    let good = || batch(&client, &["x"]);
    assert_eq!(code(7, 0, good()), ErrorCode::InvalidRequiredAcks.code());
    assert_eq!(code(-1, 0, good()), 0, "no more replicas are asked for than there are");
    assert_eq!(code(1, 1, good()), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(code(1, 0, batch(&client, &[&"x".repeat(100)])), ErrorCode::MessageTooLarge.code());
    let mut rotten = good();
    rotten[65] ^= 1;
    assert_eq!(code(1, 0, rotten), ErrorCode::CorruptMessage.code());
    assert_eq!(code(1, 0, good()), 0);
    let unknown = client.response(produce("nobody", 1, &[(0, good())]));
    assert_eq!(produced(unknown)[0].1, ErrorCode::UnknownTopicOrPartition.code());
    // acks=0: silence, or the end of the connection.
    assert!(matches!(client.send(produce("t", 0, &[(0, good())])), Reply::Silent));
    assert!(matches!(client.send(produce("nobody", 0, &[(0, good())])), Reply::Close(_)));
}

#[test]
fn the_broker_stamps_where_the_topic_says_so() {
    let client = Client::new();
    create(&client, "t", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let old = BatchBuilder::new().value(TimestampMs(5), b"x").build();
    let (_, error, base, stamped) = produced(client.response(produce("t", -1, &[(0, old)])))[0];
    assert_eq!((error, base), (0, 0));
    assert!(stamped > 5);
    let (_, partitions) = fetched(client.response(fetch("t", &wanted((0, -1), &[(0, 0)]))));
    assert_eq!(partitions[0].3, ["x"]);
}

#[test]
fn offsets_are_listed_and_records_deleted() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let start = client.simulation.now_ms();
    for i in 0..3 {
        let batch = BatchBuilder::new().value(TimestampMs(start + i * 100), b"x").build();
        client.response(produce("t", -1, &[(0, batch)]));
    }
    let offsets: Vec<_> =
        [-1, -2, -3, -4, -5, -6, start + 50, start + 999].map(|time| list(&client, 11, time)).into();
    assert_eq!(offsets, [(0, 3), (0, 0), (0, 2), (0, 0), (0, -1), (0, -1), (0, 1), (0, -1)]);
    assert_eq!(list(&client, 6, -3), (ErrorCode::UnsupportedVersion.code(), -1));

    create(&client, "__consumer_offsets", 1, &[]);
    let delete = |name: &str, index| {
        let partition =
            message!(delete_records_request::DeleteRecordsPartition { partition_index: index, offset: 2 });
        let topic = message!(delete_records_request::DeleteRecordsTopic {
            name: name.into(),
            partitions: vec![partition]
        });
        let request = message!(DeleteRecordsRequest { topics: vec![topic] });
        let response: DeleteRecordsResponse = client.ask(2, &request);
        let told = &response.topics[0].partitions[0];
        (told.error_code, told.low_watermark)
    };
    assert_eq!(delete("t", 0), (0, 2));
    assert_eq!(delete("__consumer_offsets", 0), (ErrorCode::InvalidTopicException.code(), -1));
    assert_eq!(delete("__consumer_offsets", 99), (ErrorCode::UnknownTopicOrPartition.code(), -1));
    assert_eq!(list(&client, 11, -2), (0, 2));
    let (_, gone) = fetched(client.response(fetch("t", &wanted((0, -1), &[(0, 1)]))));
    assert_eq!(gone[0].1, ErrorCode::OffsetOutOfRange.code());
}

#[test]
fn an_isolation_level_that_does_not_exist_is_told_as_kafka_tells_it() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    let unknown = ErrorCode::UnknownServerError.code();
    for (level, code) in [(0, 0), (1, 0), (2, unknown), (-1, unknown)] {
        let listed = |topic: &str, index| -> i16 {
            let partition = message!(list_offsets_request::ListOffsetsPartition {
                partition_index: index,
                timestamp: -1
            });
            let topic = message!(list_offsets_request::ListOffsetsTopic {
                name: topic.into(),
                partitions: vec![partition]
            });
            let request =
                message!(ListOffsetsRequest { replica_id: -1, isolation_level: level, topics: vec![topic] });
            let response: ListOffsetsResponse = client.ask(7, &request);
            response.topics[0].partitions[0].error_code
        };
        assert_eq!(listed("t", 0), code, "level {level}");
        let missing = if code == 0 { ErrorCode::UnknownTopicOrPartition.code() } else { code };
        assert_eq!(listed("nobody", 0), missing, "level {level}");

        let fetch = |topic, index| {
            let mut frame = fetch(topic, &wanted((0, -1), &[(index, 0)])).to_vec();
            frame[26] = level.to_le_bytes()[0];
            let mut response = client.response(Bytes::from(frame));
            response.advance(4 + 4);
            let whole = response.get_i16();
            response.advance(4 + 4 + 2 + topic.len() + 4 + 4);
            (whole, response.get_i16())
        };
        assert_eq!(fetch("t", 0), (code, code), "level {level}");
        // Nothing there to fetch: nobody asks how.
        assert_eq!(fetch("nobody", 0), (0, ErrorCode::UnknownTopicOrPartition.code()), "level {level}");
    }
}
