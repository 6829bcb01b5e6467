//! Hostile bytes against every decoder: nothing panics, and memory follows the bytes that came rather than the
//! numbers in them.
//!
//! Runs as ordinary tests: first the corpus beside this file, then random inputs, of which
//! `BOLERO_RANDOM_ITERATIONS` sets the number. A failure prints its seed; `BOLERO_RANDOM_SEED` replays it.
//! `cargo test -p millrace-protocol --test fuzz -- --ignored write_corpus` lays down the corpus anew.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "tests: their names tell, and one that cannot go on has failed"
)]

mod corpus;
mod expansion;
mod memory;

use bytes::Bytes;
use protocol::control::{self, KafkaRequest, KafkaResponse, messages as m};
use protocol::fetch::FetchRequest;
use protocol::frame::frame_length;
use protocol::produce::ProduceRequest;
use protocol::{ApiKey, RequestHeader};

/// Random inputs per target, where the environment says nothing else.
const ITERATIONS: usize = 5_000;

/// What one byte of input may become in memory at worst: two bytes are a whole structure, in a vector that doubles.
const EXPANSION: usize = 256;

/// Makes `frame` smaller or other in the way that `edits` say.
fn edited(frame: &[u8], keep: u16, edits: &[(u16, u8)]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = frame.len();
    if keep & 1 == 1 {
        frame.truncate(usize::from(keep >> 1) % (length + 1));
    }
    for (at, value) in edits {
        let at = usize::from(*at) % (frame.len() + 1);
        match frame.get_mut(at) {
            Some(byte) => *byte = *value,
            None => frame.push(*value),
        }
    }
    frame
}

/// Any request at all, decoded as the broker would.
fn decode_request(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let ((), peak) = memory::peak_of(|| decode_frame(&frame));
    assert!(peak <= 4096 + EXPANSION * bytes.len(), "{} bytes of input took {peak} of memory", bytes.len());
}

fn decode_frame(frame: &Bytes) {
    let Ok(header) = RequestHeader::parse(frame) else { return };
    let Some(key) = header.api() else {
        let _ = control::encode_api_versions(&header, model::ErrorCode::None, &control::Features::default());
        return;
    };
    match key {
        ApiKey::Produce => {
            let Ok(request) = ProduceRequest::decode(&header, frame) else { return };
            let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
            let records: usize =
                partitions.filter_map(|partition| partition.records.as_ref()).map(Bytes::len).sum();
            assert!(records <= frame.len(), "records from nowhere");
        }
        ApiKey::Fetch => {
            let Ok(request) = FetchRequest::decode(&header, frame) else { return };
            let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
            assert!(partitions <= frame.len(), "partitions from nowhere");
        }
        ApiKey::ListOffsets => again::<m::ListOffsetsRequest>(&header, frame),
        ApiKey::Metadata => again::<m::MetadataRequest>(&header, frame),
        ApiKey::OffsetCommit => again::<m::OffsetCommitRequest>(&header, frame),
        ApiKey::OffsetFetch => again::<m::OffsetFetchRequest>(&header, frame),
        ApiKey::FindCoordinator => again::<m::FindCoordinatorRequest>(&header, frame),
        ApiKey::JoinGroup => again::<m::JoinGroupRequest>(&header, frame),
        ApiKey::Heartbeat => again::<m::HeartbeatRequest>(&header, frame),
        ApiKey::LeaveGroup => again::<m::LeaveGroupRequest>(&header, frame),
        ApiKey::SyncGroup => again::<m::SyncGroupRequest>(&header, frame),
        ApiKey::DescribeGroups => again::<m::DescribeGroupsRequest>(&header, frame),
        ApiKey::ListGroups => again::<m::ListGroupsRequest>(&header, frame),
        ApiKey::ConsumerGroupHeartbeat => again::<m::ConsumerGroupHeartbeatRequest>(&header, frame),
        ApiKey::ConsumerGroupDescribe => again::<m::ConsumerGroupDescribeRequest>(&header, frame),
        ApiKey::ShareGroupHeartbeat => again::<m::ShareGroupHeartbeatRequest>(&header, frame),
        ApiKey::ShareGroupDescribe => again::<m::ShareGroupDescribeRequest>(&header, frame),
        ApiKey::ShareFetch => again::<m::ShareFetchRequest>(&header, frame),
        ApiKey::ShareAcknowledge => again::<m::ShareAcknowledgeRequest>(&header, frame),
        ApiKey::DescribeShareGroupOffsets => again::<m::DescribeShareGroupOffsetsRequest>(&header, frame),
        ApiKey::AlterShareGroupOffsets => again::<m::AlterShareGroupOffsetsRequest>(&header, frame),
        ApiKey::DeleteShareGroupOffsets => again::<m::DeleteShareGroupOffsetsRequest>(&header, frame),
        ApiKey::DeleteGroups => again::<m::DeleteGroupsRequest>(&header, frame),
        ApiKey::OffsetDelete => again::<m::OffsetDeleteRequest>(&header, frame),
        ApiKey::ApiVersions => again::<m::ApiVersionsRequest>(&header, frame),
        ApiKey::CreateTopics => again::<m::CreateTopicsRequest>(&header, frame),
        ApiKey::DeleteTopics => again::<m::DeleteTopicsRequest>(&header, frame),
        ApiKey::DeleteRecords => again::<m::DeleteRecordsRequest>(&header, frame),
        ApiKey::InitProducerId => again::<m::InitProducerIdRequest>(&header, frame),
        ApiKey::OffsetForLeaderEpoch => again::<m::OffsetForLeaderEpochRequest>(&header, frame),
        ApiKey::DescribeConfigs => again::<m::DescribeConfigsRequest>(&header, frame),
        ApiKey::CreatePartitions => again::<m::CreatePartitionsRequest>(&header, frame),
        ApiKey::AlterConfigs => again::<m::AlterConfigsRequest>(&header, frame),
        ApiKey::IncrementalAlterConfigs => again::<m::IncrementalAlterConfigsRequest>(&header, frame),
        ApiKey::ListConfigResources => again::<m::ListConfigResourcesRequest>(&header, frame),
        ApiKey::DescribeCluster => again::<m::DescribeClusterRequest>(&header, frame),
        ApiKey::AlterClientQuotas => again::<m::AlterClientQuotasRequest>(&header, frame),
        ApiKey::AlterPartitionReassignments => again::<m::AlterPartitionReassignmentsRequest>(&header, frame),
        ApiKey::AlterReplicaLogDirs => again::<m::AlterReplicaLogDirsRequest>(&header, frame),
        ApiKey::AlterUserScramCredentials => again::<m::AlterUserScramCredentialsRequest>(&header, frame),
        ApiKey::DescribeClientQuotas => again::<m::DescribeClientQuotasRequest>(&header, frame),
        ApiKey::DescribeLogDirs => again::<m::DescribeLogDirsRequest>(&header, frame),
        ApiKey::DescribeProducers => again::<m::DescribeProducersRequest>(&header, frame),
        ApiKey::DescribeQuorum => again::<m::DescribeQuorumRequest>(&header, frame),
        ApiKey::DescribeUserScramCredentials => {
            again::<m::DescribeUserScramCredentialsRequest>(&header, frame)
        }
        ApiKey::GetTelemetrySubscriptions => again::<m::GetTelemetrySubscriptionsRequest>(&header, frame),
        ApiKey::PushTelemetry => again::<m::PushTelemetryRequest>(&header, frame),
        ApiKey::ElectLeaders => again::<m::ElectLeadersRequest>(&header, frame),
        ApiKey::ListPartitionReassignments => again::<m::ListPartitionReassignmentsRequest>(&header, frame),
        ApiKey::UnregisterBroker => again::<m::UnregisterBrokerRequest>(&header, frame),
        ApiKey::UpdateFeatures => again::<m::UpdateFeaturesRequest>(&header, frame),
        ApiKey::DescribeTopicPartitions => again::<m::DescribeTopicPartitionsRequest>(&header, frame),
    }
}

/// What decodes must survive being encoded and decoded again.
fn again<M: KafkaRequest + PartialEq + std::fmt::Debug>(header: &RequestHeader, frame: &Bytes) {
    let version = header.api_version;
    let Ok(request) = control::decode::<M>(version, header.body(frame)) else { return };
    let Ok(encoded) = control::encode_request(version, 1, None, &request) else { return };
    let header = RequestHeader::parse(&encoded).unwrap();
    assert_eq!(control::decode::<M>(version, header.body(&encoded)), Ok(request));
}

#[test]
fn request_frame() {
    bolero::check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| decode_request(input));
}

#[test]
fn request_frame_of_a_known_api() {
    bolero::check!().with_iterations(ITERATIONS).with_type::<(u8, u8, Vec<u8>)>().for_each(
        |(api, version, body)| {
            let api = protocol::api::APIS[usize::from(*api) % protocol::api::APIS.len()];
            let versions = i16::try_from(usize::from(*version) % 32).unwrap() % (api.max - api.min + 1);
            let version = api.min + versions;
            let mut frame = [api.key.number().to_be_bytes(), version.to_be_bytes(), [0; 2], [1; 2]].concat();
            frame.extend([0xff, 0xff]);
            if api.is_flexible(version) {
                frame.push(0);
            }
            frame.extend(body);
            decode_request(&frame);
        },
    );
}

#[test]
fn request_frame_damaged() {
    let corpus = corpus::read();
    bolero::check!().with_iterations(4 * ITERATIONS).with_type::<(u16, u16, Vec<(u16, u8)>)>().for_each(
        |(pick, keep, edits)| {
            decode_request(&edited(&corpus[usize::from(*pick) % corpus.len()], *keep, edits))
        },
    );
}

#[test]
fn response_frame() {
    fn read<M: KafkaResponse>(version: u8, frame: &Bytes) {
        let version = i16::from(version % 20);
        let _ = control::decode_response::<M>(version, frame);
    }
    bolero::check!().with_iterations(ITERATIONS).with_type::<(u8, u8, Vec<u8>)>().for_each(
        |(api, version, body)| {
            let frame = Bytes::copy_from_slice(body);
            let ((), peak) = memory::peak_of(|| match api % 6 {
                0 => read::<m::MetadataResponse>(*version, &frame),
                1 => read::<m::ApiVersionsResponse>(*version, &frame),
                2 => read::<m::CreateTopicsResponse>(*version, &frame),
                3 => read::<m::ListOffsetsResponse>(*version, &frame),
                4 => read::<m::DescribeConfigsResponse>(*version, &frame),
                _ => read::<m::DescribeTopicPartitionsResponse>(*version, &frame),
            });
            assert!(peak <= 4096 + EXPANSION * body.len(), "{} bytes took {peak}", body.len());
        },
    );
}

#[test]
fn frame_length_prefix() {
    bolero::check!().with_iterations(ITERATIONS).with_type::<([u8; 4], usize)>().for_each(|(prefix, max)| {
        if let Ok(length) = frame_length(*prefix, *max) {
            assert!((8..=*max).contains(&length));
        }
    });
}

/// Counts that promise far more than follows, in both encodings.
#[test]
fn stated_counts_cost_nothing() {
    for api in protocol::api::APIS {
        for version in api.min..=api.max {
            for count in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
                for at in 0..24 {
                    let mut frame =
                        [api.key.number().to_be_bytes(), version.to_be_bytes(), [0; 2], [1; 2]].concat();
                    frame.extend([0xff, 0xff, 0]);
                    frame.extend(vec![0; at]);
                    frame.extend(count);
                    frame.extend([0; 40]);
                    decode_request(&frame);
                }
            }
        }
    }
}
