//! AlterConfigs: replaces all settings of topics, brokers and groups; what is not named goes back to its default.

use coordination::metadata::alter::Changes;
use net::service::Reply;
use protocol::control::messages::AlterConfigsRequest;
use protocol::control::messages::alter_configs_request::AlterableConfig;
use protocol::control::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use protocol::{RequestHeader, Text, message};

use super::altering::{Change, Resource, alter};
use super::{reply, told};
use crate::service::Broker;

impl Change for AlterableConfig {
    fn key(&self) -> &Text {
        &self.name
    }

    fn lacks_value(&self) -> bool {
        self.value.is_none()
    }
}

/// Answers an AlterConfigs request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: AlterConfigsRequest) -> Reply {
    let resources = request.resources.into_iter().map(|resource| {
        (Resource { kind: resource.resource_type, name: resource.resource_name }, resource.configs)
    });
    let meant = |configs: Vec<AlterableConfig>| {
        let pair =
            |config: AlterableConfig| (config.name.to_string(), config.value.unwrap_or_default().to_string());
        Ok(Changes::All(configs.into_iter().map(pair).collect()))
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
    reply(header, &message!(AlterConfigsResponse { responses: responses.collect() }))
}
