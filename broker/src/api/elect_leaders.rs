//! ElectLeaders: every partition has its preferred and only leader, so there is nothing to elect.

use coordination::metadata::{Image, Refusal};
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use protocol::control::messages::{ElectLeadersRequest, ElectLeadersResponse};
use protocol::{RequestHeader, Text, message};

use super::{fixed, in_time, reply, told_to_each};
use crate::service::Broker;

/// Kafka's numbers: the preferred leader, or any replica that lives.
const ELECTIONS: [i8; 2] = [0, 1];
/// First version with a code for the whole answer.
const CODE_SINCE: i16 = 1;
/// A code and a sentence, as fields of a response.
type Told = (i16, Option<Text>);

const NOT_NEEDED: &str = "Leader election not needed for topic partition.";

/// Answers an ElectLeaders request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: ElectLeadersRequest) -> Reply {
    let image = broker.cluster.image();
    let mut response = ElectLeadersResponse::default();
    if request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        // Nothing is asked, whatever kind of election.
    } else if let Err(refusal) = in_time(request.timeout_ms) {
        let fault = told_to_each(&refusal);
        if header.api_version >= CODE_SINCE {
            response.error_code = fault.0;
        }
        response.replica_election_results = results(request, |_| |_| fault.clone());
    } else if !ELECTIONS.contains(&request.election_type) {
        let why = format!("Unknown election type {}", request.election_type);
        let fault = told_to_each(&Refusal::new(ErrorCode::InvalidRequest, why));
        if header.api_version >= CODE_SINCE {
            response.error_code = fault.0;
        }
        response.replica_election_results = results(request, |_| |_| fault.clone());
    } else if request.topic_partitions.is_none() {
        // Of all partitions only those are told that needed an election. The topics are told, as in Kafka.
        let topic = |topic: &str| message!(ReplicaElectionResult { topic: Text::from(topic) });
        response.replica_election_results =
            image.topics_sorted().into_iter().map(|one| topic(&one.name)).collect();
    } else {
        response.replica_election_results = results(request, |topic| elect(&image, topic));
    }
    reply(header, &response)
}

fn results<J: Fn(i32) -> Told>(
    request: ElectLeadersRequest,
    judge: impl Fn(&str) -> J,
) -> Vec<ReplicaElectionResult> {
    let topics = request.topic_partitions.unwrap_or_default().into_iter().map(|topic| {
        let judge = judge(&topic.topic);
        let partition = |index: i32| {
            let (code, text) = judge(index);
            message!(PartitionResult { partition_id: index, error_code: code, error_message: text })
        };
        let partition_result = topic.partitions.iter().copied().map(partition).collect();
        message!(ReplicaElectionResult { topic: topic.topic, partition_result: partition_result })
    });
    topics.collect()
}

fn elect(image: &Image, topic: &str) -> impl Fn(i32) -> Told + use<> {
    let unknown = |what: String| told_to_each(&Refusal::new(ErrorCode::UnknownTopicOrPartition, what));
    let found = image.topic(topic).cloned().ok_or_else(|| unknown(format!("No such topic as {topic}")));
    let needless = (ErrorCode::ElectionNotNeeded.code(), Some(fixed(NOT_NEEDED)));
    move |index| match &found {
        Err(fault) => fault.clone(),
        Ok(topic) if topic.partition(index).is_none() => {
            unknown(format!("No such partition as {}-{index}", topic.name))
        }
        Ok(_) => needless.clone(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::elect_leaders_request::TopicPartitions;

    use super::*;
    use crate::service::harness::Client;
    use crate::service::tests::create;

    type Told = (i16, Vec<(String, Vec<(i32, i16, String)>)>);

    fn ask(client: &Client, version: i16, kind: i8, topics: Option<&[(&str, &[i32])]>) -> Told {
        ask_within(client, version, kind, topics, 60_000)
    }

    fn ask_within(
        client: &Client,
        version: i16,
        kind: i8,
        topics: Option<&[(&str, &[i32])]>,
        timeout_ms: i32,
    ) -> Told {
        let topic = |(name, partitions): &(&str, &[i32])| {
            message!(TopicPartitions { topic: (*name).into(), partitions: partitions.to_vec() })
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        let request = message!(ElectLeadersRequest {
            election_type: kind,
            topic_partitions: topics,
            timeout_ms: timeout_ms,
        });
        let response: ElectLeadersResponse = client.ask(version, &request);
        let partition = |one: &PartitionResult| {
            (one.partition_id, one.error_code, one.error_message.as_deref().unwrap_or_default().to_owned())
        };
        let topics = response
            .replica_election_results
            .iter()
            .map(|topic| (topic.topic.to_string(), topic.partition_result.iter().map(partition).collect()));
        (response.error_code, topics.collect())
    }

    #[test]
    fn nothing_needs_an_election() {
        let client = Client::new();
        create(&client, "t", 2, &[]);
        for (version, kind) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
            let told = ask(&client, version, kind, Some(&[("t", &[1, 2]), ("u", &[0])]));
            let partitions =
                vec![(1, 84, NOT_NEEDED.to_owned()), (2, 3, "No such partition as t-2".to_owned())];
            let unknown = vec![(0, 3, "No such topic as u".to_owned())];
            assert_eq!(told, (0, vec![("t".to_owned(), partitions), ("u".to_owned(), unknown)]));
        }
        assert_eq!(ask(&client, 2, 0, None), (0, vec![("t".to_owned(), vec![])]));
        assert_eq!(ask(&client, 2, 0, Some(&[])), (0, vec![]));
        let invalid = ErrorCode::InvalidRequest.code();
        let told = ask(&client, 2, 7, Some(&[("t", &[0])]));
        let why = vec![(0, invalid, "Unknown election type 7".to_owned())];
        assert_eq!(told, (invalid, vec![("t".to_owned(), why)]));
        assert_eq!(ask(&client, 2, 7, None), (invalid, vec![]));
        assert_eq!(ask(&client, 2, 7, Some(&[])), (0, vec![]));
        let late = ErrorCode::RequestTimedOut.code();
        let nothing = vec![(0, late, String::new())];
        let told = ask_within(&client, 2, 0, Some(&[("t", &[0])]), 0);
        assert_eq!(told, (late, vec![("t".to_owned(), nothing)]));
        assert_eq!(ask_within(&client, 2, 0, None, -1), (late, vec![]));
        assert_eq!(ask_within(&client, 2, 0, Some(&[]), 0), (0, vec![]));
        let long = "n".repeat(30_000);
        let (_, topics) = ask(&client, 2, 0, Some(&[(&long, &[0])]));
        assert!(topics[0].1[0].2.len() < 400, "each partition would be told so");
    }
}
