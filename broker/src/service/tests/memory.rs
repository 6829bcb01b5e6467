//! Memory of control-plane requests and their answers.

use bytes::Bytes;
use futures_lite::future::poll_once;
use model::limits::DECODED_BYTES_MAX;
use net::service::Reply;
use protocol::control::encode_request;
use protocol::control::messages::*;
use protocol::message;

use super::super::harness::{ANSWER_BYTES, Client, joined};
use super::create;

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
