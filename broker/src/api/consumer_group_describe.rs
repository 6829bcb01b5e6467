//! ConsumerGroupDescribe: groups by the consumer protocol with their members, from their coordinators.

use std::collections::BTreeSet;

use coordination::group::consumer::Partitions;
use coordination::group::{
    DescribedConsumer, DescribedConsumerGroup, Reply as GroupReply, Request as GroupRequest,
};
use coordination::metadata::Image;
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::ConsumerGroupDescribeRequest;
use protocol::control::messages::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::{is_served, sentence};
use super::coordinator::{ask, owned};
use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, reply, uuid};
use crate::service::Broker;

/// First version that says by which protocol a member is.
const MEMBER_TYPE_SINCE: i16 = 1;
/// "Not told", "the classic one" and "the consumer protocol".
const MEMBER_TYPES: (i8, i8, i8) = (-1, 0, 1);

/// Takes a ConsumerGroupDescribe request.
pub async fn handle(
    broker: &Broker,
    header: &RequestHeader,
    request: ConsumerGroupDescribeRequest,
) -> Called {
    let version = header.api_version;
    if !is_served(broker) {
        let refused = request.group_ids.iter().map(|group| {
            message!(DescribedGroup {
                group_id: group.clone(),
                error_code: ErrorCode::UnsupportedVersion.code(),
                authorized_operations: OPERATIONS_NOT_ASKED,
            })
        });
        return Called::Now(reply(
            header,
            &message!(ConsumerGroupDescribeResponse { groups: refused.collect() }),
        ));
    }
    let operations =
        if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let image = broker.cluster.image();
    let mut asked = Vec::with_capacity(request.group_ids.len());
    for name in &request.group_ids {
        let one = GroupRequest::ConsumerDescribe(vec![owned(name)]);
        asked.push(ask(&*broker.cluster, name, one).await);
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for described in asked {
            if let GroupReply::ConsumerDescribe(list) = described.await {
                groups.extend(list.into_iter().map(|group| told(group, &image, version, operations)));
            }
        }
        reply(&header, &message!(ConsumerGroupDescribeResponse { groups: groups }))
    }))
}

fn told(group: DescribedConsumerGroup, image: &Image, version: i16, operations: i32) -> DescribedGroup {
    if let Some((error, why)) = group.refused {
        return message!(DescribedGroup {
            group_id: Text::from(group.group),
            error_code: error.code(),
            error_message: Some(sentence(error, why)),
            authorized_operations: OPERATIONS_NOT_ASKED,
        });
    }
    message!(DescribedGroup {
        group_id: Text::from(group.group),
        group_state: Text::from(group.state.name()),
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: Text::from(group.assignor),
        members: group.members.into_iter().map(|one| member(one, image, version)).collect(),
        authorized_operations: operations,
    })
}

fn member(one: DescribedConsumer, image: &Image, version: i16) -> Member {
    let (untold, classic, consumer) = MEMBER_TYPES;
    message!(Member {
        member_id: Text::from(one.member_id),
        instance_id: one.instance_id.map(Text::from),
        rack_id: one.rack_id.map(Text::from),
        member_epoch: one.epoch,
        client_id: Text::from(one.client_id),
        client_host: Text::from(one.client_host),
        subscribed_topic_names: one.topics.into_iter().map(Text::from).collect(),
        subscribed_topic_regex: Some(Text::from(one.regex)),
        assignment: assignment(one.assigned, image),
        target_assignment: assignment(one.target, image),
        member_type: match version {
            MEMBER_TYPE_SINCE.. if one.classic => classic,
            MEMBER_TYPE_SINCE.. => consumer,
            _ => untold,
        },
    })
}

/// With names, as Kafka has it: topics that are gone are left out.
fn assignment(partitions: Partitions, image: &Image) -> Assignment {
    let topic = |(id, partitions): (TopicId, BTreeSet<i32>)| {
        let name = &image.topic_by_id(id)?.name;
        Some(message!(TopicPartitions {
            topic_id: uuid(id),
            topic_name: Text::from(&**name),
            partitions: partitions.into_iter().collect(),
        }))
    };
    message!(Assignment { topic_partitions: partitions.into_iter().filter_map(topic).collect() })
}
