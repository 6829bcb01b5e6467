//! From API key to handler: what connections of one core call.

#[cfg(test)]
pub(crate) mod harness;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use coordination::fetch_session::FetchSessions;
use coordination::metadata::Image;
use coordination::metadata::features::FEATURES;
use coordination::share::session::ShareSessions;
use model::{BrokerId, ErrorCode};
use net::answers::Answers;
use net::service::{Called, Peer, Reply, Request, Service};
use protocol::control::KafkaRequest;
use protocol::control::messages::{ApiVersionsRequest, ListPartitionReassignmentsRequest};
use protocol::{ApiKey, DecodeError, RequestHeader, api as table, control};
use shard::counters::Counted;
use storage::signal::Gate;

use crate::api;
use crate::api::coordinator::InternalTopic;
use crate::api::init_producer_id::IdBlock;
use crate::cluster::Cluster;
use crate::telemetry::Telemetry;
pub use session::Session;

/// What clients are told of this broker, and what they may do.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker.
    pub node: BrokerId,
    /// Where it is reached.
    pub host: String,
    /// Where it is reached.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether Metadata creates topics that do not exist.
    pub auto_create_topics: bool,
    /// Whether topics may be deleted.
    pub delete_topics: bool,
    /// Bytes of one fetch response.
    pub fetch_bytes_max: u32,
    /// Fetch sessions of this core.
    pub fetch_sessions_max: usize,
    /// What the topic of group coordinators is made with.
    pub offsets_topic: InternalTopic,
    /// What the topic of share coordinators is made with.
    pub share_state_topic: InternalTopic,
    /// Share sessions of this core.
    pub share_sessions_max: usize,
    /// Partitions in one answer to DescribeTopicPartitions.
    pub described_partitions_max: u32,
    /// Where the data directory is, from the root.
    pub data_dir: String,
    /// Its `directory.id`.
    pub directory: [u8; 16],
    /// Bytes that the batches of one request may be in the compression of their topics.
    pub recompressed_bytes_max: usize,
    /// Where clients' metrics go.
    pub telemetry: Arc<Telemetry>,
}

/// What connections of one core call.
pub struct Home(Rc<Broker>);

/// What the handlers of one core work with.
pub struct Broker {
    /// The cores.
    pub cluster: Rc<dyn Cluster>,
    /// What clients are told.
    pub settings: Rc<ServiceSettings>,
    /// The term of the metadata log in which this broker leads.
    pub quorum_epoch: i32,
    /// This core's fetch sessions.
    pub sessions: RefCell<FetchSessions>,
    /// This core's share sessions.
    pub share_sessions: RefCell<ShareSessions>,
    /// Names the connections that have any.
    pub share_connections: Cell<u64>,
    /// Producer ids this core may give out.
    pub producer_ids: RefCell<IdBlock>,
    /// Names the waits of this core at others.
    pub waits: Cell<u64>,
    /// Memory for control-plane requests and their answers.
    pub answers: Answers,
    /// Whoever recompresses batches, one at a time.
    pub recompressing: Rc<Gate>,
    random: RefCell<fastrand::Rng>,
    /// Whoever looks through a compressed batch for keys.
    pub key_checks: Gate,
}

impl Broker {
    /// `seed` is random, new at every start.
    #[must_use]
    pub fn new(
        cluster: Rc<dyn Cluster>,
        settings: Rc<ServiceSettings>,
        quorum_epoch: i32,
        answers: Answers,
        seed: u64,
    ) -> Self {
        let sessions = FetchSessions::new(settings.fetch_sessions_max, seed);
        let share_sessions_max = settings.share_sessions_max;
        Self {
            cluster,
            settings,
            quorum_epoch,
            sessions: RefCell::new(sessions),
            share_sessions: RefCell::new(ShareSessions::new(share_sessions_max)),
            share_connections: Cell::new(0),
            producer_ids: RefCell::new(IdBlock::default()),
            waits: Cell::new(0),
            answers,
            recompressing: Rc::default(),
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
            key_checks: Gate::default(),
        }
    }

    /// A new id for a client: a random UUID (version 4).
    #[must_use]
    pub fn instance_id(&self) -> [u8; 16] {
        let mut id = self.random.borrow_mut().u128(..).to_be_bytes();
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }

    async fn dispatch(
        self: &Rc<Self>,
        api: ApiKey,
        session: &Session,
        request: Request,
    ) -> Result<Called, DecodeError> {
        let kind = match api {
            ApiKey::Produce => Counted::ProduceRequests,
            ApiKey::Fetch => Counted::FetchRequests,
            _ => Counted::OtherRequests,
        };
        self.cluster.counters().count(kind);
        match api {
            ApiKey::Produce => return api::produce::handle(self, request).await,
            ApiKey::Fetch => return api::fetch::handle(self, request).await,
            ApiKey::ShareFetch => return api::share_fetch::handle(self, session, request).await,
            _ => {}
        }
        // What a request of the control plane may become is charged before it is decoded, and its answer when it is known.
        let body_bytes = request.header.body(&request.frame).len();
        let decoded_bytes = control::decoded_bytes(request.header.api_key, body_bytes)?;
        let mut permit = self.answers.admit(decoded_bytes).await;
        Ok(match self.control(api, session, &request).await? {
            Called::Now(reply) => Called::Now(self.answers.charge(reply, permit)),
            Called::Later(reply) | Called::InTurn { reply, .. } => {
                let answers = self.answers.clone();
                // What was decoded has gone to the owners. A member of a group may wait for minutes.
                permit.settle(body_bytes);
                Called::Later(Box::pin(async move {
                    let reply = reply.await;
                    // Until here: names of topics that wait for their answers are slices of it.
                    drop(request);
                    answers.charge(reply, permit)
                }))
            }
        })
    }

    /// Everything but Produce, Fetch and ShareFetch, and none of them.
    async fn control(
        self: &Rc<Self>,
        api: ApiKey,
        session: &Session,
        request: &Request,
    ) -> Result<Called, DecodeError> {
        let header = &request.header;
        // Most are answered before the connection's next request is taken: it may build on them, as with Kafka, which
        // serves a connection one request at a time.
        let now = match api {
            ApiKey::ListOffsets => return Ok(api::list_offsets::handle(self, header, decode(request)?).await),
            ApiKey::OffsetForLeaderEpoch => {
                return Ok(api::offset_for_leader_epoch::handle(self, header, decode(request)?).await);
            }
            ApiKey::OffsetCommit => {
                return Ok(api::offset_commit::handle(self, header, decode(request)?).await);
            }
            ApiKey::OffsetFetch => return Ok(api::offset_fetch::handle(self, header, decode(request)?).await),
            ApiKey::OffsetDelete => {
                return Ok(api::offset_delete::handle(self, header, decode(request)?).await);
            }
            ApiKey::JoinGroup => {
                return Ok(api::join_group::handle(self, session, header, decode(request)?).await);
            }
            ApiKey::SyncGroup => return Ok(api::sync_group::handle(self, header, decode(request)?).await),
            ApiKey::Heartbeat => return Ok(api::heartbeat::handle(self, header, decode(request)?).await),
            ApiKey::LeaveGroup => return Ok(api::leave_group::handle(self, header, decode(request)?).await),
            ApiKey::ListGroups => return Ok(api::list_groups::handle(self, header, decode(request)?).await),
            ApiKey::DescribeGroups => {
                return Ok(api::describe_groups::handle(self, header, decode(request)?).await);
            }
            ApiKey::ConsumerGroupHeartbeat => {
                let handled =
                    api::consumer_group_heartbeat::handle(self, session, header, decode(request)?).await;
                return Ok(handled);
            }
            ApiKey::ConsumerGroupDescribe => {
                return Ok(api::consumer_group_describe::handle(self, header, decode(request)?).await);
            }
            ApiKey::ShareGroupHeartbeat => {
                let handled =
                    api::share_group_heartbeat::handle(self, session, header, decode(request)?).await;
                return Ok(handled);
            }
            ApiKey::ShareGroupDescribe => {
                return Ok(api::share_group_describe::handle(self, header, decode(request)?).await);
            }
            ApiKey::ShareAcknowledge => {
                return Ok(api::share_acknowledge::handle(self, header, decode(request)?).await);
            }
            ApiKey::DescribeShareGroupOffsets => {
                return Ok(api::describe_share_group_offsets::handle(self, header, decode(request)?));
            }
            ApiKey::AlterShareGroupOffsets => {
                return Ok(api::alter_share_group_offsets::handle(self, header, decode(request)?));
            }
            ApiKey::DeleteShareGroupOffsets => {
                return Ok(api::delete_share_group_offsets::handle(self, header, decode(request)?));
            }
            ApiKey::DeleteGroups => {
                return Ok(api::delete_groups::handle(self, header, decode(request)?).await);
            }
            ApiKey::FindCoordinator => api::find_coordinator::handle(self, header, decode(request)?).await,
            ApiKey::ApiVersions => api_versions(self, session, request)?,
            ApiKey::Metadata => api::metadata::handle(self, header, decode(request)?).await,
            ApiKey::CreateTopics => api::create_topics::handle(self, header, decode(request)?).await,
            ApiKey::DeleteTopics => api::delete_topics::handle(self, header, decode(request)?).await,
            ApiKey::DeleteRecords => api::delete_records::handle(self, header, decode(request)?).await,
            ApiKey::InitProducerId => api::init_producer_id::handle(self, header, decode(request)?).await,
            ApiKey::DescribeConfigs => api::describe_configs::handle(self, header, &decode(request)?),
            ApiKey::CreatePartitions => api::create_partitions::handle(self, header, decode(request)?).await,
            ApiKey::AlterConfigs => api::alter_configs::handle(self, header, decode(request)?).await,
            ApiKey::IncrementalAlterConfigs => {
                api::incremental_alter_configs::handle(self, header, decode(request)?).await
            }
            ApiKey::ListConfigResources => {
                api::list_config_resources::handle(self, header, &decode(request)?)
            }
            ApiKey::DescribeCluster => api::describe_cluster::handle(self, header, &decode(request)?),
            ApiKey::DescribeTopicPartitions => {
                api::describe_topic_partitions::handle(self, header, decode(request)?)
            }
            ApiKey::AlterReplicaLogDirs => {
                api::alter_replica_log_dirs::handle(self, header, decode(request)?)
            }
            ApiKey::DescribeLogDirs => api::describe_log_dirs::handle(self, header, decode(request)?).await,
            ApiKey::ElectLeaders => api::elect_leaders::handle(self, header, decode(request)?),
            ApiKey::AlterPartitionReassignments => {
                api::alter_partition_reassignments::handle(self, header, decode(request)?)
            }
            ApiKey::ListPartitionReassignments => {
                let _: ListPartitionReassignmentsRequest = decode(request)?;
                api::list_partition_reassignments::handle(header)
            }
            ApiKey::DescribeClientQuotas => api::describe_client_quotas::handle(header, &decode(request)?),
            ApiKey::AlterClientQuotas => api::alter_client_quotas::handle(header, decode(request)?),
            ApiKey::DescribeUserScramCredentials => {
                api::describe_user_scram_credentials::handle(header, decode(request)?)
            }
            ApiKey::AlterUserScramCredentials => {
                api::alter_user_scram_credentials::handle(header, decode(request)?)
            }
            ApiKey::DescribeQuorum => api::describe_quorum::handle(self, header, decode(request)?),
            ApiKey::UpdateFeatures => api::update_features::handle(self, header, decode(request)?).await,
            ApiKey::DescribeProducers => {
                api::describe_producers::handle(self, header, decode(request)?).await
            }
            ApiKey::UnregisterBroker => api::unregister_broker::handle(self, header, &decode(request)?),
            ApiKey::GetTelemetrySubscriptions => {
                api::get_telemetry_subscriptions::handle(self, session, header, decode(request)?).await
            }
            ApiKey::PushTelemetry => {
                api::push_telemetry::handle(self, session, header, decode(request)?).await
            }
            ApiKey::Produce | ApiKey::Fetch | ApiKey::ShareFetch => {
                Reply::Close("not a request of the control plane".into())
            }
        };
        Ok(Called::Now(now))
    }
}

impl Home {
    /// The service over these handlers.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self(Rc::new(broker))
    }
}

impl Service for Home {
    type Session = Session;

    fn connect(&self, peer: Peer) -> Rc<Session> {
        Rc::new(Session::new(peer))
    }

    fn supports(&self, api_key: i16, api_version: i16) -> bool {
        api_key == ApiKey::ApiVersions.number() || table::supported(api_key, api_version).is_some()
    }

    fn is_waited_for(&self) -> bool {
        self.0.answers.is_waited_for() || self.0.cluster.lacks_memory()
    }

    async fn call(&self, session: &Rc<Session>, request: Request) -> Called {
        let Some(api) = request.header.api() else {
            let reply = if request.header.is_api_versions() {
                let none = control::Features::default();
                let error = ErrorCode::UnsupportedVersion;
                Reply::bytes(control::encode_api_versions(&request.header, error, &none))
            } else {
                Reply::Close("a request that is not served".into())
            };
            return Called::Now(reply);
        };
        let called = self.0.dispatch(api, session, request).await;
        called.unwrap_or_else(|error| {
            Called::Now(Reply::Close(format!("{} cannot be read: {error}", api.api().name).into()))
        })
    }
}

fn decode<M: KafkaRequest>(request: &Request) -> Result<M, DecodeError> {
    control::decode(request.header.api_version, request.header.body(&request.frame))
}

/// First version in which clients name their software (KIP-511).
const SOFTWARE_SINCE: i16 = 3;

fn api_versions(broker: &Broker, session: &Session, request: &Request) -> Result<Reply, DecodeError> {
    let header: &RequestHeader = &request.header;
    let mut error = ErrorCode::None;
    if header.api_version >= SOFTWARE_SINCE {
        let asked: ApiVersionsRequest = decode(request)?;
        let (name, version) =
            (asked.client_software_name.to_string(), asked.client_software_version.to_string());
        if is_software_word(&name) && is_software_word(&version) {
            tracing::debug!(remote = %session.peer.remote, name, version, "client software");
            *session.software.borrow_mut() = Some((name, version));
        } else {
            error = ErrorCode::InvalidRequest;
        }
    }
    let features = features(&broker.cluster.image());
    Ok(Reply::bytes(control::encode_api_versions(header, error, &features)))
}

fn features(image: &Image) -> control::Features {
    control::Features {
        supported: FEATURES.iter().map(|row| (row.name, row.min, row.max)).collect(),
        finalized: FEATURES.iter().map(|row| (row.name, image.feature_level(row.name))).collect(),
        epoch: i64::try_from(image.applied()).unwrap_or(i64::MAX),
    }
}

/// KIP-511's form: letters, digits, '-' and '.', with a letter or digit at both ends.
fn is_software_word(word: &str) -> bool {
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    end(word.bytes().next())
        && end(word.bytes().last())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}
