//! Group requests at their extremes.

use bytes::Bytes;
use model::ErrorCode;
use protocol::control::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::control::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse,
};
use protocol::message;

use super::beside::Scene;
use super::harness::Client;

/// A join that would be let in.
fn join(group: &str, protocols: usize, metadata_bytes: usize) -> JoinGroupRequest {
    let protocol = |number| {
        message!(JoinGroupRequestProtocol {
            name: format!("protocol {number}").as_str().into(),
            metadata: Bytes::from(vec![0; metadata_bytes]),
        })
    };
    message!(JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: (0..protocols).map(protocol).collect(),
    })
}

fn joined(client: &mut Client, request: &JoinGroupRequest) -> i16 {
    loop {
        let response: JoinGroupResponse = client.ask(7, request);
        if response.error_code != ErrorCode::CoordinatorLoadInProgress.code() {
            return response.error_code;
        }
    }
}

#[test]
fn joins_at_their_extremes_are_answered() {
    use ErrorCode as E;
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into(), "".into()] });
    let response: FindCoordinatorResponse = client.ask(4, &request);
    assert_eq!(response.coordinators[0].error_code, 0);
    let long = "g".repeat(i16::MAX as usize);
    let with = |change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = join("g", 1, 10);
        change(&mut request);
        request
    };
    let timeout = |ms| with(&|request| request.session_timeout_ms = ms);
    let cases = [
        ("no group", join("", 1, 10), E::InvalidGroupId),
        ("a long group", join(&long, 1, 10), E::InvalidGroupId),
        ("session 0", timeout(0), E::InvalidSessionTimeout),
        ("session -1", timeout(-1), E::InvalidSessionTimeout),
        ("session least", timeout(i32::MIN), E::InvalidSessionTimeout),
        ("session most", timeout(i32::MAX), E::InvalidSessionTimeout),
        ("2500 protocols", join("g", 2500, 1), E::InvalidRequest),
        ("no protocol", join("g", 0, 0), E::InconsistentGroupProtocol),
        ("1.2 MiB of metadata", join("g", 1, 1_200_000), E::InvalidRequest),
        ("somebody else", with(&|request| request.member_id = "nobody".into()), E::UnknownMemberId),
        ("newcomer", join("g", 1, 10), E::MemberIdRequired),
    ];
    for (name, request, code) in cases {
        assert_eq!(joined(&mut client, &request), code.code(), "{name}");
    }
    for generation_id in [i32::MIN, -1, i32::MAX] {
        let request = message!(HeartbeatRequest {
            group_id: "g".into(),
            generation_id: generation_id,
            member_id: "nobody".into(),
        });
        let response: HeartbeatResponse = client.ask(3, &request);
        assert_eq!(response.error_code, E::UnknownMemberId.code());
    }
    scene.end();
}

/// Newcomers that are given an id and never come back, with as much metadata as is let in.
#[test]
fn newcomers_that_never_come_back_are_bounded() {
    let scene = Scene::new(&[]);
    let mut client = scene.client();
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] });
    let _: FindCoordinatorResponse = client.ask(4, &request);
    for number in 0..600 {
        let code = joined(&mut client, &join(&format!("g{number}"), 1, 500_000));
        let known = [ErrorCode::MemberIdRequired, ErrorCode::GroupMaxSizeReached];
        assert!(known.iter().any(|known| known.code() == code), "{code}");
    }
    scene.end();
}
