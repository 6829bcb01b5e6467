//! DeleteGroups: empty groups with all their offsets; answered when that is on stable storage.

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::DeleteGroupsRequest;
use protocol::control::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use protocol::{RequestHeader, message};

use super::coordinator::{ask, owned};
use super::reply;
use crate::service::Broker;

/// Takes a DeleteGroups request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DeleteGroupsRequest) -> Called {
    let mut asked = Vec::with_capacity(request.groups_names.len());
    for name in request.groups_names {
        let one = GroupRequest::Delete(vec![owned(&name)]);
        let deleted = ask(&*broker.cluster, &name, one).await;
        asked.push((name, deleted));
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(asked.len());
        for (name, deleted) in asked {
            let error = match deleted.await {
                GroupReply::Delete(list) => list.first().map(|(_, error)| *error),
                _ => None,
            };
            let error = error.unwrap_or(ErrorCode::UnknownServerError);
            results.push(message!(DeletableGroupResult { group_id: name, error_code: error.code() }));
        }
        reply(&header, &message!(DeleteGroupsResponse { results: results }))
    }))
}
