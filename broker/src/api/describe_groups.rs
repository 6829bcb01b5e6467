//! DescribeGroups: groups with their members, from their coordinators.

use coordination::group::{DescribedGroup as Group, Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::DescribeGroupsRequest;
use protocol::control::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask, owned};
use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, reply};
use crate::service::Broker;

/// First version that says that a group is not there; before, it is described as dead.
const NOT_FOUND_SINCE: i16 = 6;

/// Takes a DescribeGroups request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DescribeGroupsRequest) -> Called {
    let operations =
        if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let mut asked = Vec::with_capacity(request.groups.len());
    for name in &request.groups {
        let one = GroupRequest::Describe(vec![owned(name)]);
        asked.push(ask(&*broker.cluster, name, one).await);
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for described in asked {
            if let GroupReply::Describe(list) = described.await {
                groups.extend(list.into_iter().map(|group| told(group, header.api_version, operations)));
            }
        }
        reply(&header, &message!(DescribeGroupsResponse { groups: groups }))
    }))
}

fn told(group: Group, version: i16, operations: i32) -> DescribedGroup {
    let why = group.missing.filter(|_| group.error.is_ok() && version >= NOT_FOUND_SINCE);
    let error = if why.is_some() { ErrorCode::GroupIdNotFound } else { group.error };
    let members = group.members.into_iter().map(|member| {
        message!(DescribedGroupMember {
            member_id: Text::from(member.member_id),
            group_instance_id: member.instance_id.map(Text::from),
            client_id: Text::from(member.client_id),
            client_host: Text::from(member.client_host),
            member_metadata: member.metadata,
            member_assignment: member.assignment,
        })
    });
    message!(DescribedGroup {
        error_code: error.code(),
        error_message: why.map(Text::from),
        group_id: Text::from(group.group),
        group_state: Text::from(if group.error.is_ok() { group.state.name() } else { "" }),
        protocol_type: Text::from(group.protocol_type),
        protocol_data: Text::from(group.protocol),
        members: members.collect(),
        authorized_operations: if error.is_ok() { operations } else { OPERATIONS_NOT_ASKED },
    })
}
