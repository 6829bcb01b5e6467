//! Everything but Produce and Fetch, by `kafka-wire`: the one module that names it.
//!
//! Its messages cannot be written as literals outside of its crate; [`message!`](crate::message) fills in fields over
//! the protocol's defaults. Which versions are served is [`crate::api`]'s to say, never `kafka-wire`'s.

use bytes::{Bytes, BytesMut};
pub use kafka_wire::{KafkaRequest, KafkaResponse, RequestResponsePair};
use kafka_wire_core::{ApiVersion, DecodeLimits, Decoder, KafkaEncode};
use model::ErrorCode;
use model::limits::{
    BODY_OF_PARTITIONS_BYTES_MAX, BODY_OF_SETTINGS_BYTES_MAX, DECODED_BYTES_FIXED, DECODED_BYTES_MAX,
    DECODED_BYTES_PER_BYTE, ELEMENTS_MAX,
};

use crate::api::{self, APIS, Api, ApiKey};
use crate::reader::Reader;
use crate::{DecodeError, EncodeError, RequestHeader, Text};

/// The messages and, in a module per message, the structures that they are made of.
pub mod messages {
    pub use kafka_wire::{
        AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterReplicaLogDirsRequest,
        AlterReplicaLogDirsResponse, AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse,
        AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiVersionsRequest,
        ApiVersionsResponse, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, CreatePartitionsRequest,
        CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest,
        DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteShareGroupOffsetsRequest,
        DeleteShareGroupOffsetsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
        DescribeClientQuotasRequest, DescribeClientQuotasResponse, DescribeClusterRequest,
        DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest,
        DescribeGroupsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest,
        DescribeProducersResponse, DescribeQuorumRequest, DescribeQuorumResponse,
        DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse, DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsResponse, DescribeUserScramCredentialsRequest,
        DescribeUserScramCredentialsResponse, ElectLeadersRequest, ElectLeadersResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, GetTelemetrySubscriptionsRequest,
        GetTelemetrySubscriptionsResponse, HeartbeatRequest, HeartbeatResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, InitProducerIdRequest,
        InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
        ListConfigResourcesRequest, ListConfigResourcesResponse, ListGroupsRequest, ListGroupsResponse,
        ListOffsetsRequest, ListOffsetsResponse, ListPartitionReassignmentsRequest,
        ListPartitionReassignmentsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
        OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
        OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, PushTelemetryRequest,
        PushTelemetryResponse, ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest,
        ShareFetchResponse, ShareGroupDescribeRequest, ShareGroupDescribeResponse,
        ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, SyncGroupRequest, SyncGroupResponse,
        UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
    };
    pub use kafka_wire::{
        alter_client_quotas_request, alter_client_quotas_response, alter_configs_request,
        alter_configs_response, alter_partition_reassignments_request,
        alter_partition_reassignments_response, alter_replica_log_dirs_request,
        alter_replica_log_dirs_response, alter_share_group_offsets_request,
        alter_share_group_offsets_response, alter_user_scram_credentials_request,
        alter_user_scram_credentials_response, api_versions_request, api_versions_response,
        consumer_group_describe_request, consumer_group_describe_response, consumer_group_heartbeat_request,
        consumer_group_heartbeat_response, create_partitions_request, create_partitions_response,
        create_topics_request, create_topics_response, delete_groups_request, delete_groups_response,
        delete_records_request, delete_records_response, delete_share_group_offsets_request,
        delete_share_group_offsets_response, delete_topics_request, delete_topics_response,
        describe_client_quotas_request, describe_client_quotas_response, describe_cluster_request,
        describe_cluster_response, describe_configs_request, describe_configs_response,
        describe_groups_request, describe_groups_response, describe_log_dirs_request,
        describe_log_dirs_response, describe_producers_request, describe_producers_response,
        describe_quorum_request, describe_quorum_response, describe_share_group_offsets_request,
        describe_share_group_offsets_response, describe_topic_partitions_request,
        describe_topic_partitions_response, describe_user_scram_credentials_request,
        describe_user_scram_credentials_response, elect_leaders_request, elect_leaders_response,
        find_coordinator_request, find_coordinator_response, get_telemetry_subscriptions_request,
        get_telemetry_subscriptions_response, heartbeat_request, heartbeat_response,
        incremental_alter_configs_request, incremental_alter_configs_response, init_producer_id_request,
        init_producer_id_response, join_group_request, join_group_response, leave_group_request,
        leave_group_response, list_config_resources_request, list_config_resources_response,
        list_groups_request, list_groups_response, list_offsets_request, list_offsets_response,
        list_partition_reassignments_request, list_partition_reassignments_response, metadata_request,
        metadata_response, offset_commit_request, offset_commit_response, offset_delete_request,
        offset_delete_response, offset_fetch_request, offset_fetch_response, offset_for_leader_epoch_request,
        offset_for_leader_epoch_response, push_telemetry_request, push_telemetry_response,
        share_acknowledge_request, share_acknowledge_response, share_fetch_request, share_fetch_response,
        share_group_describe_request, share_group_describe_response, share_group_heartbeat_request,
        share_group_heartbeat_response, sync_group_request, sync_group_response, unregister_broker_request,
        unregister_broker_response, update_features_request, update_features_response,
    };
}

/// Tagged fields that we do not know, per structure of a request.
///
/// A hostile body consists of the smallest structures there are: an empty name is one byte on the wire and 32 in
/// memory, in a vector that holds its old and its new half while it grows, which makes 96; a structure with one tagged
/// field costs a vector for four of them. Two more bounds keep what becomes of it below [`DECODED_BYTES_MAX`], and
/// `tests/fuzz/expansion.rs` measures that they do:
/// * [`ELEMENTS_MAX`] per array. That is enough where only the outermost array can have small elements, because partitions
///   are 13 bytes and more.
/// * [`body_bytes_max`]: low where arrays of small elements nest, and the count of one array says nothing.
///
/// Decoding never waits, so there is one peak per core at a time; what remains after it is a third to two thirds.
const TAGGED_FIELDS_MAX: usize = 4;

/// Bytes of a request's body, by API; the same for what is not served.
#[must_use]
pub fn body_bytes_max(api_key: i16) -> usize {
    match api::find(api_key).map(|api| api.key) {
        Some(
            ApiKey::ListOffsets
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::DeleteRecords
            | ApiKey::Metadata
            | ApiKey::DeleteTopics
            | ApiKey::DescribeTopicPartitions
            | ApiKey::DescribeLogDirs
            | ApiKey::ListPartitionReassignments
            | ApiKey::OffsetCommit
            | ApiKey::OffsetDelete
            | ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::LeaveGroup
            | ApiKey::DescribeGroups
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DeleteGroups
            | ApiKey::PushTelemetry
            | ApiKey::ShareGroupHeartbeat
            | ApiKey::ShareGroupDescribe
            | ApiKey::ShareFetch
            | ApiKey::ShareAcknowledge
            | ApiKey::DescribeShareGroupOffsets
            | ApiKey::AlterShareGroupOffsets
            | ApiKey::DeleteShareGroupOffsets,
        ) => BODY_OF_PARTITIONS_BYTES_MAX,
        _ => BODY_OF_SETTINGS_BYTES_MAX,
    }
}

/// The most memory that decoding a body of this size can take: at most [`DECODED_BYTES_MAX`]. Requests are admitted for it.
///
/// # Errors
/// The body is larger than any of this API may be.
pub fn decoded_bytes(api_key: i16, body_bytes: usize) -> Result<usize, DecodeError> {
    let max = body_bytes_max(api_key);
    if body_bytes > max {
        return Err(DecodeError::TooLarge { size: body_bytes, max });
    }
    Ok((DECODED_BYTES_FIXED + DECODED_BYTES_PER_BYTE * body_bytes).min(DECODED_BYTES_MAX))
}

/// Makes a message from the protocol's defaults and the fields given.
///
/// ```
/// use protocol::control::messages::metadata_response::MetadataResponseBroker;
/// let broker = protocol::message!(MetadataResponseBroker { node_id: 1, host: "localhost".into(), port: 9092 });
/// assert_eq!(broker.rack, None);
/// ```
#[macro_export]
macro_rules! message {
    ($type:path { $($field:ident : $value:expr),* $(,)? }) => {{
        #[allow(unused_mut, clippy::field_reassign_with_default, reason = "the messages have no literals; some uses set nothing")]
        let mut message = <$type>::default();
        $(message.$field = $value;)*
        message
    }};
}

/// Reads a request's body (see [`RequestHeader::body`]). Bytes after it are passed over, as Kafka does.
///
/// # Errors
/// [`DecodeError`]: the connection must close.
pub fn decode<M: KafkaRequest>(version: i16, body: Bytes) -> Result<M, DecodeError> {
    decoded_bytes(M::API_KEY.value(), body.len())?;
    let mut limits = limits(body.len());
    limits.max_array_elements = ELEMENTS_MAX;
    limits.max_tagged_fields = TAGGED_FIELDS_MAX;
    let mut decoder = Decoder::new(body, limits)?;
    Ok(M::decode(&mut decoder, ApiVersion::new(version))?)
}

/// No count and no length can be larger than what was sent.
fn limits(body_bytes: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = body_bytes;
    limits.max_string_bytes = body_bytes.min(0x7fff);
    limits.max_bytes_bytes = body_bytes;
    limits.max_array_elements = body_bytes;
    limits.max_tagged_fields = body_bytes.min(256);
    limits.max_tag_bytes = body_bytes;
    limits.max_total_tag_bytes = body_bytes;
    limits
}

/// The whole response to the request of `header`, in its version, but for the length prefix.
///
/// # Errors
/// When a field is set that the version cannot say: a mistake of the handler.
pub fn encode_response<M: KafkaResponse>(header: &RequestHeader, response: &M) -> Result<Bytes, EncodeError> {
    debug_assert_eq!(M::API_KEY.value(), header.api_key, "a response of another API");
    let mut out = BytesMut::new();
    header.begin_response(&mut out);
    response.encode_into(&mut out, ApiVersion::new(header.api_version))?;
    Ok(out.freeze())
}

/// Feature levels (KIP-584) as ApiVersions tells them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Features {
    /// What this broker has: name, first and last level.
    pub supported: Vec<(&'static str, i16, i16)>,
    /// What is in use: name and level.
    pub finalized: Vec<(&'static str, i16)>,
    /// Grows with whatever is in use.
    pub epoch: i64,
}

/// First version that tells features.
const FEATURES_SINCE: i16 = 3;
/// First version whose readers understand a feature that one can be without (KAFKA-17492).
const FEATURES_FROM_ZERO_SINCE: i16 = 4;

/// The answer to ApiVersions, whatever its version: the table and the features, or nothing but `error`.
///
/// A client that asks in a version of the future gets version 0 with UNSUPPORTED_VERSION and the range in which to
/// ask again (KIP-511).
#[must_use]
pub fn encode_api_versions(header: &RequestHeader, error: ErrorCode, features: &Features) -> Bytes {
    use messages::api_versions_response::{
        ApiVersion as Row, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
    };

    let known = header.api().is_some();
    let (version, error) =
        if known { (header.api_version, error) } else { (0, ErrorCode::UnsupportedVersion) };
    let rows: &[Api] = match error {
        ErrorCode::None => APIS,
        ErrorCode::UnsupportedVersion => std::slice::from_ref(ApiKey::ApiVersions.api()),
        _ => &[],
    };
    let rows = rows.iter().map(|api| {
        message!(Row { api_key: api.key.number(), min_version: api.advertised_min(), max_version: api.max })
    });
    let mut response = message!(ApiVersionsResponse { error_code: error.code(), api_keys: rows.collect() });
    if error.is_ok() && version >= FEATURES_SINCE {
        let told =
            features.supported.iter().filter(|(_, min, _)| *min > 0 || version >= FEATURES_FROM_ZERO_SINCE);
        let supported = told.map(|&(name, min, max)| {
            message!(SupportedFeatureKey { name: name.into(), min_version: min, max_version: max })
        });
        response.supported_features = supported.collect();
        let finalized = features.finalized.iter().filter(|(_, level)| *level > 0).map(|&(name, level)| {
            message!(FinalizedFeatureKey {
                name: name.into(),
                max_version_level: level,
                min_version_level: level,
            })
        });
        response.finalized_features = finalized.collect();
        response.finalized_features_epoch = features.epoch;
    }
    let mut out = BytesMut::new();
    header.begin_response(&mut out);
    match response.encode_into(&mut out, ApiVersion::new(version)) {
        Ok(_) => out.freeze(),
        Err(error) => unreachable!("every version can say keys and versions: {error}"),
    }
}

/// A request as a frame without its length prefix: for clients of ours and for tests.
///
/// # Errors
/// When a field is set that the version cannot say.
pub fn encode_request<M: KafkaRequest>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &M,
) -> Result<Bytes, EncodeError> {
    let limits = kafka_wire::OutboundFrameLimits::new(usize::MAX);
    let mut out = BytesMut::new();
    let client_id = client_id.map(Text::from);
    let version = ApiVersion::new(version);
    kafka_wire::encode_request(&mut out, correlation_id, client_id, request, version, limits)?;
    Ok(out.split_off(crate::frame::LENGTH_BYTES).freeze())
}

/// A response's correlation id and message, from its frame without the length prefix: for clients of ours and for
/// tests.
///
/// # Errors
/// [`DecodeError`]: what came is no such response.
pub fn decode_response<M: KafkaResponse>(version: i16, frame: &Bytes) -> Result<(i32, M), DecodeError> {
    let key = M::API_KEY.value();
    let flexible = api::find(key).is_some_and(|api| api.is_flexible(version));
    let mut front = Reader::new(frame, 0, flexible && key != ApiKey::ApiVersions.number());
    let correlation_id = front.i32()?;
    front.skip_tags()?;
    let body = frame.slice(front.at()..);
    let size = body.len();
    let mut decoder = Decoder::new(body, limits(size))?;
    let message = M::decode(&mut decoder, ApiVersion::new(version))?;
    decoder.finish()?;
    Ok((correlation_id, message))
}
