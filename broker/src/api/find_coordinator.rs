//! FindCoordinator: this broker, for every group; the topic behind it is made on the way.

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::FindCoordinatorRequest;
use protocol::control::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use protocol::{RequestHeader, Text, message};

use super::coordinator::ensure_topic;
use super::reply;
use crate::service::Broker;

/// The kind of key that names a consumer group.
const GROUP: i8 = 0;
/// The kind of key that names a transactional id.
const TRANSACTION: i8 = 1;
/// First version that asks for several keys.
const SEVERAL_SINCE: i16 = 4;

/// Answers a FindCoordinator request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: FindCoordinatorRequest) -> Reply {
    let (error, why) = judge(broker, request.key_type).await;
    // Success has words too in Kafka: its error's name, and later none.
    let success = if header.api_version < SEVERAL_SINCE { "NONE" } else { "" };
    let why = why.or(error.is_ok().then_some(success)).map(Text::from);
    let (node, host, port) = match error {
        ErrorCode::None => {
            let settings = &broker.settings;
            (settings.node.0, Text::from(settings.host.as_str()), i32::from(settings.port))
        }
        _ => (-1, Text::from(""), -1),
    };
    if header.api_version < SEVERAL_SINCE {
        let response = message!(FindCoordinatorResponse {
            error_code: error.code(),
            error_message: why,
            node_id: node,
            host: host,
            port: port,
        });
        return reply(header, &response);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        message!(Coordinator {
            key: key,
            node_id: node,
            host: host.clone(),
            port: port,
            error_code: error.code(),
            error_message: why.clone(),
        })
    });
    reply(header, &message!(FindCoordinatorResponse { coordinators: coordinators.collect() }))
}

async fn judge(broker: &Broker, key_type: i8) -> (ErrorCode, Option<&'static str>) {
    match key_type {
        GROUP if ensure_topic(broker).await => (ErrorCode::None, None),
        GROUP => (ErrorCode::CoordinatorNotAvailable, None),
        TRANSACTION => {
            (ErrorCode::InvalidRequest, Some("transactions are not implemented by this broker yet"))
        }
        _ => (ErrorCode::InvalidRequest, Some("only groups have coordinators here")),
    }
}
