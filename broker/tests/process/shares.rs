//! What members of a share group said of records outlives the process; that they had others does not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use model::ErrorCode;
use protocol::control::messages::share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic};
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, IncrementalAlterConfigsResponse, ShareFetchRequest,
    ShareFetchResponse, ShareGroupHeartbeatResponse,
};
use protocol::{Uuid, message};

use super::harness::share_group::{begins_with_the_first, heartbeat};
use super::harness::{Broker, Client, Scratch, TOPIC};

const GROUP: &str = "shares";
const MEMBER: &str = "member";
const ACCEPT: i8 = 1;
const RELEASE: i8 = 2;
const REJECT: i8 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

fn read_from_the_start(client: &mut Client) {
    let response: IncrementalAlterConfigsResponse = client.ask(1, &begins_with_the_first(GROUP));
    assert_eq!(response.responses[0].error_code, 0);
}

/// Beats until there is something to read, or for as long as coordinators load; gives the topic's id.
fn join(client: &mut Client, member: &str) -> Uuid {
    let key = message!(FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()] });
    let found: FindCoordinatorResponse = client.ask(6, &key);
    assert_eq!(found.coordinators[0].error_code, 0);
    let begun = Instant::now();
    let mut epoch = 0;
    while begun.elapsed() < PATIENCE {
        let told: ShareGroupHeartbeatResponse = client.ask(1, &heartbeat(GROUP, member, epoch, TOPIC));
        if told.error_code == 0 {
            epoch = told.member_epoch;
            if let Some(topic) = told.assignment.as_ref().and_then(|all| all.topic_partitions.first()) {
                return topic.topic_id;
            }
        } else {
            assert_eq!(told.error_code, ErrorCode::CoordinatorLoadInProgress.code());
        }
        thread::sleep(Duration::from_millis(200));
    }
    panic!("the member was given nothing");
}

/// Records that were acquired: first and last offset, and how often they were delivered.
type Runs = Vec<(i64, i64, i16)>;

/// A member with its session.
struct Taker<'a> {
    client: &'a mut Client,
    member: &'a str,
    topic: Uuid,
    epoch: i32,
    wait_ms: i32,
}

impl Taker<'_> {
    /// One ShareFetch: what is said of records before, and what it gets.
    fn fetch(&mut self, said: &[(i64, i64, i8)]) -> Runs {
        let one = |(first, last, kind): &(i64, i64, i8)| {
            message!(AcknowledgementBatch {
                first_offset: *first,
                last_offset: *last,
                acknowledge_types: vec![*kind],
            })
        };
        let partition = message!(FetchPartition { acknowledgement_batches: said.iter().map(one).collect() });
        let named = message!(FetchTopic { topic_id: self.topic, partitions: vec![partition] });
        let request = message!(ShareFetchRequest {
            group_id: Some(GROUP.into()),
            member_id: Some(self.member.into()),
            share_session_epoch: self.epoch,
            max_wait_ms: self.wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 10,
            batch_size: 10,
            topics: vec![named],
        });
        let response: ShareFetchResponse = self.client.ask(2, &request);
        assert_eq!(response.error_code, 0);
        self.epoch += 1;
        let Some(topic) = response.responses.first() else { return Vec::new() };
        let data = &topic.partitions[0];
        assert_eq!((data.error_code, data.acknowledge_error_code), (0, 0));
        let runs = data.acquired_records.iter();
        runs.map(|run| (run.first_offset, run.last_offset, run.delivery_count)).collect()
    }
}

#[test]
fn what_was_accepted_is_not_delivered_again() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    read_from_the_start(&mut client);
    let topic = join(&mut client, MEMBER);
    for number in 0..6 {
        client.produce(&[number]).unwrap();
    }
    let mut taken = 0;
    let mut taker = Taker { client: &mut client, member: MEMBER, topic, epoch: 0, wait_ms: 5000 };
    while taken < 6 {
        taken += taker.fetch(&[]).iter().map(|(first, last, _)| last - first + 1).sum::<i64>();
    }
    // Accepted, given back, and nothing said of the rest.
    taker.fetch(&[(0, 1, ACCEPT), (2, 2, RELEASE), (4, 4, ACCEPT)]);
    drop(broker); // Killed.

    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    let topic = join(&mut client, MEMBER);
    let mut taker = Taker { client: &mut client, member: MEMBER, topic, epoch: 0, wait_ms: 5000 };
    let mut seen: Vec<i64> = Vec::new();
    while seen.len() < 3 {
        seen.extend(taker.fetch(&[]).into_iter().flat_map(|(first, last, _)| first..=last));
    }
    assert_eq!(seen, [2, 3, 5]);
}

#[test]
fn what_is_left_of_a_pruned_log_is_all_that_a_start_needs() {
    const STATES: &str = "__share_group_state";
    let often = [
        "share.coordinator.state.topic.prune.interval.ms=500",
        "share.coordinator.cold.partition.snapshot.interval.ms=500",
        "share.coordinator.state.topic.num.partitions=1",
    ];
    let often: Vec<&str> = often.into_iter().flat_map(|set| ["--set", set]).collect();
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &often);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    read_from_the_start(&mut client);
    let topic = join(&mut client, MEMBER);
    for number in 0..6 {
        client.produce(&[number]).unwrap();
    }
    let mut taken = 0;
    let mut taker = Taker { client: &mut client, member: MEMBER, topic, epoch: 0, wait_ms: 5000 };
    while taken < 6 {
        taken += taker.fetch(&[]).iter().map(|(first, last, _)| last - first + 1).sum::<i64>();
    }
    taker.wait_ms = 0;
    taker.fetch(&[(0, 1, ACCEPT), (4, 4, ACCEPT)]);
    let begun = Instant::now();
    while client.offset_of(STATES, 0, -2).1 <= 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is deleted");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(client.offset_of(STATES, 0, -2).1 < client.offset_of(STATES, 0, -1).1);
    drop(broker); // Killed.

    let broker = Broker::start(&scratch.data_dir(), &often);
    let mut client = Client::connect(&broker.ready);
    let topic = join(&mut client, MEMBER);
    let mut taker = Taker { client: &mut client, member: MEMBER, topic, epoch: 0, wait_ms: 5000 };
    let mut seen: Vec<i64> = Vec::new();
    while seen.len() < 3 {
        seen.extend(taker.fetch(&[]).into_iter().flat_map(|(first, last, _)| first..=last));
    }
    assert_eq!(seen, [2, 3, 5]);
}

/// Three members of one partition, of whom each gives some back and rejects some; one is gone in the middle of it.
#[test]
fn every_record_comes_to_an_end_once() {
    const RECORDS: usize = 200;
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    read_from_the_start(&mut client);
    // How often each record was accepted or rejected.
    let ended: Mutex<BTreeMap<i64, u32>> = Mutex::default();
    let begun = Instant::now();
    thread::scope(|scope| {
        for member in ["one", "two", "three"] {
            let (ended, ready) = (&ended, &broker.ready);
            scope.spawn(move || {
                let mut client = Client::connect(ready);
                let topic = join(&mut client, member);
                if member == "three" {
                    let mut gone = Client::connect(ready);
                    // It takes records and says nothing of them: they come back when its connection ends.
                    Taker { client: &mut gone, member: "four", topic, epoch: 0, wait_ms: 5000 }.fetch(&[]);
                }
                let mut taker = Taker { client: &mut client, member, topic, epoch: 0, wait_ms: 500 };
                let mut said: Vec<(i64, i64, i8)> = Vec::new();
                while ended.lock().unwrap().len() < RECORDS || !said.is_empty() {
                    assert!(begun.elapsed() < PATIENCE, "{:?}", ended.lock().unwrap());
                    let got = taker.fetch(&said);
                    for (first, last, kind) in said.drain(..).filter(|(.., kind)| *kind != RELEASE) {
                        assert!(kind == ACCEPT || kind == REJECT);
                        let mut ended = ended.lock().unwrap();
                        (first..=last).for_each(|offset| *ended.entry(offset).or_default() += 1);
                    }
                    for (first, last, count) in got {
                        for offset in first..=last {
                            let kind = match offset % 7 {
                                0 | 1 if count < 3 => RELEASE,
                                2 => REJECT,
                                _ => ACCEPT,
                            };
                            said.push((offset, offset, kind));
                        }
                    }
                    // Ascending, as the protocol has it.
                    said.sort_unstable();
                }
            });
        }
        for number in 0..RECORDS {
            client.produce(&number.to_be_bytes()).unwrap();
        }
    });
    let ended = ended.into_inner().unwrap();
    assert!(ended.len() == RECORDS && ended.values().all(|often| *often == 1), "{ended:?}");
}
