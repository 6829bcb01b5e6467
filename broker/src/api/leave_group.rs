//! LeaveGroup: members leave, or are removed by an administrator.

use coordination::group::{Leave, LeaveReply, Leaver, Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::LeaveGroupRequest;
use protocol::control::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::reply;
use crate::service::Broker;

/// First version in which several members leave at once.
const SEVERAL_SINCE: i16 = 3;

/// Takes a LeaveGroup request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: LeaveGroupRequest) -> Called {
    let version = header.api_version;
    let members = if version >= SEVERAL_SINCE {
        let leaver = |member: &protocol::control::messages::leave_group_request::MemberIdentity| Leaver {
            member_id: owned(&member.member_id),
            instance_id: owned_if_any(member.group_instance_id.as_ref()),
        };
        request.members.iter().map(leaver).collect()
    } else {
        vec![Leaver { member_id: owned(&request.member_id), instance_id: None }]
    };
    let leave = Leave { group: owned(&request.group_id), members };
    let group = leave.group.clone();
    let left = ask(&*broker.cluster, &group, GroupRequest::Leave(leave)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let response = match left.await {
            GroupReply::Leave(left) => answer(left, version),
            _ => message!(LeaveGroupResponse { error_code: ErrorCode::UnknownServerError.code() }),
        };
        reply(&header, &response)
    }))
}

fn answer(left: LeaveReply, version: i16) -> LeaveGroupResponse {
    if version < SEVERAL_SINCE {
        let of_member = left.members.first().map_or(ErrorCode::None, |member| member.error);
        let error = if left.error.is_ok() { of_member } else { left.error };
        return message!(LeaveGroupResponse { error_code: error.code() });
    }
    let members = left.members.into_iter().map(|member| {
        message!(MemberResponse {
            member_id: Text::from(member.member_id),
            group_instance_id: member.instance_id.map(Text::from),
            error_code: member.error.code(),
        })
    });
    message!(LeaveGroupResponse { error_code: left.error.code(), members: members.collect() })
}
