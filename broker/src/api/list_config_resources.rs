//! ListConfigResources: what has settings of its own: topics, this broker, and groups and subscriptions to clients' metrics on which
//! something was set.

use coordination::metadata::Image;
use model::{BrokerId, ErrorCode};
use net::service::Reply;
use protocol::control::messages::list_config_resources_response::ConfigResource;
use protocol::control::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use protocol::{RequestHeader, Text, message};

use super::describe_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::reply;
use crate::service::Broker;

/// Every type there is, in Kafka's order. Loggers are not there yet: none is listed.
const TYPES: [i8; 5] = [GROUP, CLIENT_METRICS, BROKER_LOGGER, BROKER, TOPIC];
/// First version that asks for types; before, it was the list of subscriptions to clients' metrics.
const TYPES_SINCE: i16 = 1;

/// Answers a ListConfigResources request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: &ListConfigResourcesRequest) -> Reply {
    let wanted = &request.resource_types;
    let response = if header.api_version < TYPES_SINCE {
        let resources = listed(&broker.cluster.image(), broker.settings.node, CLIENT_METRICS);
        message!(ListConfigResourcesResponse { config_resources: resources })
    } else if wanted.iter().all(|kind| TYPES.contains(kind)) {
        let image = broker.cluster.image();
        let kinds = TYPES.into_iter().filter(|kind| wanted.is_empty() || wanted.contains(kind));
        let resources = kinds.flat_map(|kind| listed(&image, broker.settings.node, kind));
        message!(ListConfigResourcesResponse { config_resources: resources.collect() })
    } else {
        message!(ListConfigResourcesResponse { error_code: ErrorCode::UnsupportedVersion.code() })
    };
    reply(header, &response)
}

fn listed(image: &Image, node: BrokerId, kind: i8) -> Vec<ConfigResource> {
    let resource =
        |name: &str| message!(ConfigResource { resource_name: Text::from(name), resource_type: kind });
    match kind {
        TOPIC => image.topics_sorted().into_iter().map(|topic| resource(&topic.name)).collect(),
        BROKER => vec![resource(&node.0.to_string())],
        GROUP => image.groups().map(resource).collect(),
        CLIENT_METRICS => image.all_client_metrics().keys().map(|name| resource(name)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;
    use protocol::control::messages::incremental_alter_configs_request::{
        AlterConfigsResource, AlterableConfig,
    };
    use protocol::control::messages::{
        CreateTopicsRequest, CreateTopicsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, create_topics_request::CreatableTopic,
    };

    #[test]
    fn what_has_settings_is_listed_by_type() {
        let client = Client::new();
        let topic = message!(CreatableTopic { name: "q".into(), num_partitions: 1, replication_factor: 1 });
        let _: CreateTopicsResponse =
            client.ask(7, &message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000 }));
        let config = message!(AlterableConfig {
            name: "share.isolation.level".into(),
            value: Some("read_committed".into()),
        });
        let resource = message!(AlterConfigsResource {
            resource_type: GROUP,
            resource_name: "g".into(),
            configs: vec![config],
        });
        let _: IncrementalAlterConfigsResponse =
            client.ask(1, &message!(IncrementalAlterConfigsRequest { resources: vec![resource] }));
        let config = message!(AlterableConfig { name: "interval.ms".into(), value: Some("1000".into()) });
        let resource = message!(AlterConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: "s".into(),
            configs: vec![config],
        });
        let altered: IncrementalAlterConfigsResponse =
            client.ask(1, &message!(IncrementalAlterConfigsRequest { resources: vec![resource] }));
        assert_eq!(altered.responses[0].error_code, 0);
        let ask = |version, kinds: &[i8]| {
            let request = message!(ListConfigResourcesRequest { resource_types: kinds.to_vec() });
            let response: ListConfigResourcesResponse = client.ask(version, &request);
            let told = response.config_resources.iter();
            let told: Vec<_> = told.map(|one| (one.resource_name.to_string(), one.resource_type)).collect();
            (response.error_code, told)
        };
        let one = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(ask(0, &[]), (0, vec![one("s", CLIENT_METRICS)]));
        let all = vec![one("g", GROUP), one("s", CLIENT_METRICS), one("1", BROKER), one("q", TOPIC)];
        assert_eq!(ask(1, &[]), (0, all));
        assert_eq!(ask(1, &[TOPIC]), (0, vec![one("q", TOPIC)]));
        assert_eq!(ask(1, &[CLIENT_METRICS, BROKER_LOGGER]), (0, vec![one("s", CLIENT_METRICS)]));
        assert_eq!(ask(1, &[TOPIC, 99]), (ErrorCode::UnsupportedVersion.code(), vec![]));
    }
}
