//! ListPartitionReassignments: no replica is ever on its way.

use net::service::Reply;
use protocol::control::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use protocol::control::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use protocol::{RequestHeader, message};

use super::{in_time, reply, told};

/// Answers a ListPartitionReassignments request, whatever it asks about.
pub fn handle(header: &RequestHeader, request: ListPartitionReassignmentsRequest) -> Reply {
    let mut response = message!(ListPartitionReassignmentsResponse { error_message: None });
    let asks = request.topics.as_ref().is_none_or(|topics| !topics.is_empty());
    if let (Err(refusal), true) = (in_time(request.timeout_ms), asks) {
        (response.error_code, response.error_message) = told(&refusal);
        let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
            let partition = |index: &i32| message!(OngoingPartitionReassignment { partition_index: *index });
            message!(OngoingTopicReassignment {
                name: topic.name,
                partitions: topic.partition_indexes.iter().map(partition).collect(),
            })
        });
        response.topics = topics.collect();
    }
    reply(header, &response)
}
