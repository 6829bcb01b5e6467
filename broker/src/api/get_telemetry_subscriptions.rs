//! GetTelemetrySubscriptions: which metrics a client is to push, and how often (KIP-714).

use coordination::telemetry::Client;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use protocol::{RequestHeader, Text, Uuid, message};

use super::reply;
use crate::cluster::apart;
use crate::ids;
use crate::service::{Broker, Session};

/// Kafka's numbers of the codecs that a push may have, the best first.
const CODECS: [i8; 4] = [4, 3, 1, 2];
/// What a client's software is called while it did not say.
const UNKNOWN: &str = "unknown";

/// Answers a GetTelemetrySubscriptions request.
pub async fn handle(
    broker: &Broker,
    session: &Session,
    header: &RequestHeader,
    request: GetTelemetrySubscriptionsRequest,
) -> Reply {
    let instance = match request.client_instance_id {
        Uuid::ZERO => broker.instance_id(),
        known => known.to_bytes(),
    };
    let client = client(session, header, instance);
    session.is_client(&broker.settings.telemetry, instance);
    let (telemetry, image) = (broker.settings.telemetry.clone(), broker.cluster.image());
    let (now, bytes_max) = (broker.cluster.tick(), telemetry.bytes_max());
    let told = apart(&*broker.cluster, move || telemetry.ask(&image, now, &client)).await;
    let response = match told.unwrap_or(Err(ErrorCode::UnknownServerError)) {
        Ok(told) => message!(GetTelemetrySubscriptionsResponse {
            client_instance_id: Uuid::from_bytes(instance),
            subscription_id: told.subscription,
            accepted_compression_types: CODECS.to_vec(),
            push_interval_ms: told.wanted.interval_ms,
            telemetry_max_bytes: i32::try_from(bytes_max).unwrap_or(i32::MAX),
            // Values since their beginning are what a scrape of the admin endpoint tells.
            delta_temporality: false,
            requested_metrics: told.wanted.metrics.iter().map(|name| Text::from(name.as_str())).collect(),
        }),
        Err(code) => message!(GetTelemetrySubscriptionsResponse { error_code: code.code() }),
    };
    reply(header, &response)
}

/// What the client of a connection is known by.
pub fn client(session: &Session, header: &RequestHeader, instance: [u8; 16]) -> Client {
    let software = session.software.borrow();
    let (name, version) =
        software.as_ref().map_or((UNKNOWN, UNKNOWN), |(name, version)| (name.as_str(), version.as_str()));
    Client {
        instance,
        instance_text: ids::written(instance),
        id: header.client_id.as_deref().unwrap_or_default().to_owned(),
        software_name: name.to_owned(),
        software_version: version.to_owned(),
        address: session.peer.remote.ip().to_string(),
        port: session.peer.remote.port().to_string(),
    }
}
