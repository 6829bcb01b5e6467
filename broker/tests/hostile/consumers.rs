//! Heartbeats of groups by the consumer protocol at their extremes, regular expressions that would take for ever elsewhere,
//! and crowds of groups and members.

use std::thread;
use std::time::Duration;

use model::ErrorCode;
use protocol::control::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::control::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest,
    ListGroupsResponse,
};
use protocol::{Text, Uuid, message};

use super::beside::Scene;
use super::harness::{Client, TOPIC};

/// Longer than any name may be, and as long as a string of the protocol's older versions.
const LONG: usize = i16::MAX as usize;
/// Members of one group.
const MEMBERS_MAX: usize = 2000;
/// Nobody is put out for being silent while a crowd takes its time.
const PATIENT: &[&str] = &[
    "--set",
    "group.consumer.max.session.timeout.ms=600000",
    "--set",
    "group.consumer.session.timeout.ms=600000",
];

/// A client of a broker whose groups topic is there.
fn client(scene: &Scene) -> Client {
    let mut client = scene.client();
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] });
    let response: FindCoordinatorResponse = client.ask(4, &request);
    assert_eq!(response.coordinators[0].error_code, 0);
    client
}

/// A join that is let in.
fn join(group: &str, member: &str) -> ConsumerGroupHeartbeatRequest {
    message!(ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        topic_partitions: Some(Vec::new()),
    })
}

/// A join by a regular expression and nothing else.
fn join_by(group: &str, member: &str, regex: &str) -> ConsumerGroupHeartbeatRequest {
    let mut request = join(group, member);
    request.subscribed_topic_names = None;
    request.subscribed_topic_regex = Some(regex.into());
    request
}

/// A heartbeat that says nothing but who it is.
fn beat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    message!(ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
    })
}

fn ask(client: &mut Client, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    loop {
        let told: ConsumerGroupHeartbeatResponse = client.ask(1, request);
        if told.error_code != ErrorCode::CoordinatorLoadInProgress.code() {
            return told;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_field_of_a_heartbeat_at_its_extremes() {
    use ErrorCode as E;
    let scene = Scene::new(&[]);
    let mut client = client(&scene);
    let long = || Text::from("x".repeat(LONG));
    let topics = |count: usize| -> Option<Vec<Text>> {
        Some((0..count).map(|number| Text::from(format!("topic {number}"))).collect())
    };
    type Change = Box<dyn Fn(&mut ConsumerGroupHeartbeatRequest)>;
    let mut cases: Vec<(String, Change, ErrorCode)> = Vec::new();
    let mut case = |name: &str, change: Change, code| cases.push((name.to_owned(), change, code));
    case("nothing is wrong", Box::new(|_| ()), E::None);
    for blank in ["", " "] {
        case("no group", Box::new(move |ask| ask.group_id = blank.into()), E::InvalidRequest);
        case("no member", Box::new(move |ask| ask.member_id = blank.into()), E::InvalidRequest);
        case("no instance", Box::new(move |ask| ask.instance_id = Some(blank.into())), E::InvalidRequest);
        case("no rack", Box::new(move |ask| ask.rack_id = Some(blank.into())), E::InvalidRequest);
    }
    case("a long group", Box::new(move |ask| ask.group_id = long()), E::InvalidRequest);
    case("a long member", Box::new(move |ask| ask.member_id = long()), E::InvalidRequest);
    case("a long instance", Box::new(move |ask| ask.instance_id = Some(long())), E::InvalidRequest);
    case("a long rack", Box::new(move |ask| ask.rack_id = Some(long())), E::InvalidRequest);
    for epoch in [-3, i32::MIN] {
        case("no epoch", Box::new(move |ask| ask.member_epoch = epoch), E::InvalidRequest);
    }
    for epoch in [-1, 1, i32::MAX] {
        case("no such group", Box::new(move |ask| ask.member_epoch = epoch), E::GroupIdNotFound);
    }
    case("nobody leaves for a while", Box::new(|ask| ask.member_epoch = -2), E::InvalidRequest);
    case("no timeout", Box::new(|ask| ask.rebalance_timeout_ms = -1), E::InvalidRequest);
    for timeout_ms in [0, -2, i32::MIN, i32::MAX] {
        case("any timeout", Box::new(move |ask| ask.rebalance_timeout_ms = timeout_ms), E::None);
    }
    case("no topics", Box::new(|ask| ask.subscribed_topic_names = None), E::InvalidRequest);
    case("an empty list", Box::new(|ask| ask.subscribed_topic_names = Some(Vec::new())), E::None);
    case("many topics", Box::new(move |ask| ask.subscribed_topic_names = topics(10_000)), E::None);
    case("too many", Box::new(move |ask| ask.subscribed_topic_names = topics(10_001)), E::InvalidRequest);
    let named = |name: String| -> Change {
        Box::new(move |ask| ask.subscribed_topic_names = Some(vec![Text::from(name.clone()); 3]))
    };
    for name in ["", ".", "a/b", "nul\0", "\u{1f980}"] {
        case("a topic that cannot be", named(name.to_owned()), E::None);
    }
    case("a long topic", named("x".repeat(LONG)), E::InvalidRequest);
    for assignor in ["", "nobody", "UNIFORM", "org.example.Assignor"] {
        let change: Change = Box::new(move |ask| ask.server_assignor = Some(assignor.into()));
        case("no such assignor", change, E::UnsupportedAssignor);
    }
    let owned = message!(TopicPartitions { partitions: vec![0] });
    let change: Change = Box::new(move |ask| ask.topic_partitions = Some(vec![owned.clone()]));
    case("it has some already", change, E::InvalidRequest);
    case("nothing about what it has", Box::new(|ask| ask.topic_partitions = None), E::InvalidRequest);
    for (number, (name, change, code)) in cases.into_iter().enumerate() {
        let mut request = join(&format!("g{number}"), "m");
        change(&mut request);
        let told = ask(&mut client, &request);
        assert_eq!(told.error_code, code.code(), "{name}: {told:?}");
        assert_eq!(told.error_message.is_some(), told.error_code != 0, "{name}");
    }
    epochs_and_partitions(&mut client);
    scene.end();
}

/// What a member that is in says of its epoch and of what it has.
fn epochs_and_partitions(client: &mut Client) {
    let joined = ask(client, &join("within", "m"));
    assert_eq!((joined.error_code, joined.member_epoch), (0, 2));
    for epoch in [1, 3, i32::MAX] {
        let told = ask(client, &beat("within", "m", epoch));
        assert_eq!(told.error_code, ErrorCode::FencedMemberEpoch.code(), "{epoch}");
    }
    let told = ask(client, &beat("within", "nobody", 2));
    assert_eq!(told.error_code, ErrorCode::UnknownMemberId.code());
    let topic = joined.assignment.unwrap().topic_partitions[0].topic_id;
    let partitions = [i32::MIN, -1, 0, 0, 1, i32::MAX];
    for topic_id in [topic, Uuid::ZERO, Uuid::from_bytes([0xff; 16])] {
        let all = message!(TopicPartitions { topic_id: topic_id, partitions: partitions.to_vec() });
        let mut request = beat("within", "m", 2);
        request.topic_partitions = Some(vec![all; 100]);
        let told = ask(client, &request);
        assert_eq!((told.error_code, told.member_epoch), (0, 2), "{told:?}");
    }
    // As many as one list of a request may hold, and nobody has them.
    let many = message!(TopicPartitions { topic_id: topic, partitions: (0..30_000).collect() });
    let mut request = beat("within", "m", 2);
    request.topic_partitions = Some(vec![many]);
    assert_eq!(ask(client, &request).error_code, 0);
}

#[test]
fn groups_of_any_name_are_described_or_said_not_to_be_there() {
    let scene = Scene::new(&[]);
    let mut client = client(&scene);
    let describe = |client: &mut Client, names: Vec<Text>| {
        let request = message!(ConsumerGroupDescribeRequest { group_ids: names });
        let response: ConsumerGroupDescribeResponse = client.ask(1, &request);
        response.groups
    };
    assert_eq!(ask(&mut client, &join("g", "m")).error_code, 0);
    let long = "g".repeat(LONG);
    for name in ["", " ", "a/b", "nul\0", "\u{1f980}", &long] {
        loop {
            let groups = describe(&mut client, vec![name.into()]);
            assert_eq!(&*groups[0].group_id, name);
            if groups[0].error_code != ErrorCode::CoordinatorLoadInProgress.code() {
                let known = [ErrorCode::GroupIdNotFound, ErrorCode::InvalidGroupId];
                assert!(known.iter().any(|known| known.code() == groups[0].error_code), "{name:.20?}");
                break;
            }
        }
    }
    let groups = describe(&mut client, vec!["g".into(); 5000]);
    assert!(groups.len() == 5000 && groups.iter().all(|group| group.error_code == 0));
    assert_eq!(describe(&mut client, Vec::new()).len(), 0);
    scene.end();
}

/// Patterns that are no pattern or take too much; and some that take exponential time where a matcher goes back.
#[test]
fn regular_expressions_take_bounded_time_and_memory() {
    let scene = Scene::new(&[]);
    let mut client = client(&scene);
    for number in 0..40 {
        let name = format!("{}{number:03}", "a".repeat(246));
        assert_eq!(client.create(&name, 1), 0);
    }
    let refused = [
        "(".to_owned(),
        "a{".repeat(10) + "}",
        "(?:a{1000}){1000}".to_owned(),
        "(?:(?:(?:a{100}){100}){100}){100}".to_owned(),
        "a{2147483647}".to_owned(),
        "(".repeat(2000) + &")".repeat(2000),
        "(?P<n>a)\\1".to_owned(),
        "a".repeat(4097),
        "[a-".to_owned(),
        "\\p{Greek}".to_owned(),
    ];
    for (number, pattern) in refused.iter().enumerate() {
        let told = ask(&mut client, &join_by(&format!("refused {number}"), "m", pattern));
        let code = ErrorCode::InvalidRegularExpression.code();
        assert_eq!(told.error_code, code, "{pattern:.40}: {told:?}");
    }
    let slow = [
        "(a*)*b".to_owned(),
        "(a|aa)+$b?c".to_owned(),
        "(.*)*(.*)*(.*)*x".to_owned(),
        "a?".repeat(100) + &"a".repeat(100) + "b",
        "(?:a|b|ab)*".repeat(60) + "c",
        "(?:.*a){40}z".to_owned(),
        "a".repeat(4096),
        String::new(),
    ];
    for (number, pattern) in slow.iter().enumerate() {
        let group = format!("slow {number}");
        for member in ["one", "two"] {
            let told = ask(&mut client, &join_by(&group, member, pattern));
            assert_eq!(told.error_code, 0, "{pattern:.40}: {told:?}");
        }
        scene.bystander.goes_on();
    }
    // Groups are looked up one after the other: who is last hears when all were.
    let mut told = ask(&mut client, &join_by("last", "m", &format!("{TOPIC}|a+0[0-3]9")));
    let mut partitions = 0;
    while partitions < 5 {
        told = ask(&mut client, &beat("last", "m", told.member_epoch));
        assert_eq!(told.error_code, 0, "{told:?}");
        partitions = told.assignment.map_or(partitions, |assigned| assigned.topic_partitions.len());
        thread::sleep(Duration::from_millis(20));
    }
    // Different ones in one group are counted.
    let mut codes = Vec::new();
    for number in 0..70 {
        codes.push(
            ask(&mut client, &join_by("many", &format!("m{number}"), &format!("a{number}"))).error_code,
        );
    }
    assert!(codes[..64].iter().all(|code| *code == 0), "{codes:?}");
    assert!(codes[64..].iter().all(|code| *code == ErrorCode::InvalidRegularExpression.code()), "{codes:?}");
    scene.end();
}

fn ask_all(client: &mut Client, requests: &[ConsumerGroupHeartbeatRequest]) -> Vec<i16> {
    let mut codes = Vec::with_capacity(requests.len());
    for some in requests.chunks(100) {
        let told: Vec<ConsumerGroupHeartbeatResponse> = client.ask_all(1, some);
        codes.extend(told.iter().map(|told| told.error_code));
    }
    codes
}

fn count(codes: &[i16], code: ErrorCode) -> usize {
    codes.iter().filter(|one| **one == code.code()).count()
}

#[test]
fn a_crowd_in_one_group_is_let_in_up_to_its_bound() {
    let scene = Scene::new(PATIENT);
    let mut client = client(&scene);
    assert_eq!(ask(&mut client, &join("crowd", "first")).error_code, 0);
    let joins: Vec<_> =
        (0..MEMBERS_MAX + 100).map(|number| join("crowd", &format!("member {number}"))).collect();
    let codes = ask_all(&mut client, &joins);
    assert_eq!(count(&codes, ErrorCode::None), MEMBERS_MAX - 1, "{:?}", &codes[MEMBERS_MAX - 5..]);
    assert_eq!(count(&codes, ErrorCode::GroupMaxSizeReached), 101);
    scene.bystander.goes_on();
    scene.check_memory();
    let request = message!(ConsumerGroupDescribeRequest { group_ids: vec!["crowd".into()] });
    let described: ConsumerGroupDescribeResponse = client.ask(1, &request);
    assert_eq!((described.groups[0].error_code, described.groups[0].members.len()), (0, MEMBERS_MAX));
    let leaves: Vec<_> =
        (0..MEMBERS_MAX - 1).map(|number| beat("crowd", &format!("member {number}"), -1)).collect();
    assert_eq!(count(&ask_all(&mut client, &leaves), ErrorCode::None), MEMBERS_MAX - 1);
    let described: ConsumerGroupDescribeResponse = client.ask(1, &request);
    assert_eq!(described.groups[0].members.len(), 1);
    scene.end();
}

#[test]
fn thousands_of_groups_stay_within_the_memory_for_groups() {
    let scene = Scene::new(PATIENT);
    let mut client = client(&scene);
    // A first round of requests finds coordinators that are still loading.
    for number in 0..100 {
        ask(&mut client, &join(&format!("group {number}"), "m"));
    }
    let joins: Vec<_> = (0..5000).map(|number| join(&format!("group {number}"), "m")).collect();
    let codes = ask_all(&mut client, &joins);
    let (inside, outside) = (count(&codes, ErrorCode::None), count(&codes, ErrorCode::GroupMaxSizeReached));
    assert_eq!(inside + outside, codes.len(), "{codes:?}");
    assert!(inside >= 1000, "{inside}");
    scene.bystander.goes_on();
    let listed: ListGroupsResponse = client.ask(5, &ListGroupsRequest::default());
    let consumers = listed.groups.iter().filter(|group| &*group.group_type == "consumer").count();
    assert_eq!((listed.error_code, consumers), (0, inside));
    scene.end();
}

/// Members that name as many topics as they may, all of them different, until there is no room.
#[test]
fn members_with_all_they_may_say_stay_within_the_memory_for_groups() {
    let scene = Scene::new(PATIENT);
    let mut client = client(&scene);
    let mut codes = Vec::new();
    for number in 0..100 {
        let mut request = join("fat", &format!("{number:030000}"));
        let topics = (0..9000).map(|topic| Text::from(format!("{number:050}-{topic:050}")));
        request.subscribed_topic_names = Some(topics.collect());
        codes.push(ask(&mut client, &request).error_code);
        if number % 10 == 0 {
            scene.bystander.goes_on();
        }
    }
    let (inside, outside) = (count(&codes, ErrorCode::None), count(&codes, ErrorCode::GroupMaxSizeReached));
    assert!(inside >= 1 && outside >= 50 && inside + outside == 100, "{codes:?}");
    // Who is in goes on.
    assert_eq!(ask(&mut client, &beat("fat", &format!("{:030000}", 0), -1)).error_code, 0);
    scene.end();
}
