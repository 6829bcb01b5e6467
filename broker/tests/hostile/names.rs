//! Names that are none: of topics, groups and clients.

use bytes::{BufMut, BytesMut};
use model::ErrorCode;
use protocol::control::messages::metadata_request::MetadataRequestTopic;
use protocol::control::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, offset_commit_request::OffsetCommitRequestPartition,
    offset_commit_request::OffsetCommitRequestTopic,
};
use protocol::message;

use super::beside::Scene;
use super::harness::{Client, TOPIC, front};

const NO_TEXT: &[u8] = &[0xff, 0xfe, b'n', 0xc0, 0x80];

#[test]
fn topics_with_names_that_are_none_are_refused() {
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let (long, longest) = ("x".repeat(250), "x".repeat(i16::MAX as usize));
    let names = ["", ".", "..", "a/b", "a b", "nul\0", "../../etc", "\u{1f980}", "a\nb", &long, &longest];
    for name in names {
        assert_eq!(client.create(name, 1), ErrorCode::InvalidTopicException.code(), "{name:?}");
        let topic = message!(MetadataRequestTopic { name: Some(name.into()) });
        let request =
            message!(MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true });
        let response: MetadataResponse = client.ask(8, &request);
        let found = &response.topics[0];
        assert_eq!(found.error_code, ErrorCode::InvalidTopicException.code(), "{name:?}");
        assert_eq!(found.name.as_ref().map(|name| name.to_string()).as_deref(), Some(name));
    }
    let longest_allowed = "x".repeat(249);
    assert_eq!(client.create(&longest_allowed, 1), 0);
    assert_eq!(client.offset_at(&longest_allowed, -1), (0, 0));
    scene.end();
}

#[test]
fn names_that_are_no_text_close_the_connection_and_say_why() {
    let scene = Scene::new(&[]);
    for (key, version, name) in
        [(0, 8, "Produce"), (1, 11, "Fetch"), (3, 8, "Metadata"), (15, 4, "DescribeGroups")]
    {
        let mut frame = front(key, version);
        match key {
            0 => frame.put_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]),
            1 => frame.put_slice(&[&[0xff; 4][..], &[0; 13], &[0; 8]].concat()),
            _ => {}
        }
        put_array_of(&mut frame, NO_TEXT);
        frame.put_slice(&[0; 32]);
        let mut client = scene.client();
        client.send(&frame).unwrap();
        client.receive().expect_err(name);
        scene.broker.wait_for_log(&format!("{name} cannot be read"));
    }
    scene.end();
}

fn put_array_of(frame: &mut BytesMut, text: &[u8]) {
    frame.put_i32(1);
    frame.put_i16(i16::try_from(text.len()).unwrap());
    frame.put_slice(text);
}

/// A request of ApiVersions 0 by a client of this name.
fn by(client_id: &[u8]) -> BytesMut {
    let mut frame = front(18, 0);
    frame.truncate(8);
    frame.put_i16(i16::try_from(client_id.len()).unwrap());
    frame.put_slice(client_id);
    frame
}

#[test]
fn clients_may_have_any_name_that_is_text() {
    let scene = Scene::new(&[]);
    let longest = "c".repeat(i16::MAX as usize);
    for name in ["", "a b", "nul\0", "line\nforged=1", "\u{1f980}", "%s%n", &longest] {
        let mut client = scene.client();
        client.send(&by(name.as_bytes())).unwrap();
        let answer = client.receive().unwrap();
        assert_eq!(answer[4..6], [0, 0], "{name:?}");
        // It is quoted where it is logged.
        let mut unknown = by(name.as_bytes());
        unknown[1] = 99;
        client.send(&unknown).unwrap();
        client.receive().expect_err("nothing to answer");
    }
    let mut client = scene.client();
    client.send(&by(NO_TEXT)).unwrap();
    client.receive().expect_err("nothing to answer");
    let log = scene.end();
    assert!(!log.lines().any(|line| line.starts_with("forged")), "{log}");
    assert_eq!(log.matches("API key 99 (unknown) in version 0: not supported").count(), 7, "{log}");
}

#[test]
fn groups_may_have_any_name_that_is_text() {
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let longest = "g".repeat(i16::MAX as usize);
    for (name, code) in [
        // As in Kafka, for the sake of clients that knew no groups.
        ("", ErrorCode::None),
        ("a/b", ErrorCode::None),
        ("..", ErrorCode::None),
        ("nul\0", ErrorCode::None),
        ("\u{1f980}", ErrorCode::None),
        (&*longest, ErrorCode::InvalidGroupId),
    ] {
        assert_eq!(commit(&mut client, name), code.code(), "{} bytes: {name:.20?}", name.len());
        let request = message!(DescribeGroupsRequest { groups: vec![name.into()] });
        let response: DescribeGroupsResponse = client.ask(4, &request);
        assert_eq!(response.groups[0].group_id.to_string(), name);
    }
    scene.end();
}

/// An offset of somebody who is in no group; the error.
fn commit(client: &mut Client, group: &str) -> i16 {
    let partition = message!(OffsetCommitRequestPartition { partition_index: 0, committed_offset: 1 });
    let topic = message!(OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] });
    let request = message!(OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    });
    loop {
        let response: OffsetCommitResponse = client.ask(7, &request);
        let error = response.topics[0].partitions[0].error_code;
        if error == ErrorCode::NotCoordinator.code() {
            use protocol::control::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
            let find = message!(FindCoordinatorRequest { coordinator_keys: vec![group.into()] });
            let _: FindCoordinatorResponse = client.ask(4, &find);
        } else if error != ErrorCode::CoordinatorLoadInProgress.code() {
            return error;
        }
    }
}
