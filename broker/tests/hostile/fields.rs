//! Every field of Produce and Fetch at its extremes: an answer each, and the connection goes on.

use bytes::Bytes;
use model::batch::BatchBuilder;
use model::{ErrorCode, TimestampMs};

use super::beside::Scene;
use super::wire::{Fetch, Produce, Wish, fetched, produced};

fn batch() -> Option<Bytes> {
    Some(BatchBuilder::new().value(TimestampMs(1), b"value").build().into())
}

#[test]
fn every_field_of_produce_at_its_extremes() {
    use ErrorCode as E;
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let one = || vec![(0, batch())];
    let good = || Produce { partitions: one(), ..Produce::default() };
    let long = "x".repeat(i16::MAX as usize);
    let mut cases: Vec<(String, Produce<'_>, ErrorCode)> = Vec::new();
    for acks in [5, 2, -2, i16::MIN, i16::MAX] {
        cases.push((format!("acks {acks}"), Produce { acks, ..good() }, E::InvalidRequiredAcks));
    }
    for timeout_ms in [-1, 0, i32::MIN, i32::MAX] {
        cases.push((format!("timeout {timeout_ms}"), Produce { timeout_ms, ..good() }, E::None));
    }
    for index in [-1, 1, i32::MIN, i32::MAX] {
        let request = Produce { partitions: vec![(index, batch())], ..good() };
        cases.push((format!("partition {index}"), request, E::UnknownTopicOrPartition));
    }
    for topic in ["", ".", "..", "a/b", "nul\0", "none", "\u{1f980}", &long] {
        let request = Produce { topic, ..good() };
        cases.push((format!("topic of {} bytes", topic.len()), request, E::UnknownTopicOrPartition));
    }
    let transactional = Produce { transactional_id: Some("t"), ..good() };
    cases.push(("a transaction".into(), transactional, E::InvalidRequest));
    let none = Produce { partitions: vec![(0, None)], ..good() };
    cases.push(("no records".into(), none, E::InvalidRecord));
    for (name, request, code) in cases {
        client.send(&request.frame()).unwrap();
        let answer = produced(client.receive().unwrap());
        assert_eq!(answer.len(), request.partitions.len(), "{name}");
        for ((index, error, _), (asked, _)) in answer.iter().zip(&request.partitions) {
            assert_eq!(index, asked, "{name}");
            assert_eq!(*error, code.code(), "{name}");
        }
    }
    // One partition twice: both have an answer, and what was acknowledged has offsets of its own.
    let twice = Produce { partitions: vec![(0, batch()), (0, batch())], ..good() };
    client.send(&twice.frame()).unwrap();
    let answer = produced(client.receive().unwrap());
    assert_eq!(answer.len(), 2);
    assert_eq!((answer[0].1, answer[1].1), (0, 0));
    assert_ne!(answer[0].2, answer[1].2);
    scene.end();
}

#[test]
fn every_field_of_fetch_at_its_extremes() {
    use ErrorCode as E;
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let wish = |wish| Fetch { wishes: vec![wish], ..Fetch::default() };
    let mut cases: Vec<(String, Fetch<'_>, ErrorCode)> = Vec::new();
    for offset in [-1, i64::MIN, i64::MAX, i64::MAX - 1] {
        let fetch = wish(Wish { offset, ..Wish::default() });
        cases.push((format!("offset {offset}"), fetch, E::OffsetOutOfRange));
    }
    for bytes_max in [0, -1, i32::MIN, i32::MAX] {
        cases.push((format!("most {bytes_max}"), Fetch { bytes_max, ..Fetch::default() }, E::None));
        let fetch = wish(Wish { bytes_max, ..Wish::default() });
        cases.push((format!("most of a partition {bytes_max}"), fetch, E::None));
    }
    for bytes_min in [0, -1, i32::MIN, i32::MAX] {
        cases.push((format!("least {bytes_min}"), Fetch { bytes_min, ..Fetch::default() }, E::None));
    }
    for wait_ms in [-1, i32::MIN] {
        let fetch = Fetch { wait_ms, bytes_min: i32::MAX, ..Fetch::default() };
        cases.push((format!("wait {wait_ms}"), fetch, E::None));
    }
    cases.push(("wait for ever".into(), Fetch { wait_ms: i32::MAX, ..Fetch::default() }, E::None));
    for index in [-1, 1, i32::MIN, i32::MAX] {
        let fetch = wish(Wish { index, ..Wish::default() });
        cases.push((format!("partition {index}"), fetch, E::UnknownTopicOrPartition));
    }
    for leader_epoch in [-2, i32::MIN, i32::MAX] {
        let fetch = wish(Wish { leader_epoch, ..Wish::default() });
        let code = if leader_epoch < 0 { E::FencedLeaderEpoch } else { E::UnknownLeaderEpoch };
        cases.push((format!("epoch {leader_epoch}"), fetch, code));
    }
    for log_start in [i64::MIN, i64::MAX] {
        let fetch = wish(Wish { log_start, ..Wish::default() });
        cases.push((format!("log start {log_start}"), fetch, E::None));
    }
    for isolation in [2, -1, i8::MIN, i8::MAX] {
        let fetch = Fetch { isolation, ..Fetch::default() };
        cases.push((format!("isolation {isolation}"), fetch, E::UnknownServerError));
    }
    for (name, fetch, code) in cases {
        client.send(&fetch.frame()).unwrap();
        let answer = fetched(client.receive().unwrap());
        let error = answer.partitions.first().map_or(answer.error, |partition| partition.1);
        assert_eq!(error, code.code(), "{name}");
    }
    sessions(&scene);
    replicas(&scene);
    scene.end();
}

fn sessions(scene: &Scene) {
    let mut client = scene.client();
    for session_id in [0, -1, 1, i32::MIN, i32::MAX] {
        for session_epoch in [-1, 0, 1, -2, i32::MIN, i32::MAX] {
            let fetch = Fetch { session_id, session_epoch, ..Fetch::default() };
            client.send(&fetch.frame()).unwrap();
            let error = fetched(client.receive().unwrap()).error;
            // There is no session: what asks for one is told so, everything else is a fetch without one.
            let code = if session_epoch > 0 { ErrorCode::FetchSessionIdNotFound } else { ErrorCode::None };
            assert_eq!(error, code.code(), "{session_id} {session_epoch}");
        }
    }
    // The same partition a thousand times, and forgotten as often.
    let fetch = Fetch {
        session_epoch: 0,
        wishes: vec![Wish::default(); 1000],
        forgotten: vec![0; 1000],
        ..Fetch::default()
    };
    client.send(&fetch.frame()).unwrap();
    assert_eq!(fetched(client.receive().unwrap()).error, 0);
}

/// Nobody is a replica: such a connection is closed.
fn replicas(scene: &Scene) {
    for replica in [0, 1, i32::MAX] {
        let mut client = scene.client();
        client.send(&Fetch { replica, ..Fetch::default() }.frame()).unwrap();
        client.receive().expect_err("no replica");
    }
    scene.broker.wait_for_log("a fetch of a replica");
}
