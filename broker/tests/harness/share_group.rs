//! Requests about share groups that several test binaries send.

use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::{IncrementalAlterConfigsRequest, ShareGroupHeartbeatRequest};
use protocol::message;

/// ConfigResource's number of groups.
const GROUP_RESOURCE: i8 = 32;

/// The group begins with the first record, not where the log ends.
pub fn begins_with_the_first(group: &str) -> IncrementalAlterConfigsRequest {
    let config =
        message!(AlterableConfig { name: "share.auto.offset.reset".into(), value: Some("earliest".into()) });
    let resource = message!(AlterConfigsResource {
        resource_type: GROUP_RESOURCE,
        resource_name: group.into(),
        configs: vec![config],
    });
    message!(IncrementalAlterConfigsRequest { resources: vec![resource] })
}

/// A member joins (epoch 0, with what it reads), or goes on.
pub fn heartbeat(group: &str, member: &str, epoch: i32, topic: &str) -> ShareGroupHeartbeatRequest {
    message!(ShareGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        subscribed_topic_names: (epoch == 0).then(|| vec![topic.into()]),
    })
}
