//! PushTelemetry: a client's metrics (KIP-714), for the admin endpoint.

use coordination::telemetry::instances::Push;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::{PushTelemetryRequest, PushTelemetryResponse};
use protocol::{RequestHeader, message};

use super::get_telemetry_subscriptions::client;
use super::reply;
use crate::cluster::apart;
use crate::service::{Broker, Session};

/// Ids that nobody has, as Kafka reserves them: 0 and 1.
const RESERVED: [u128; 2] = [0, 1];

/// Answers a PushTelemetry request.
pub async fn handle(
    broker: &Broker,
    session: &Session,
    header: &RequestHeader,
    request: PushTelemetryRequest,
) -> Reply {
    let instance = request.client_instance_id.to_bytes();
    let code = if RESERVED.contains(&u128::from_be_bytes(instance)) {
        ErrorCode::InvalidRequest
    } else {
        let client = client(session, header, instance);
        session.is_client(&broker.settings.telemetry, instance);
        let (telemetry, image) = (broker.settings.telemetry.clone(), broker.cluster.image());
        let now = broker.cluster.tick();
        let push = Push {
            subscription: request.subscription_id,
            terminating: request.terminating,
            codec: request.compression_type,
            bytes: request.metrics.len(),
        };
        let taken =
            apart(&*broker.cluster, move || telemetry.push(&image, now, &client, push, &request.metrics));
        match taken.await {
            Some(Ok(())) => ErrorCode::None,
            Some(Err(code)) => code,
            None => ErrorCode::UnknownServerError,
        }
    };
    reply(header, &message!(PushTelemetryResponse { error_code: code.code() }))
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::{
        GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, incremental_alter_configs_request as alter,
    };
    use protocol::{Text, Uuid};

    use super::*;
    use crate::service::harness::Client;

    fn subscribe(client: &Client, settings: &[(&str, &str)]) {
        let configs = settings.iter().map(|(name, value)| {
            message!(alter::AlterableConfig { name: Text::from(*name), value: Some(Text::from(*value)) })
        });
        let resource = message!(alter::AlterConfigsResource {
            resource_type: 16,
            resource_name: "s".into(),
            configs: configs.collect(),
        });
        let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
        let response: IncrementalAlterConfigsResponse = client.ask(1, &request);
        assert_eq!(response.responses[0].error_code, 0);
    }

    fn ask(client: &Client, instance: Uuid) -> GetTelemetrySubscriptionsResponse {
        client.ask(0, &message!(GetTelemetrySubscriptionsRequest { client_instance_id: instance }))
    }

    fn push(client: &Client, instance: Uuid, subscription: i32, metrics: &'static [u8]) -> i16 {
        let request = message!(PushTelemetryRequest {
            client_instance_id: instance,
            subscription_id: subscription,
            metrics: metrics.into(),
        });
        let response: PushTelemetryResponse = client.ask(0, &request);
        response.error_code
    }

    /// A gauge `a` of 1.
    const METRIC: &[u8] =
        b"\x0a\x14\x12\x12\x12\x10\x0a\x01a\x2a\x0b\x0a\x09\x31\x01\x00\x00\x00\x00\x00\x00\x00";

    #[test]
    fn a_client_is_asked_for_metrics_and_pushes_them() {
        let client = Client::new();
        let nothing = ask(&client, Uuid::ZERO);
        assert_eq!((nothing.error_code, nothing.requested_metrics.len()), (0, 0));
        subscribe(&client, &[("metrics", "org.apache.kafka.producer."), ("interval.ms", "100")]);
        let told = ask(&client, nothing.client_instance_id);
        let names: Vec<&str> = told.requested_metrics.iter().map(|name| &**name).collect();
        assert_eq!((told.error_code, names), (0, vec!["org.apache.kafka.producer."]));
        assert_eq!((told.push_interval_ms, told.telemetry_max_bytes), (100, 1 << 20));
        assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
        assert_ne!(told.client_instance_id, Uuid::ZERO);
        assert_ne!(told.subscription_id, nothing.subscription_id);
        let (instance, subscription) = (told.client_instance_id, told.subscription_id);
        assert_eq!(push(&client, instance, subscription, METRIC), 0);
        let throttled = ErrorCode::ThrottlingQuotaExceeded.code();
        assert_eq!(push(&client, instance, subscription, METRIC), throttled);
        assert_eq!(ask(&client, instance).error_code, throttled);
        let fresh = ask(&client, Uuid::ZERO);
        assert_ne!(fresh.client_instance_id, instance, "a client without an id gets one of its own");
        let unknown = ErrorCode::UnknownSubscriptionId.code();
        assert_eq!(push(&client, fresh.client_instance_id, subscription, METRIC), unknown);
        for reserved in RESERVED {
            let reserved = Uuid::from_bytes(reserved.to_be_bytes());
            assert_eq!(push(&client, reserved, subscription, METRIC), ErrorCode::InvalidRequest.code());
        }
        let last = ask(&client, Uuid::ZERO);
        let invalid = ErrorCode::InvalidRecord.code();
        assert_eq!(push(&client, last.client_instance_id, last.subscription_id, b"nonsense"), invalid);
    }
}
