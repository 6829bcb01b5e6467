//! ShareGroupDescribe: share groups with their members, from their coordinators.

use std::collections::BTreeSet;

use coordination::group::{Reply as GroupReply, Request as GroupRequest};
use coordination::metadata::Image;
use coordination::share::membership::{
    Assignment as Assigned, DescribedGroup as Group, DescribedMember, Refusal, Reply as ShareReply, Request,
};
use model::{ErrorCode, TopicId};
use net::service::Called;
use protocol::control::messages::ShareGroupDescribeRequest;
use protocol::control::messages::share_group_describe_response::{
    Assignment, DescribedGroup, Member, ShareGroupDescribeResponse, TopicPartitions,
};
use protocol::{RequestHeader, Text, message};

use super::consumer_group_heartbeat::sentence;
use super::coordinator::{ask, owned};
use super::shares::is_served;
use super::{GROUP_OPERATIONS, OPERATIONS_NOT_ASKED, reply, uuid};
use crate::service::Broker;

/// The only one there is.
const ASSIGNOR: &str = "simple";

/// Takes a ShareGroupDescribe request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: ShareGroupDescribeRequest) -> Called {
    if !is_served(broker) {
        let refused = request.group_ids.into_iter().map(|group| {
            message!(DescribedGroup {
                group_id: group,
                error_code: ErrorCode::UnsupportedVersion.code(),
                authorized_operations: OPERATIONS_NOT_ASKED,
            })
        });
        return Called::Now(reply(
            header,
            &message!(ShareGroupDescribeResponse { groups: refused.collect() }),
        ));
    }
    let operations =
        if request.include_authorized_operations { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let image = broker.cluster.image();
    let mut asked = Vec::with_capacity(request.group_ids.len());
    for name in &request.group_ids {
        if name.is_empty() {
            asked.push(Err(name.clone()));
            continue;
        }
        let one = GroupRequest::Share(Request::Describe(vec![owned(name)]));
        asked.push(Ok(ask(&*broker.cluster, name, one).await));
    }
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for one in asked {
            match one {
                Ok(described) => {
                    if let GroupReply::Share(ShareReply::Describe(list)) = described.await {
                        groups.extend(list.into_iter().map(|group| told(group, &image, operations)));
                    }
                }
                Err(name) => groups.push(message!(DescribedGroup {
                    group_id: name,
                    error_code: ErrorCode::InvalidGroupId.code(),
                    authorized_operations: OPERATIONS_NOT_ASKED,
                })),
            }
        }
        reply(&header, &message!(ShareGroupDescribeResponse { groups: groups }))
    }))
}

fn told((name, group): (String, Result<Group, Refusal>), image: &Image, operations: i32) -> DescribedGroup {
    match group {
        Err((error, why)) => message!(DescribedGroup {
            group_id: Text::from(name),
            error_code: error.code(),
            error_message: Some(sentence(error, why)),
            authorized_operations: OPERATIONS_NOT_ASKED,
        }),
        Ok(group) => message!(DescribedGroup {
            group_id: Text::from(name),
            group_state: Text::from(if group.members.is_empty() { "Empty" } else { "Stable" }),
            group_epoch: group.epoch,
            assignment_epoch: group.assignment_epoch,
            assignor_name: Text::from(ASSIGNOR),
            members: group.members.into_iter().map(|one| member(one, image)).collect(),
            authorized_operations: operations,
        }),
    }
}

fn member(one: DescribedMember, image: &Image) -> Member {
    let said = &*one.metadata;
    message!(Member {
        member_id: Text::from(one.member_id.to_string()),
        rack_id: said.rack.clone().map(Text::from),
        member_epoch: one.epoch,
        client_id: Text::from(said.client_id.clone()),
        client_host: Text::from(said.client_host.clone()),
        subscribed_topic_names: said.topics.iter().cloned().map(Text::from).collect(),
        assignment: assignment(one.assigned, image),
    })
}

/// With names, as Kafka has it: topics that are gone are left out.
fn assignment(assigned: Assigned, image: &Image) -> Assignment {
    let topic = |(id, partitions): (TopicId, BTreeSet<i32>)| {
        let name = &image.topic_by_id(id)?.name;
        Some(message!(TopicPartitions {
            topic_id: uuid(id),
            topic_name: Text::from(&**name),
            partitions: partitions.into_iter().collect(),
        }))
    };
    message!(Assignment { topic_partitions: assigned.0.into_iter().filter_map(topic).collect() })
}
