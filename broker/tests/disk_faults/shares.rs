//! Share groups that read what rotted.

use std::time::{Duration, Instant};

use protocol::control::messages::share_fetch_request::{FetchPartition, FetchTopic};
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, IncrementalAlterConfigsResponse, ShareFetchRequest,
    ShareFetchResponse, ShareGroupHeartbeatResponse,
};
use protocol::{Uuid, message};

use super::fixture::{STORAGE_ERROR, Scratch, VICTIM, flip, template};
use super::rot::{batch_at, segments};
use super::share_group::{begins_with_the_first, heartbeat};
use super::wire::Wire;

const GROUP: &str = "queue";
const PATIENCE: Duration = Duration::from_secs(30);

/// A member of a group that begins with the first record: the id of the topic that it was given.
fn join(wire: &mut Wire) -> Uuid {
    let response: IncrementalAlterConfigsResponse = wire.ask(1, &begins_with_the_first(GROUP)).unwrap();
    assert_eq!(response.responses[0].error_code, 0);
    let key = message!(FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()] });
    let found: FindCoordinatorResponse = wire.ask(6, &key).unwrap();
    assert_eq!(found.coordinators[0].error_code, 0);
    let begun = Instant::now();
    let mut epoch = 0;
    while begun.elapsed() < PATIENCE {
        let beat = heartbeat(GROUP, "member", epoch, VICTIM);
        let told: ShareGroupHeartbeatResponse = wire.ask(1, &beat).unwrap();
        if told.error_code == 0 {
            epoch = told.member_epoch;
            if let Some(topic) = told.assignment.as_ref().and_then(|all| all.topic_partitions.first()) {
                return topic.topic_id;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("the member was given nothing");
}

/// What a member gets that wants more than there is: the last offset behind the first, and the error of the partition.
fn fetch(wire: &mut Wire, topic: Uuid, epoch: i32) -> (Option<(i64, i64)>, i16) {
    let named = message!(FetchTopic { topic_id: topic, partitions: vec![FetchPartition::default()] });
    let request = message!(ShareFetchRequest {
        group_id: Some(GROUP.into()),
        member_id: Some("member".into()),
        share_session_epoch: epoch,
        max_wait_ms: 5_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 10_000,
        batch_size: 10_000,
        topics: if epoch == 0 { vec![named] } else { Vec::new() },
    });
    let response: ShareFetchResponse = wire.ask(2, &request).unwrap();
    assert_eq!(response.error_code, 0);
    let Some(part) = response.responses.first().and_then(|topic| topic.partitions.first()) else {
        return (None, 0);
    };
    let (first, last) = (part.acquired_records.first(), part.acquired_records.last());
    (first.zip(last).map(|(first, last)| (first.first_offset, last.last_offset)), part.error_code)
}

#[test]
fn what_stands_before_a_record_that_rots_is_handed_out() {
    let template = template("queue", true);
    let scratch = Scratch::copy_of("queue", &template.data());
    let segments = segments(&scratch, VICTIM);
    let base: i64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let bad = base + 3;
    flip(&segments[1], batch_at(&segments[1], bad) + 200);
    let broker = scratch.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    let topic = join(&mut wire);
    let (mut next, mut error) = (0, 0);
    for epoch in 0..20 {
        let (got, said) = fetch(&mut wire, topic, epoch);
        if let Some((first, last)) = got {
            assert_eq!(first, next);
            next = last + 1;
        }
        error = said;
        if error != 0 {
            break;
        }
    }
    assert_eq!((next, error), (bad, STORAGE_ERROR));
}
