//! Groups by the consumer protocol through the binary: members, epochs and offsets outlive the process.

use std::thread;
use std::time::Duration;

use model::ErrorCode;
use protocol::control::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::update_features_request::FeatureUpdateKey;
use protocol::control::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse, consumer_group_describe_response::DescribedGroup,
    incremental_alter_configs_request,
};
use protocol::{Text, Uuid, message};

use super::harness::{Broker, Client, Scratch, TOPIC};

const GROUP: &str = "group";
const PARTITIONS: i32 = 4;
/// Targets are computed at once.
const AT_ONCE: &[&str] = &["--set", "group.consumer.assignment.interval.ms=0"];
/// Members that are silent for two seconds are gone.
const SHORT_SESSIONS: &[&str] = &[
    "--set",
    "group.consumer.min.heartbeat.interval.ms=50",
    "--set",
    "group.consumer.heartbeat.interval.ms=50",
    "--set",
    "group.consumer.min.session.timeout.ms=2000",
    "--set",
    "group.consumer.session.timeout.ms=2000",
];

/// A broker with the topic.
fn begin(scratch: &Scratch, settings: &[&str]) -> (Broker, Client) {
    let broker = Broker::start(&scratch.data_dir(), settings);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(client.create(TOPIC, PARTITIONS), 0);
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()] });
    let response: FindCoordinatorResponse = client.ask(4, &request);
    assert_eq!(response.coordinators[0].error_code, 0);
    (broker, client)
}

/// The same broker after a kill.
fn again(scratch: &Scratch, settings: &[&str], broker: Broker) -> (Broker, Client) {
    broker.signal(libc::SIGKILL);
    broker.end();
    let broker = Broker::start(&scratch.data_dir(), settings);
    let client = Client::connect(&broker.ready);
    (broker, client)
}

fn is_loading(error_code: i16) -> bool {
    let loading = error_code == ErrorCode::CoordinatorLoadInProgress.code();
    if loading {
        thread::sleep(Duration::from_millis(10));
    }
    loading
}

/// A member as its client knows it.
#[derive(Clone)]
struct Member {
    id: &'static str,
    instance: Option<&'static str>,
    epoch: i32,
    topic: Uuid,
    owned: Vec<i32>,
}

impl Member {
    /// Asks to join; it has what it was told.
    fn join(client: &mut Client, id: &'static str, instance: Option<&'static str>) -> Self {
        let mut member = Self { id, instance, epoch: 0, topic: Uuid::ZERO, owned: Vec::new() };
        member.ask(
            client,
            &message!(ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: 60_000,
                subscribed_topic_names: Some(vec![TOPIC.into()]),
                topic_partitions: Some(Vec::new()),
            }),
        );
        member
    }

    /// Says what it has, and takes what it is told.
    fn beat(&mut self, client: &mut Client) {
        let owned = message!(Owned { topic_id: self.topic, partitions: self.owned.clone() });
        self.ask(client, &message!(ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![owned]) }));
    }

    /// Leaves for good, or for a while.
    fn leave(mut self, client: &mut Client, epoch: i32) {
        self.epoch = epoch;
        assert_eq!(self.error(client, &ConsumerGroupHeartbeatRequest::default()), 0);
    }

    fn ask(&mut self, client: &mut Client, says: &ConsumerGroupHeartbeatRequest) {
        let told = self.heartbeat(client, says);
        assert_eq!(told.error_code, 0, "{told:?}");
        assert_eq!(told.member_id.as_deref(), Some(self.id));
        self.epoch = told.member_epoch;
        if let Some(assignment) = told.assignment {
            self.owned.clear();
            for topic in assignment.topic_partitions {
                (self.topic, self.owned) = (topic.topic_id, topic.partitions);
            }
        }
    }

    fn error(&self, client: &mut Client, says: &ConsumerGroupHeartbeatRequest) -> i16 {
        self.heartbeat(client, says).error_code
    }

    fn heartbeat(
        &self,
        client: &mut Client,
        says: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let mut request = says.clone();
        request.group_id = GROUP.into();
        request.member_id = self.id.into();
        request.member_epoch = self.epoch;
        request.instance_id = self.instance.map(Text::from);
        loop {
            let told: ConsumerGroupHeartbeatResponse = client.ask(1, &request);
            if !is_loading(told.error_code) {
                return told;
            }
        }
    }

    /// Commits an offset of partition 0 in an epoch; the error.
    fn commit(&self, client: &mut Client, epoch: i32, offset: i64) -> i16 {
        let partition = message!(OffsetCommitRequestPartition { committed_offset: offset });
        let topic = message!(OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] });
        let request = message!(OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: epoch,
            member_id: self.id.into(),
            topics: vec![topic],
        });
        let response: OffsetCommitResponse = client.ask(9, &request);
        response.topics[0].partitions[0].error_code
    }

    /// The offset of partition 0 as this member may fetch it in an epoch, or the error.
    fn committed(&self, client: &mut Client, epoch: i32) -> Result<i64, i16> {
        let topic = message!(OffsetFetchRequestTopics { name: TOPIC.into(), partition_indexes: vec![0] });
        let group = message!(OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_id: Some(self.id.into()),
            member_epoch: epoch,
            topics: Some(vec![topic]),
        });
        let request = message!(OffsetFetchRequest { groups: vec![group] });
        loop {
            let response: OffsetFetchResponse = client.ask(9, &request);
            let group = &response.groups[0];
            match group.error_code {
                0 => return Ok(group.topics[0].partitions[0].committed_offset),
                error if is_loading(error) => {}
                error => return Err(error),
            }
        }
    }
}

fn described(client: &mut Client) -> DescribedGroup {
    let request = message!(ConsumerGroupDescribeRequest { group_ids: vec![GROUP.into()] });
    loop {
        let mut response: ConsumerGroupDescribeResponse = client.ask(1, &request);
        let group = response.groups.remove(0);
        if !is_loading(group.error_code) {
            return group;
        }
    }
}

/// A member's id, epoch and partitions.
type Shown = (String, i32, Vec<i32>);

/// State, epoch and members of the group.
fn shown(client: &mut Client) -> (String, i32, Vec<Shown>) {
    let group = described(client);
    assert_eq!(group.error_code, 0, "{group:?}");
    let members = group.members.iter().map(|member| {
        let partitions = member.assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone());
        (member.member_id.to_string(), member.member_epoch, partitions.collect())
    });
    (group.group_state.to_string(), group.group_epoch, members.collect())
}

#[test]
fn members_epochs_and_offsets_outlive_a_kill() {
    let scratch = Scratch::new();
    let (broker, mut client) = begin(&scratch, AT_ONCE);
    let mut one = Member::join(&mut client, "one", None);
    assert_eq!((one.epoch, &one.owned), (2, &vec![0, 1, 2, 3]));
    assert_eq!(one.commit(&mut client, 2, 7), 0);
    assert_eq!(one.commit(&mut client, 3, 8), ErrorCode::StaleMemberEpoch.code());
    assert_eq!(one.committed(&mut client, 2), Ok(7));
    assert_eq!(one.committed(&mut client, 3), Err(ErrorCode::StaleMemberEpoch.code()));
    let before = shown(&mut client);
    assert_eq!(before, ("Stable".into(), 2, vec![("one".into(), 2, vec![0, 1, 2, 3])]));

    let (broker, mut client) = again(&scratch, AT_ONCE, broker);
    assert_eq!(shown(&mut client), before);
    assert_eq!(one.committed(&mut client, 2), Ok(7));
    one.beat(&mut client);
    assert_eq!((one.epoch, one.owned.len()), (2, 4), "it goes on as if nothing had happened");

    // Half of it is to go to another: who has it gives it back first, across a kill.
    let mut two = Member::join(&mut client, "two", None);
    assert_eq!((two.epoch, two.owned.len()), (3, 0), "nobody gave anything back yet");
    let had = one.clone();
    one.beat(&mut client);
    assert_eq!((one.epoch, one.owned.len()), (2, 2), "to be given back");
    let (broker, mut client) = again(&scratch, AT_ONCE, broker);
    two.beat(&mut client);
    assert!(two.owned.is_empty(), "the other may still use it");
    one.beat(&mut client);
    two.beat(&mut client);
    assert_eq!((one.epoch, two.epoch), (3, 3));
    let mut all = [one.owned.clone(), two.owned.clone()].concat();
    all.sort_unstable();
    assert_eq!((all, one.owned.len()), (had.owned, 2));
    assert_eq!(shown(&mut client).0, "Stable");

    one.leave(&mut client, -1);
    two.beat(&mut client);
    assert_eq!((two.epoch, two.owned.len()), (4, 4));
    assert_eq!(two.committed(&mut client, 4), Ok(7));
    two.leave(&mut client, -1);
    let (_broker, mut client) = again(&scratch, AT_ONCE, broker);
    assert_eq!(shown(&mut client), ("Empty".into(), 5, vec![]), "the group and its epoch are still there");
    let back = Member::join(&mut client, "three", None);
    assert_eq!((back.epoch, back.owned.len()), (6, 4));
    assert_eq!(back.committed(&mut client, 6), Ok(7));
}

#[test]
fn a_static_member_comes_back_to_its_partitions_after_a_kill() {
    let scratch = Scratch::new();
    let (broker, mut client) = begin(&scratch, AT_ONCE);
    let mut stays = Member::join(&mut client, "stays", None);
    let mut goes = Member::join(&mut client, "goes", Some("instance"));
    for _ in 0..2 {
        stays.beat(&mut client);
        goes.beat(&mut client);
    }
    let (epoch, had) = (goes.epoch, goes.owned.clone());
    assert_eq!((epoch, had.len(), stays.owned.len()), (3, 2, 2));
    goes.leave(&mut client, -2);
    let (_broker, mut client) = again(&scratch, AT_ONCE, broker);
    stays.beat(&mut client);
    assert_eq!((stays.epoch, stays.owned.len()), (epoch, 2), "the place is kept");
    let stranger = Member { id: "stranger", instance: Some("instance"), epoch: 3, ..stays.clone() };
    assert_eq!(
        stranger.error(&mut client, &ConsumerGroupHeartbeatRequest::default()),
        ErrorCode::FencedInstanceId.code()
    );
    let back = Member::join(&mut client, "back", Some("instance"));
    assert_eq!((back.epoch, &back.owned), (epoch, &had), "another id, the same partitions, no rebalance");
    let rival = Member { id: "rival", epoch: 0, ..back.clone() };
    let asks = message!(ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        topic_partitions: Some(Vec::new()),
    });
    assert_eq!(rival.error(&mut client, &asks), ErrorCode::UnreleasedInstanceId.code());
}

#[test]
fn who_does_not_come_back_after_a_kill_is_put_out() {
    let scratch = Scratch::new();
    let settings = [AT_ONCE, SHORT_SESSIONS].concat();
    let (broker, mut client) = begin(&scratch, &settings);
    let mut stays = Member::join(&mut client, "stays", None);
    let _silent = Member::join(&mut client, "silent", None);
    let (_broker, mut client) = again(&scratch, &settings, broker);
    while stays.owned.len() < 4 || described(&mut client).members.len() > 1 {
        stays.beat(&mut client);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(shown(&mut client), ("Stable".into(), 4, vec![("stays".into(), 4, vec![0, 1, 2, 3])]));
}

#[test]
fn the_level_of_the_protocol_outlives_a_kill_and_so_does_the_group() {
    let scratch = Scratch::new();
    let (broker, mut client) = begin(&scratch, AT_ONCE);
    let mut member = Member::join(&mut client, "member", None);
    let level = |client: &mut Client, level: i16, upgrade_type: i8| {
        let update = message!(FeatureUpdateKey {
            feature: "group.version".into(),
            max_version_level: level,
            upgrade_type: upgrade_type,
        });
        let request = message!(UpdateFeaturesRequest { feature_updates: vec![update] });
        let updated: UpdateFeaturesResponse = client.ask(2, &request);
        assert_eq!(updated.error_code, 0, "{updated:?}");
    };
    level(&mut client, 0, 2);
    let (_broker, mut client) = again(&scratch, AT_ONCE, broker);
    let unsupported = ErrorCode::UnsupportedVersion.code();
    assert_eq!(member.error(&mut client, &ConsumerGroupHeartbeatRequest::default()), unsupported);
    assert_eq!(described(&mut client).error_code, unsupported);
    level(&mut client, 1, 1);
    member.beat(&mut client);
    assert_eq!((member.epoch, member.owned.len()), (2, 4));
}

/// Of groups among the resources with settings.
const GROUP_RESOURCE: i8 = 32;

#[test]
fn a_groups_own_interval_is_told_to_its_members_also_after_a_kill() {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let scratch = Scratch::new();
    let (broker, mut client) = begin(&scratch, AT_ONCE);
    let member = Member::join(&mut client, "member", None);
    let interval = |client: &mut Client| {
        member.heartbeat(client, &ConsumerGroupHeartbeatRequest::default()).heartbeat_interval_ms
    };
    assert_eq!(interval(&mut client), 5000);
    let setting = message!(AlterableConfig {
        name: "consumer.heartbeat.interval.ms".into(),
        value: Some("7000".into())
    });
    let resource = message!(AlterConfigsResource {
        resource_type: GROUP_RESOURCE,
        resource_name: GROUP.into(),
        configs: vec![setting],
    });
    let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
    let response: IncrementalAlterConfigsResponse = client.ask(1, &request);
    assert_eq!(response.responses[0].error_code, 0, "{response:?}");
    assert_eq!(interval(&mut client), 7000);
    let (_broker, mut client) = again(&scratch, AT_ONCE, broker);
    assert_eq!(interval(&mut client), 7000);
}
