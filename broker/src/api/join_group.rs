//! JoinGroup: parked at the coordinator until the rebalance it takes part in is over.

use bytes::Bytes;
use coordination::group::{Join, Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::JoinGroupRequest;
use protocol::control::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::reply;
use crate::service::{Broker, Session};

/// First version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_SINCE: i16 = 1;
/// First version in which a newcomer is given its id before it may join (KIP-394).
const KNOWN_MEMBER_SINCE: i16 = 4;
/// First version that can say "no protocol".
const NO_PROTOCOL_SINCE: i16 = 7;
/// First version that understands "skip assignment" (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// Takes a JoinGroup request.
pub async fn handle(
    broker: &Broker,
    session: &Session,
    header: &RequestHeader,
    request: JoinGroupRequest,
) -> Called {
    let version = header.api_version;
    let join = Join {
        group: owned(&request.group_id),
        member_id: owned(&request.member_id),
        instance_id: owned_if_any(request.group_instance_id.as_ref()),
        client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: format!("/{}", session.peer.remote.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            REBALANCE_TIMEOUT_SINCE.. => request.rebalance_timeout_ms,
            _ => request.session_timeout_ms,
        },
        protocol_type: owned(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (owned(&protocol.name), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        require_known_member_id: version >= KNOWN_MEMBER_SINCE,
        can_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
    };
    let group = join.group.clone();
    let joined = ask(&*broker.cluster, &group, GroupRequest::Join(join)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move { reply(&header, &answer(joined.await, version)) }))
}

fn answer(reply: GroupReply, version: i16) -> JoinGroupResponse {
    let GroupReply::Join(join) = reply else {
        return message!(JoinGroupResponse { error_code: ErrorCode::UnknownServerError.code() });
    };
    let members = join.members.into_iter().map(|member| {
        message!(JoinGroupResponseMember {
            member_id: Text::from(member.member_id),
            group_instance_id: member.instance_id.map(Text::from),
            metadata: member.metadata,
        })
    });
    let none = (version < NO_PROTOCOL_SINCE).then(|| Text::from(""));
    message!(JoinGroupResponse {
        error_code: join.error.code(),
        generation_id: join.generation,
        protocol_type: join.protocol_type.map(Text::from),
        protocol_name: join.protocol.map(Text::from).or(none),
        leader: Text::from(join.leader),
        skip_assignment: join.skip_assignment,
        member_id: Text::from(join.member_id),
        members: members.collect(),
    })
}
