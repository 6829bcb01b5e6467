//! Memory of control-plane requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::poll_once;
use model::limits::{DECODED_BYTES_MAX, RESPONSE_PINNED_BYTES};
use net::service::Reply;
use protocol::control::encode_request;
use protocol::control::messages::*;
use protocol::message;

use super::super::harness::{ANSWER_BYTES, Client, Wanted, fetch, joined, produce};
use super::create;
use super::data::{batch, produced, wanted};

fn all_topics() -> Bytes {
    encode_request(12, 7, None, &message!(MetadataRequest { topics: None })).unwrap()
}

#[test]
fn an_answer_is_charged_with_its_size_until_it_is_dropped() {
    let client = Client::new();
    create(&client, "t", 100, &[]);
    assert_eq!(client.answers.used(), 0);
    let partition =
        message!(list_offsets_request::ListOffsetsPartition { partition_index: 0, timestamp: -1 });
    let topic =
        message!(list_offsets_request::ListOffsetsTopic { name: "t".into(), partitions: vec![partition] });
    let offsets = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    // One that is answered at once, and one whose answer comes from other cores.
    for frame in [all_topics(), encode_request(7, 7, None, &offsets).unwrap()] {
        let Reply::Send(response) = client.send(frame) else { panic!("no response") };
        assert_eq!(client.answers.used(), joined(&response).len());
        drop(response);
        assert_eq!(client.answers.used(), 0);
    }
}

#[test]
fn a_request_waits_for_memory_before_it_is_decoded() {
    let client = Client::new();
    create(&client, "t", 1, &[]);
    client.simulation.run_until(async {
        let capacity = client.answers.admit(ANSWER_BYTES).await;
        let reserve = client.answers.admit(DECODED_BYTES_MAX).await;
        let mut waiting = Box::pin(client.begin(all_topics()));
        assert!(poll_once(&mut waiting).await.is_none(), "nothing is left");
        drop(capacity);
        assert!(matches!(waiting.await.await, Reply::Send(_)));
        drop(reserve);
    });
    assert_eq!(client.answers.used(), 0);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let client = Client::new();
    let mut cut = all_topics().to_vec();
    cut.truncate(cut.len() - 3);
    assert!(matches!(client.send(Bytes::from(cut)), Reply::Close(_)));
    let name = "n".repeat(300);
    let topics = (0..6000)
        .map(|_| message!(metadata_request::MetadataRequestTopic { name: Some(name.as_str().into()) }));
    let large = message!(MetadataRequest { topics: Some(topics.collect()) });
    let Reply::Close(why) = client.send(encode_request(12, 7, None, &large).unwrap()) else {
        panic!("too large a body is answered")
    };
    assert!(why.contains("Metadata"), "{why}");
    assert_eq!(client.answers.used(), 0);
}

/// A name may be as long as a request, and each of its partitions is told of it.
#[test]
fn what_each_partition_is_told_is_short_whatever_the_topic_is_called() {
    const COUNT: i32 = 20_000;
    let client = Client::new();
    let name = "n".repeat(30_000);
    let indexes: Vec<i32> = (0..COUNT).collect();
    let elect = message!(ElectLeadersRequest {
        topic_partitions: Some(vec![message!(elect_leaders_request::TopicPartitions {
            topic: name.as_str().into(),
            partitions: indexes.clone(),
        })]),
    });
    let producers = message!(DescribeProducersRequest {
        topics: vec![message!(describe_producers_request::TopicRequest {
            name: name.as_str().into(),
            partition_indexes: indexes.clone(),
        })],
    });
    let partition = |index: i32| {
        message!(alter_partition_reassignments_request::ReassignablePartition {
            partition_index: index,
            replicas: None,
        })
    };
    let reassign = message!(AlterPartitionReassignmentsRequest {
        topics: vec![message!(alter_partition_reassignments_request::ReassignableTopic {
            name: name.as_str().into(),
            partitions: indexes.iter().copied().map(partition).collect(),
        })],
    });
    for frame in [
        encode_request(2, 7, None, &elect).unwrap(),
        encode_request(0, 7, None, &producers).unwrap(),
        encode_request(1, 7, None, &reassign).unwrap(),
    ] {
        let Reply::Send(response) = client.send(frame) else { panic!("no response") };
        assert!(joined(&response).len() < name.len() + 400 * COUNT as usize);
    }
}

const PARTITIONS: i32 = 8;

/// A topic over both cores with a record in each partition, and little memory for answers.
fn with_little_to_lend() -> Client {
    let client = Client::lending(1000, &[("node.id", "1")], |_| {});
    create(&client, "t", PARTITIONS, &[]);
    for index in 0..PARTITIONS {
        let value = "v".repeat(400);
        let answer = produced(client.response(produce("t", -1, &[(index, batch(&client, &[&value]))])));
        assert_eq!(answer[0].1, 0);
    }
    client
}

fn lent(client: &Client) -> u64 {
    client.lenders.iter().map(|lender| lender.lent()).sum()
}

fn everything() -> Wanted {
    let all: Vec<_> = (0..PARTITIONS).map(|index| (index, 0)).collect();
    wanted((0, -1), &all)
}

#[test]
fn an_answer_to_a_fetch_is_lent_its_memory_until_it_is_dropped() {
    let client = with_little_to_lend();
    for wanted in [wanted((0, -1), &[(0, 0)]), wanted((0, -1), &[(1, 0)]), everything()] {
        let Reply::Send(response) = client.send(fetch("t", &wanted)) else { panic!("no response") };
        assert_eq!(lent(&client), joined(&response).len() as u64);
        drop(response);
        assert_eq!(lent(&client), 0);
    }
}

/// Each of them needs more than there is, and all of them at the same time: they take turns.
#[test]
fn fetches_over_all_partitions_never_wait_for_each_other() {
    let client = with_little_to_lend();
    client.simulation.run_until(async {
        let mut begun = Vec::new();
        for _ in 0..20 {
            begun.push(client.begin(fetch("t", &everything())).await);
        }
        let mut answered = 0;
        while !begun.is_empty() {
            for mut reply in std::mem::take(&mut begun) {
                match poll_once(&mut reply).await {
                    Some(Reply::Send(response)) => {
                        assert!(joined(&response).len() > 400 * PARTITIONS as usize);
                        answered += 1;
                    }
                    Some(other) => panic!("no response but {other:?}"),
                    None => begun.push(reply),
                }
            }
            client.simulation.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(answered, 20);
    });
    assert_eq!(lent(&client), 0);
}

#[test]
fn a_fetch_that_waits_for_more_holds_no_memory() {
    let client = with_little_to_lend();
    for partitions in [vec![(0, 0)], vec![(1, 0)], everything().partitions] {
        let patient = Wanted { bytes_min: 1 << 20, wait_ms: 10_000, ..wanted((0, -1), &partitions) };
        client.simulation.run_until(async {
            let mut waiting = client.begin(fetch("t", &patient)).await;
            for _ in 0..50 {
                assert!(poll_once(&mut waiting).await.is_none());
                client.simulation.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(lent(&client), 0);
            let other = client.begin(fetch("t", &everything())).await.await;
            assert!(matches!(other, Reply::Send(_)));
        });
        assert_eq!(lent(&client), 0, "nor does one that is given up");
    }
}

#[test]
fn a_fetch_waits_for_memory_and_is_given_some() {
    let client = with_little_to_lend();
    client.simulation.run_until(async {
        let held = client.begin(fetch("t", &everything())).await.await;
        let mut waiting = client.begin(fetch("t", &everything())).await;
        for _ in 0..50 {
            assert!(poll_once(&mut waiting).await.is_none());
            client.simulation.sleep(Duration::from_millis(1)).await;
        }
        assert!(client.lenders.iter().any(|lender| lender.is_waited_for()));
        drop(held);
        assert!(matches!(waiting.await, Reply::Send(_)));
        assert!(!client.lenders.iter().any(|lender| lender.is_waited_for()));
    });
    assert_eq!(lent(&client), 0);
}

#[test]
fn a_fetch_is_charged_with_what_it_takes_however_short_its_request_is() {
    let client = Client::new();
    create(&client, "t", PARTITIONS, &[]);
    let opened = client.response(fetch("t", &Wanted { session: (0, 0), ..everything() }));
    let session = i32::from_be_bytes(opened[10..14].try_into().unwrap());
    client.simulation.run_until(async {
        let mut charged = Vec::new();
        for count in 1..=PARTITIONS {
            let some: Vec<_> = (0..count).map(|index| (index, 0)).collect();
            charged.push(client.charged(fetch("t", &wanted((0, -1), &some))).await);
        }
        let steps: Vec<_> = charged.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps[0] >= 200 && steps.iter().all(|step| *step == steps[0]), "{charged:?}");
        let asks_nothing_new = client.charged(fetch("t", &wanted((session, 1), &[]))).await;
        assert!(asks_nothing_new > 200 * PARTITIONS as usize, "{asks_nothing_new}");
    });
}

/// Whether it was woken.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_fetch_over_many_owners_borrows_what_one_answer_takes_and_hands_back_the_rest_at_once() {
    let client = Client::lending(RESPONSE_PINNED_BYTES as u64, &[("node.id", "1")], |_| {});
    // Its logs are not loaded: the first fetch has to wait for them.
    create(&client, "t", PARTITIONS, &[]);
    client.simulation.run_until(async {
        let mut first = client.begin(fetch("t", &everything())).await;
        assert!(poll_once(&mut first).await.is_none());
        assert_eq!(lent(&client), RESPONSE_PINNED_BYTES as u64);
        let mut second = client.begin(fetch("t", &everything())).await;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        while poll_once(&mut first).await.is_none() {
            assert!(!bell.0.load(Ordering::Relaxed));
            client.simulation.sleep(Duration::from_millis(1)).await;
        }
        assert!(bell.0.load(Ordering::Relaxed), "the next one hears of it");
    });
    assert_eq!(lent(&client), 0);
}

#[test]
fn who_waits_for_memory_hears_at_once_that_an_answer_is_gone() {
    let client = with_little_to_lend();
    client.simulation.run_until(async {
        let held = client.begin(fetch("t", &everything())).await.await;
        let mut waiting = client.begin(fetch("t", &everything())).await;
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(held);
        assert!(bell.0.load(Ordering::Relaxed));
    });
}

#[test]
fn a_fetch_whose_connection_is_gone_waits_nowhere() {
    let client = with_little_to_lend();
    for partitions in [vec![(0, 1)], vec![(1, 1)], (0..PARTITIONS).map(|index| (index, 1)).collect()] {
        let patient = Wanted { wait_ms: i32::MAX, ..wanted((0, -1), &partitions) };
        client.simulation.run_until(async {
            let mut waiting = client.begin(fetch("t", &patient)).await;
            for _ in 0..10 {
                assert!(poll_once(&mut waiting).await.is_none());
                client.simulation.sleep(Duration::from_millis(1)).await;
            }
            assert!(client.waiting_fetches() > 0);
            drop(waiting);
            client.simulation.sleep(Duration::from_millis(20)).await;
        });
        assert_eq!(client.waiting_fetches(), 0, "{partitions:?}");
    }
}
