//! DeleteGroups: empty groups with all their offsets; answered when that is on stable storage.

use std::rc::Rc;
use std::sync::Arc;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::share::membership::{Reply as ShareReply, Request as ShareRequest};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::DeleteGroupsRequest;
use protocol::control::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use protocol::{RequestHeader, message};

use super::coordinator::{ask, owned};
use super::delete_share_group_offsets::delete_states;
use super::reply;
use crate::service::Broker;

/// Takes a DeleteGroups request.
pub async fn handle(broker: &Rc<Broker>, header: &RequestHeader, request: DeleteGroupsRequest) -> Called {
    let mut asked = Vec::with_capacity(request.groups_names.len());
    for name in request.groups_names {
        if let Some(error) = delete_share_group(broker, &name).await {
            asked.push((name, Err(error)));
            continue;
        }
        let one = GroupRequest::Delete(vec![owned(&name)]);
        let deleted = ask(&*broker.cluster, &name, one).await;
        asked.push((name, Ok(deleted)));
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(asked.len());
        for (name, deleted) in asked {
            let error = match deleted {
                Ok(deleted) => match deleted.await {
                    GroupReply::Delete(list) => list.first().map(|(_, error)| *error),
                    _ => None,
                },
                Err(error) => Some(error),
            };
            let error = error.unwrap_or(ErrorCode::UnknownServerError);
            results.push(message!(DeletableGroupResult { group_id: name, error_code: error.code() }));
        }
        reply(&header, &message!(DeleteGroupsResponse { results: results }))
    }))
}

/// What becomes of a share group: first what is kept of its partitions goes. `None` when it is none.
async fn delete_share_group(broker: &Broker, name: &str) -> Option<ErrorCode> {
    let group: Arc<str> = Arc::from(name);
    match delete_states(broker, &group, None).await {
        Err((ErrorCode::GroupIdNotFound, _)) => return None,
        Err((error, _)) => return Some(error),
        Ok(verdicts) => {
            if let Some((_, error)) = verdicts.iter().find(|(_, error)| !error.is_ok()) {
                return Some(*error);
            }
        }
    }
    let request = GroupRequest::Share(ShareRequest::Delete(Arc::clone(&group)));
    match ask(&*broker.cluster, &group, request).await.await {
        GroupReply::Share(ShareReply::Done(error)) => Some(error),
        _ => Some(ErrorCode::UnknownServerError),
    }
}
