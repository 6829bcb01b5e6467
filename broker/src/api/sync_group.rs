//! SyncGroup: the leader brings the assignment, everybody takes theirs.

use bytes::Bytes;
use coordination::group::{Reply as GroupReply, Request as GroupRequest, Sync, SyncReply};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::SyncGroupRequest;
use protocol::control::messages::sync_group_response::SyncGroupResponse;
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::reply;
use crate::service::Broker;

/// First version that has to name protocol type and protocol.
const PROTOCOL_SINCE: i16 = 5;

/// Takes a SyncGroup request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: SyncGroupRequest) -> Called {
    let nameless = request.protocol_type.is_none() || request.protocol_name.is_none();
    if header.api_version >= PROTOCOL_SINCE && nameless {
        let refused = SyncReply::error(ErrorCode::InconsistentGroupProtocol);
        return Called::Now(reply(header, &answer(GroupReply::Sync(refused))));
    }
    let sync = Sync {
        group: owned(&request.group_id),
        member_id: owned(&request.member_id),
        instance_id: owned_if_any(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: owned_if_any(request.protocol_type.as_ref()),
        protocol: owned_if_any(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|given| (owned(&given.member_id), Bytes::copy_from_slice(&given.assignment)))
            .collect(),
    };
    let group = sync.group.clone();
    let synced = ask(&*broker.cluster, &group, GroupRequest::Sync(sync)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move { reply(&header, &answer(synced.await)) }))
}

fn answer(reply: GroupReply) -> SyncGroupResponse {
    let GroupReply::Sync(sync) = reply else {
        return message!(SyncGroupResponse { error_code: ErrorCode::UnknownServerError.code() });
    };
    message!(SyncGroupResponse {
        error_code: sync.error.code(),
        protocol_type: sync.protocol_type.map(Text::from),
        protocol_name: sync.protocol.map(Text::from),
        assignment: sync.assignment,
    })
}
