//! CreatePartitions: answered when the partitions are durable and known to every core.

use coordination::metadata::{Command, MorePartitions, Refusal};
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::CreatePartitionsRequest;
use protocol::control::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use protocol::{RequestHeader, Text, message};

use super::{occurrences, reply, told};
use crate::cluster::propose_topics;
use crate::service::Broker;

/// Answers a CreatePartitions request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: CreatePartitionsRequest) -> Reply {
    let counts = occurrences(request.topics.iter().map(|topic| topic.name.clone()));
    let mut judged: Vec<(Text, bool)> = Vec::new();
    let mut wanted = Vec::new();
    for topic in request.topics {
        let repeated = counts[&topic.name] > 1;
        if repeated && judged.iter().any(|(name, _)| *name == topic.name) {
            continue;
        }
        if !repeated {
            let brokers = |ids: &Vec<i32>| ids.iter().copied().map(BrokerId).collect();
            let assignment =
                topic.assignments.map(|given| given.iter().map(|one| brokers(&one.broker_ids)).collect());
            wanted.push(MorePartitions { topic: topic.name.to_string(), count: topic.count, assignment });
        }
        judged.push((topic.name, repeated));
    }
    let count = wanted.len();
    let command = Command::CreatePartitions { topics: wanted, validate_only: request.validate_only };
    let mut grown = if count == 0 {
        Vec::new().into_iter()
    } else {
        propose_topics(&*broker.cluster, command, count).await.into_iter()
    };
    let unanswered = || Err(Refusal::new(ErrorCode::UnknownServerError, "no answer"));
    let results = judged.into_iter().map(|(name, repeated)| {
        let verdict = if repeated {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            grown.next().unwrap_or_else(unanswered)
        };
        match verdict {
            Ok(_) => message!(CreatePartitionsTopicResult { name: name }),
            Err(refusal) => {
                let (error_code, error_message) = told(&refusal);
                message!(CreatePartitionsTopicResult {
                    name: name,
                    error_code: error_code,
                    error_message: error_message,
                })
            }
        }
    });
    reply(header, &message!(CreatePartitionsResponse { results: results.collect() }))
}
