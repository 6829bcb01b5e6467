//! ListGroups: the groups of every coordinator of this broker.

use coordination::group::{ListFilter, Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::ListGroupsRequest;
use protocol::control::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask_partition, coordinators, owned};
use super::reply;
use crate::service::Broker;

/// Takes a ListGroups request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: ListGroupsRequest) -> Called {
    let filter = ListFilter {
        states: request.states_filter.iter().map(owned).collect(),
        types: request.types_filter.iter().map(owned).collect(),
    };
    let mut asked = Vec::new();
    for partition in coordinators(&broker.cluster.image()) {
        let request = GroupRequest::List(filter.clone());
        asked.push(ask_partition(&*broker.cluster, partition, request).await);
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut groups = Vec::new();
        let mut error = ErrorCode::None;
        for listed in asked {
            match listed.await {
                GroupReply::List(Ok(listed)) => groups.extend(listed),
                GroupReply::List(Err(refused)) => error = refused,
                _ => error = ErrorCode::UnknownServerError,
            }
        }
        groups.sort_unstable_by(|one, other| one.group.cmp(&other.group));
        let groups = groups.into_iter().filter(|_| error.is_ok()).map(|listed| {
            message!(ListedGroup {
                group_id: Text::from(listed.group),
                protocol_type: Text::from(listed.protocol_type),
                group_state: Text::from(listed.state.name()),
                group_type: Text::from(listed.kind.name()),
            })
        });
        reply(&header, &message!(ListGroupsResponse { error_code: error.code(), groups: groups.collect() }))
    }))
}
