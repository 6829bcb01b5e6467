//! OffsetCommit: offsets of a group, answered when they are on stable storage.

use std::collections::VecDeque;

use coordination::group::{
    CommitPartition, CommitTopic, OffsetCommit, Reply as GroupReply, Request as GroupRequest,
};
use coordination::metadata::{Image, Topic};
use model::{ErrorCode, Offset, TopicId};
use net::service::Called;
use protocol::control::messages::OffsetCommitRequest;
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::{RequestHeader, Text, Uuid, message};

use super::coordinator::{ask, owned, owned_if_any};
use super::reply;
use crate::service::Broker;

/// Last version that says how long offsets are to be kept.
const RETENTION_UNTIL: i16 = 4;
/// First version that has an error for "no such group".
const GROUP_NOT_FOUND_SINCE: i16 = 9;
/// First version that names topics by id.
const BY_ID_SINCE: i16 = 10;
/// "The broker's own", where a version has a retention time.
const RETENTION_DEFAULT: i64 = -1;

/// Partitions of a topic, and of each whether it is there.
type Found = Vec<(i32, Result<(), ErrorCode>)>;

/// A topic of the request: as it was named, and per partition whether its offset went to the coordinator.
struct Asked {
    name: Text,
    id: Uuid,
    partitions: Found,
}

/// Takes an OffsetCommit request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: OffsetCommitRequest) -> Called {
    let version = header.api_version;
    let image = broker.cluster.image();
    let mut asked = Vec::with_capacity(request.topics.len());
    let mut topics = Vec::new();
    for topic in request.topics {
        let (verdicts, commit) = judged(&image, &topic, version);
        topics.extend(commit);
        asked.push(Asked { name: topic.name, id: topic.topic_id, partitions: verdicts });
    }
    let retention = Some(request.retention_time_ms)
        .filter(|retention| version <= RETENTION_UNTIL && *retention != RETENTION_DEFAULT);
    let commit = OffsetCommit {
        group: owned(&request.group_id),
        member_id: owned(&request.member_id),
        instance_id: owned_if_any(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        retention_ms: retention,
        knows_group_not_found: version >= GROUP_NOT_FOUND_SINCE,
        topics,
    };
    let group = commit.group.clone();
    // Even with nothing left to commit the coordinator has to say whether the member may.
    let committed = ask(&*broker.cluster, &group, GroupRequest::OffsetCommit(commit)).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let GroupReply::OffsetCommit(verdicts) = committed.await else {
            return reply(&header, &answer(asked, &mut VecDeque::new()));
        };
        let mut told =
            verdicts.into_iter().flat_map(|topic| topic.partitions).map(|(_, error)| error).collect();
        reply(&header, &answer(asked, &mut told))
    }))
}

/// What of a topic exists, and the part that goes to the coordinator.
fn judged(image: &Image, topic: &OffsetCommitRequestTopic, version: i16) -> (Found, Option<CommitTopic>) {
    let found = if version >= BY_ID_SINCE {
        image.topic_by_id(TopicId(topic.topic_id.to_bytes())).ok_or(ErrorCode::UnknownTopicId)
    } else {
        image.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    let has = |topic: &Topic, index: i32| topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition);
    let judge = |partition: &OffsetCommitRequestPartition| {
        let index = partition.partition_index;
        (index, found.as_ref().map_err(|error| *error).and_then(|topic| has(topic, index)).map(|_| ()))
    };
    let verdicts: Found = topic.partitions.iter().map(judge).collect();
    let good = topic.partitions.iter().zip(&verdicts).filter(|(_, (_, verdict))| verdict.is_ok());
    let partitions: Vec<CommitPartition> = good.map(|(partition, _)| to_commit(partition)).collect();
    let commit = found.ok().filter(|_| !partitions.is_empty()).map(|topic| CommitTopic {
        name: topic.name.to_string(),
        topic_id: topic.id,
        partitions,
    });
    (verdicts, commit)
}

fn to_commit(partition: &OffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        partition: partition.partition_index,
        offset: Offset(partition.committed_offset),
        leader_epoch: partition.committed_leader_epoch,
        metadata: owned_if_any(partition.committed_metadata.as_ref()).unwrap_or_default(),
        commit_time: None,
    }
}

fn answer(asked: Vec<Asked>, told: &mut VecDeque<ErrorCode>) -> OffsetCommitResponse {
    let topics = asked.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|(index, verdict)| {
            let error = match verdict {
                Ok(()) => told.pop_front().unwrap_or(ErrorCode::UnknownServerError),
                Err(error) => error,
            };
            message!(OffsetCommitResponsePartition { partition_index: index, error_code: error.code() })
        });
        message!(OffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.id,
            partitions: partitions.collect(),
        })
    });
    message!(OffsetCommitResponse { topics: topics.collect() })
}
