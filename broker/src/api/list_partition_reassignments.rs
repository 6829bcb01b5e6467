//! ListPartitionReassignments: no replica is ever on its way.

use net::service::Reply;
use protocol::control::messages::ListPartitionReassignmentsResponse;
use protocol::{RequestHeader, message};

use super::reply;

/// Answers a ListPartitionReassignments request, whatever it asks about and within whatever time, as in Kafka.
pub fn handle(header: &RequestHeader) -> Reply {
    reply(header, &message!(ListPartitionReassignmentsResponse { error_message: None }))
}
