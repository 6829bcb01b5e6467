//! OffsetDelete: forgets committed offsets of topics that the group does not subscribe to.

use std::collections::VecDeque;

use coordination::group::{
    OffsetDelete, OffsetDeleteReply, PartitionsOf, Reply as GroupReply, Request as GroupRequest,
};
use model::ErrorCode;
use net::service::Called;
use protocol::control::messages::OffsetDeleteRequest;
use protocol::control::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::{RequestHeader, message};

use super::coordinator::{ask, owned};
use super::{Verdicts, partition_named, reply};
use crate::service::Broker;

/// Takes an OffsetDelete request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: OffsetDeleteRequest) -> Called {
    let image = broker.cluster.image();
    let mut asked = Verdicts::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let judge = |index| (index, partition_named(&image, &topic.name, index).map(|_| ()));
        let verdicts: Vec<(i32, Result<(), ErrorCode>)> =
            topic.partitions.iter().map(|partition| judge(partition.partition_index)).collect();
        let good: Vec<i32> =
            verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(index, _)| *index).collect();
        if !good.is_empty() {
            topics.push(PartitionsOf { topic: owned(&topic.name), partitions: good });
        }
        asked.push((topic.name, verdicts));
    }
    let group = owned(&request.group_id);
    let delete = OffsetDelete { group: group.clone(), topics };
    let deleted = ask(&*broker.cluster, &group, GroupRequest::OffsetDelete(delete)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let response = match deleted.await {
            GroupReply::OffsetDelete(deleted) => answer(asked, deleted),
            _ => message!(OffsetDeleteResponse { error_code: ErrorCode::UnknownServerError.code() }),
        };
        reply(&header, &response)
    }))
}

fn answer(asked: Verdicts, deleted: OffsetDeleteReply) -> OffsetDeleteResponse {
    if !deleted.error.is_ok() {
        return message!(OffsetDeleteResponse { error_code: deleted.error.code() });
    }
    let mut told: VecDeque<ErrorCode> =
        deleted.topics.into_iter().flat_map(|topic| topic.partitions).map(|(_, error)| error).collect();
    let topics = asked.into_iter().map(|(name, verdicts)| {
        let partitions = verdicts.into_iter().map(|(index, verdict)| {
            let error = match verdict {
                Ok(()) => told.pop_front().unwrap_or(ErrorCode::UnknownServerError),
                Err(error) => error,
            };
            message!(OffsetDeleteResponsePartition { partition_index: index, error_code: error.code() })
        });
        message!(OffsetDeleteResponseTopic { name: name, partitions: partitions.collect() })
    });
    message!(OffsetDeleteResponse { topics: topics.collect() })
}
