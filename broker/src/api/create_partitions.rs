//! CreatePartitions: answered when the partitions are durable and known to every core.

use coordination::metadata::{Command, MorePartitions, Refusal};
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::CreatePartitionsRequest;
use protocol::control::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use protocol::{RequestHeader, Text, message};

use super::{distinct, in_time, propose_judged, reply, told};
use crate::service::Broker;

/// Answers a CreatePartitions request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: CreatePartitionsRequest) -> Reply {
    if let Err(refusal) = in_time(request.timeout_ms) {
        let results = request.topics.into_iter().map(|topic| refused(topic.name, &refusal));
        return reply(header, &message!(CreatePartitionsResponse { results: results.collect() }));
    }
    let mut wanted = Vec::new();
    let judged = distinct(request.topics, |topic| topic.name.clone()).into_iter().map(|(name, topic)| {
        let Some(topic) = topic else {
            return (name, Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.")));
        };
        let brokers = |ids: &Vec<i32>| ids.iter().copied().map(BrokerId).collect();
        let assignment =
            topic.assignments.map(|given| given.iter().map(|one| brokers(&one.broker_ids)).collect());
        wanted.push(MorePartitions { topic: name.to_string(), count: topic.count, assignment });
        (name, Ok(()))
    });
    let judged = judged.collect();
    let command = Command::CreatePartitions { topics: wanted, validate_only: request.validate_only };
    let grown = propose_judged(broker, judged, command).await;
    let results = grown.map(|(name, verdict)| match verdict {
        Ok(_) => message!(CreatePartitionsTopicResult { name: name }),
        Err(refusal) => refused(name, &refusal),
    });
    reply(header, &message!(CreatePartitionsResponse { results: results.collect() }))
}

fn refused(name: Text, refusal: &Refusal) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = told(refusal);
    message!(CreatePartitionsTopicResult { name: name, error_code: error_code, error_message: error_message })
}
