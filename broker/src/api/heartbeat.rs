//! Heartbeat: a member is alive, and hears whether a rebalance is on.

use coordination::group::{Heartbeat, Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::HeartbeatRequest;
use protocol::control::messages::heartbeat_response::HeartbeatResponse;
use protocol::{RequestHeader, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::reply;
use crate::service::Broker;

/// Takes a Heartbeat request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: HeartbeatRequest) -> Called {
    let heartbeat = Heartbeat {
        group: owned(&request.group_id),
        member_id: owned(&request.member_id),
        instance_id: owned_if_any(request.group_instance_id.as_ref()),
        generation: request.generation_id,
    };
    let group = heartbeat.group.clone();
    let heard = ask(&*broker.cluster, &group, GroupRequest::Heartbeat(heartbeat)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let error = match heard.await {
            GroupReply::Heartbeat(error) => error,
            _ => ErrorCode::UnknownServerError,
        };
        reply(&header, &message!(HeartbeatResponse { error_code: error.code() }))
    }))
}
