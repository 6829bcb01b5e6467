//! IncrementalAlterConfigs: changes single settings of topics, brokers and groups.

use coordination::metadata::Refusal;
use coordination::metadata::alter::Changes;
use coordination::metadata::configs::ConfigChange;
use net::service::Reply;
use protocol::control::messages::IncrementalAlterConfigsRequest;
use protocol::control::messages::incremental_alter_configs_request::AlterableConfig;
use protocol::control::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use protocol::{RequestHeader, Text, message};

use super::altering::{Change, Resource, alter, invalid};
use super::{reply, told};
use crate::service::Broker;

/// Kafka's numbers of operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

impl Change for AlterableConfig {
    fn key(&self) -> &Text {
        &self.name
    }

    fn lacks_value(&self) -> bool {
        self.value.is_none() && self.config_operation != DELETE
    }
}

/// Answers an IncrementalAlterConfigs request.
pub async fn handle(
    broker: &Broker,
    header: &RequestHeader,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let resources = request.resources.into_iter().map(|resource| {
        (Resource { kind: resource.resource_type, name: resource.resource_name }, resource.configs)
    });
    let meant = |configs: Vec<AlterableConfig>| {
        configs.into_iter().map(change).collect::<Result<Vec<_>, _>>().map(Changes::Some)
    };
    let altered = alter(broker, resources.collect(), meant, request.validate_only).await;
    let responses = altered.into_iter().map(|(resource, verdict)| {
        let mut response = message!(AlterConfigsResourceResponse {
            error_message: None,
            resource_type: resource.kind,
            resource_name: resource.name,
        });
        if let Err(refusal) = verdict {
            (response.error_code, response.error_message) = told(&refusal);
        }
        response
    });
    reply(header, &message!(IncrementalAlterConfigsResponse { responses: responses.collect() }))
}

fn change(config: AlterableConfig) -> Result<(String, ConfigChange), Refusal> {
    let value = config.value.unwrap_or_default().to_string();
    let change = match config.config_operation {
        SET => ConfigChange::Set(value),
        DELETE => ConfigChange::Delete,
        APPEND => ConfigChange::Append(value),
        SUBTRACT => ConfigChange::Subtract(value),
        other => return Err(invalid(format!("Unknown operations type {other}"))),
    };
    Ok((config.name.to_string(), change))
}
