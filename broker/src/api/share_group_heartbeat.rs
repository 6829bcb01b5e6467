//! ShareGroupHeartbeat: members of share groups (KIP-932) join, say what they read, and hear from which partitions they are to
//! take records.

use std::collections::BTreeSet;
use std::sync::Arc;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::share::membership::{Heartbeat, HeartbeatReply, Reply as ShareReply, Request};
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::ShareGroupHeartbeatRequest;
use protocol::control::messages::share_group_heartbeat_response::{
    Assignment, ShareGroupHeartbeatResponse, TopicPartitions,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::sentence;
use super::coordinator::{ask, ensure_share_topic, owned, owned_if_any};
use super::shares::{is_member_id, is_served};
use super::{reply, uuid};
use crate::service::{Broker, Session};

/// Epoch of a member that joins.
const JOINS: i32 = 0;

/// Takes a ShareGroupHeartbeat request.
pub async fn handle(
    broker: &Broker,
    session: &Session,
    header: &RequestHeader,
    request: ShareGroupHeartbeatRequest,
) -> Called {
    if !is_served(broker) {
        return Called::Now(reply(header, &refused(ErrorCode::UnsupportedVersion, "")));
    }
    if !is_member_id(&request.member_id) {
        let why = "Invalid member id in the request.";
        return Called::Now(reply(header, &refused(ErrorCode::InvalidRequest, why)));
    }
    if request.member_epoch == JOINS {
        // What became of records is written there. Without it the group's partitions are not begun, and it says so in the log.
        ensure_share_topic(broker).await;
    }
    let group = request.group_id.clone();
    let heartbeat = Heartbeat {
        group: Arc::from(&*request.group_id),
        member_id: Arc::from(&*request.member_id),
        member_epoch: request.member_epoch,
        rack: owned_if_any(request.rack_id.as_ref()),
        client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: format!("/{}", session.peer.remote.ip()),
        topics: request.subscribed_topic_names.map(|names| names.iter().map(owned).collect()),
    };
    let heard = ask(&*broker.cluster, &group, GroupRequest::Share(Request::Heartbeat(heartbeat))).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let response = match heard.await {
            GroupReply::Share(ShareReply::Heartbeat(told)) => answer(told),
            _ => refused(ErrorCode::UnknownServerError, ""),
        };
        reply(&header, &response)
    }))
}

fn refused(error: ErrorCode, why: &str) -> ShareGroupHeartbeatResponse {
    message!(ShareGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: Some(sentence(error, why.to_owned())),
    })
}

fn answer(told: HeartbeatReply) -> ShareGroupHeartbeatResponse {
    if !told.error.is_ok() {
        return refused(told.error, &told.why);
    }
    let topic = |(id, partitions): (TopicId, BTreeSet<i32>)| {
        message!(TopicPartitions { topic_id: uuid(id), partitions: partitions.into_iter().collect() })
    };
    let assignment = told.assigned.map(|assigned| {
        message!(Assignment { topic_partitions: assigned.0.into_iter().map(topic).collect() })
    });
    message!(ShareGroupHeartbeatResponse {
        member_id: Some(Text::from(told.member_id.to_string())),
        member_epoch: told.member_epoch,
        heartbeat_interval_ms: told.heartbeat_interval_ms,
        assignment: assignment,
    })
}
