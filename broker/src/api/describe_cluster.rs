//! DescribeCluster: the one broker there is.

use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::DescribeClusterRequest;
use protocol::control::messages::describe_cluster_response::{
    DescribeClusterBroker, DescribeClusterResponse,
};
use protocol::{RequestHeader, Text, message};

use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, reply};
use crate::service::Broker;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers a DescribeCluster request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: &DescribeClusterRequest) -> Reply {
    let settings = &broker.settings;
    let error = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MismatchedEndpointType, "this endpoint is a broker's")),
        _ => Some((ErrorCode::UnsupportedEndpointType, "endpoint types are 1 (brokers) and 2 (controllers)")),
    };
    if let Some((code, text)) = error {
        let refused = message!(DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(Text::from(text)),
        });
        return reply(header, &refused);
    }
    let this = message!(DescribeClusterBroker {
        broker_id: settings.node.0,
        host: Text::from(settings.host.as_str()),
        port: i32::from(settings.port),
        rack: settings.rack.as_deref().map(Text::from),
    });
    let operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let response = message!(DescribeClusterResponse {
        cluster_id: Text::from(settings.cluster_id.as_str()),
        controller_id: settings.node.0,
        brokers: vec![this],
        cluster_authorized_operations: operations,
    });
    reply(header, &response)
}
