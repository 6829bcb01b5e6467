//! ListOffsets: earliest, latest, by time and their kin, from the owners.

use std::collections::HashSet;

use model::{ErrorCode, LeaderEpoch, TimestampMs, TopicPartition};
use net::service::Called;
use protocol::control::messages::ListOffsetsRequest;
use protocol::control::messages::list_offsets_request::ListOffsetsPartition;
use protocol::control::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use protocol::{RequestHeader, message};
use shard::ops::{Answer, ListOffset, ListedOffset, OffsetQuery, Question};

use super::{Verdicts, join, occurrences, partition_named, read_committed, reply};
use crate::cluster::scatter;
use crate::service::Broker;

/// First version that tells the epoch an offset was written in.
const LEADER_EPOCH_SINCE: i16 = 4;

/// What may be asked for by a negative timestamp, and since which version.
const SPECIAL: &[(i64, OffsetQuery, i16)] = &[
    (-1, OffsetQuery::Latest, 1),
    (-2, OffsetQuery::Earliest, 1),
    (-3, OffsetQuery::MaxTimestamp, 7),
    (-4, OffsetQuery::EarliestLocal, 8),
    (-5, OffsetQuery::LatestTiered, 9),
    // The first offset that is yet to be tiered (KIP-1023): there is no tier, so none, as for -5.
    (-6, OffsetQuery::LatestTiered, 11),
];

/// Takes a ListOffsets request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: ListOffsetsRequest) -> Called {
    let image = broker.cluster.image();
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(move |partition| (topic.name.clone(), partition.partition_index))
    });
    let counts = occurrences(named);
    let isolation = read_committed(request.isolation_level);
    let mut told = HashSet::new();
    let mut topics = Verdicts::new();
    let mut queries: Vec<(TopicPartition, ListOffset)> = Vec::new();
    for topic in request.topics {
        let mut verdicts = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            // What is asked for twice is refused, and told once.
            let place = (topic.name.clone(), index);
            let repeated = counts.get(&place).is_some_and(|count| *count > 1);
            if repeated && !told.insert(place) {
                continue;
            }
            let judged = isolation.and_then(|read_committed| {
                if repeated {
                    return Err(ErrorCode::InvalidRequest);
                }
                let query = query(&wanted, header.api_version)?;
                let partition = partition_named(&image, &topic.name, index)?;
                let current_leader_epoch = LeaderEpoch(wanted.current_leader_epoch);
                Ok(ListOffset { partition, query, current_leader_epoch, read_committed })
            });
            verdicts.push((index, judged.map(|asked| queries.push((asked.partition, asked)))));
        }
        if !verdicts.is_empty() {
            topics.push((topic.name, verdicts));
        }
    }
    let answer = |answer| if let Answer::Listed(each) = answer { Some(each) } else { None };
    let listed = scatter(&*broker.cluster, queries, Question::ListOffsets, answer).await;
    let header = header.clone();
    Called::Later(Box::pin(async move {
        let topics = join(topics, listed.await).into_iter().map(|(name, found)| {
            let partitions =
                found.into_iter().map(|(index, found)| partition(index, found, header.api_version));
            message!(ListOffsetsTopicResponse { name: name, partitions: partitions.collect() })
        });
        reply(&header, &message!(ListOffsetsResponse { topics: topics.collect() }))
    }))
}

fn query(wanted: &ListOffsetsPartition, version: i16) -> Result<OffsetQuery, ErrorCode> {
    if wanted.timestamp >= 0 {
        return Ok(OffsetQuery::At(TimestampMs(wanted.timestamp)));
    }
    match SPECIAL.iter().find(|(timestamp, ..)| *timestamp == wanted.timestamp) {
        Some((_, query, since)) if version >= *since => Ok(*query),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn partition(
    index: i32,
    found: Result<ListedOffset, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let code = found.map_or_else(|code| code, |found| found.error);
    let mut response =
        message!(ListOffsetsPartitionResponse { partition_index: index, error_code: code.code() });
    if let Ok(found) = found
        && found.error.is_ok()
    {
        (response.offset, response.timestamp) = (found.offset.0, found.timestamp.0);
        if version >= LEADER_EPOCH_SINCE {
            response.leader_epoch = found.leader_epoch.0;
        }
    }
    response
}
