//! ConsumerGroupHeartbeat: members of groups by the consumer protocol (KIP-848) join, say what they use, and hear what they
//! are to use.

use std::collections::BTreeSet;

use coordination::group::consumer::Partitions;
use coordination::group::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, Reply as GroupReply, Request as GroupRequest,
};
use coordination::metadata::features::GROUP_VERSION;
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::ConsumerGroupHeartbeatRequest;
use protocol::control::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use protocol::control::messages::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use protocol::{RequestHeader, Text, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::{reply, uuid};
use crate::service::{Broker, Session};

/// First version in which clients make the ids of members.
const OWN_ID_SINCE: i16 = 1;

/// Takes a ConsumerGroupHeartbeat request.
pub async fn handle(
    broker: &Broker,
    session: &Session,
    header: &RequestHeader,
    request: ConsumerGroupHeartbeatRequest,
) -> Called {
    if !is_served(broker) {
        let refused =
            message!(ConsumerGroupHeartbeatResponse { error_code: ErrorCode::UnsupportedVersion.code() });
        return Called::Now(reply(header, &refused));
    }
    let heartbeat = ConsumerHeartbeat {
        group: owned(&request.group_id),
        member_id: owned(&request.member_id),
        makes_own_id: header.api_version >= OWN_ID_SINCE,
        epoch: request.member_epoch,
        instance_id: owned_if_any(request.instance_id.as_ref()),
        rack_id: owned_if_any(request.rack_id.as_ref()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        client_id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: format!("/{}", session.peer.remote.ip()),
        topics: request.subscribed_topic_names.map(|names| names.iter().map(owned).collect()),
        regex: owned_if_any(request.subscribed_topic_regex.as_ref()),
        assignor: owned_if_any(request.server_assignor.as_ref()),
        owned: request.topic_partitions.map(partitions),
    };
    let group = heartbeat.group.clone();
    let heard = ask(&*broker.cluster, &group, GroupRequest::ConsumerHeartbeat(Box::new(heartbeat))).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let response = match heard.await {
            GroupReply::ConsumerHeartbeat(told) => answer(told),
            _ => answer(ConsumerHeartbeatReply::error(ErrorCode::UnknownServerError, "")),
        };
        reply(&header, &response)
    }))
}

/// First level of `group.version` in which groups may be by the consumer protocol.
const SERVED_SINCE: i16 = 1;

/// Whether groups may be by the consumer protocol: the whole cluster has to be at that level, and this broker told to.
pub fn is_served(broker: &Broker) -> bool {
    let image = broker.cluster.image();
    let protocols = image.broker().value("group.coordinator.rebalance.protocols").unwrap_or_default();
    image.feature_level(GROUP_VERSION) >= SERVED_SINCE
        && protocols.split(',').any(|name| name.trim() == "consumer")
}

fn partitions(owned: Vec<Owned>) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in owned.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        partitions.entry(TopicId(topic.topic_id.to_bytes())).or_default().extend(topic.partitions);
    }
    partitions
}

fn answer(told: ConsumerHeartbeatReply) -> ConsumerGroupHeartbeatResponse {
    if let Some((error, why)) = told.refused {
        return message!(ConsumerGroupHeartbeatResponse {
            error_code: error.code(),
            error_message: Some(sentence(error, why)),
        });
    }
    let topic = |(id, partitions): (TopicId, BTreeSet<i32>)| {
        message!(TopicPartitions { topic_id: uuid(id), partitions: partitions.into_iter().collect() })
    };
    let assignment = told
        .assignment
        .map(|assigned| message!(Assignment { topic_partitions: assigned.into_iter().map(topic).collect() }));
    message!(ConsumerGroupHeartbeatResponse {
        member_id: told.member_id.map(Text::from),
        member_epoch: told.epoch,
        heartbeat_interval_ms: told.heartbeat_interval_ms,
        assignment: assignment,
    })
}

/// Bytes of a string that clients read.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// What people are told; the name of the error where nobody said more. Names of groups and members are in it, and may be long.
pub fn sentence(error: ErrorCode, why: String) -> Text {
    let mut text = if why.is_empty() { error.name().to_owned() } else { why };
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
    Text::from(text)
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::create_topics_request::CreatableTopic;
    use protocol::control::messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
        CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest, DeleteGroupsResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest, ListGroupsResponse,
        UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_request::FeatureUpdateKey,
    };

    use super::*;
    use crate::service::harness::Client;

    fn client() -> Client {
        let client = Client::new();
        let topic = message!(CreatableTopic { name: "t".into(), num_partitions: 3, replication_factor: 1 });
        let created: CreateTopicsResponse =
            client.ask(7, &message!(CreateTopicsRequest { topics: vec![topic] }));
        assert_eq!(created.topics[0].error_code, 0);
        let found: FindCoordinatorResponse =
            client.ask(6, &message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] }));
        assert_eq!(found.coordinators[0].error_code, 0);
        client
    }

    fn joins() -> ConsumerGroupHeartbeatRequest {
        message!(ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            rebalance_timeout_ms: 1000,
            subscribed_topic_names: Some(vec!["t".into()]),
            topic_partitions: Some(Vec::new()),
        })
    }

    #[test]
    fn a_member_joins_is_described_and_leaves() {
        let client = client();
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, &joins());
        assert_eq!((told.error_code, told.member_epoch, told.heartbeat_interval_ms), (0, 2, 5000));
        assert_eq!(told.assignment.unwrap().topic_partitions[0].partitions, [0, 1, 2]);
        let describe = message!(ConsumerGroupDescribeRequest { group_ids: vec!["g".into(), "h".into()] });
        for version in 0..=1 {
            let described: ConsumerGroupDescribeResponse = client.ask(version, &describe);
            let group = &described.groups[0];
            assert_eq!((&*group.group_state, &*group.assignor_name), ("Stable", "uniform"));
            assert_eq!((group.group_epoch, group.assignment_epoch), (2, 2));
            let member = &group.members[0];
            assert_eq!(&*member.assignment.topic_partitions[0].topic_name, "t");
            assert_eq!(member.assignment.topic_partitions, member.target_assignment.topic_partitions);
            assert_eq!(member.member_type, if version == 1 { 1 } else { -1 });
            assert_eq!(described.groups[1].error_code, ErrorCode::GroupIdNotFound.code());
        }
        let listed: ListGroupsResponse = client.ask(5, &ListGroupsRequest::default());
        assert_eq!((&*listed.groups[0].group_type, &*listed.groups[0].group_state), ("consumer", "Stable"));
        let leaves = message!(ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            member_epoch: -1
        });
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, &leaves);
        assert_eq!((told.error_code, told.member_epoch), (0, -1));
        let deleted: DeleteGroupsResponse =
            client.ask(2, &message!(DeleteGroupsRequest { groups_names: vec!["g".into()] }));
        assert_eq!(deleted.results[0].error_code, 0);
    }

    #[test]
    fn what_is_refused_says_why() {
        let client = client();
        let mut ask = joins();
        ask.member_epoch = 7;
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, &ask);
        assert_eq!(told.error_code, ErrorCode::GroupIdNotFound.code());
        assert_eq!(told.error_message.as_deref(), Some("Consumer group g not found."));
        ask = joins();
        ask.member_id = "".into();
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, &ask);
        assert_eq!(told.error_message.as_deref(), Some("MemberId can't be empty."));
        let told: ConsumerGroupHeartbeatResponse = client.ask(0, &ask);
        assert!(told.error_code == 0 && told.member_id.is_some_and(|id| !id.is_empty()), "it is given one");
    }

    #[test]
    fn a_sentence_is_no_longer_than_what_can_be_read() {
        let long = "\u{1f980}".repeat(10_000);
        let told = sentence(ErrorCode::GroupIdNotFound, format!("Group {long} not found."));
        assert!(told.len() <= TEXT_BYTES_MAX && told.len() > TEXT_BYTES_MAX - 4);
        assert_eq!(&*sentence(ErrorCode::GroupIdNotFound, String::new()), "GROUP_ID_NOT_FOUND");
    }

    #[test]
    fn without_its_level_the_consumer_protocol_is_off_and_groups_stay() {
        let client = client();
        let joined: ConsumerGroupHeartbeatResponse = client.ask(1, &joins());
        assert_eq!(joined.error_code, 0);
        let level = |level, upgrade_type| {
            let update = message!(FeatureUpdateKey {
                feature: GROUP_VERSION.into(),
                max_version_level: level,
                upgrade_type: upgrade_type,
            });
            let done: UpdateFeaturesResponse =
                client.ask(2, &message!(UpdateFeaturesRequest { feature_updates: vec![update] }));
            assert_eq!(done.error_code, 0, "{done:?}");
        };
        level(0, 2);
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, &joins());
        assert_eq!((told.error_code, told.error_message), (ErrorCode::UnsupportedVersion.code(), None));
        let describe = message!(ConsumerGroupDescribeRequest { group_ids: vec!["g".into()] });
        let told: ConsumerGroupDescribeResponse = client.ask(1, &describe);
        let group = &told.groups[0];
        assert_eq!((&*group.group_id, group.error_code), ("g", ErrorCode::UnsupportedVersion.code()));
        level(1, 1);
        let told: ConsumerGroupDescribeResponse = client.ask(1, &describe);
        assert_eq!((told.groups[0].error_code, told.groups[0].members.len()), (0, 1));
    }
}
