//! IncrementalAlterConfigs: changes settings of topics; answered when they are in force on every core.

use coordination::metadata::configs::ConfigChange;
use coordination::metadata::{Command, Refusal, TopicRef};
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::IncrementalAlterConfigsRequest;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use protocol::{RequestHeader, message};

use super::describe_configs::{BROKER, TOPIC};
use super::{occurrences, reply, told};
use crate::cluster::propose_topics;
use crate::service::Broker;

/// Answers an IncrementalAlterConfigs request.
pub async fn handle(
    broker: &Broker,
    header: &RequestHeader,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let named = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let counts = occurrences(request.resources.iter().map(named));
    let mut topics = Vec::new();
    let mut judged = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let verdict = if counts[&named(resource)] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            changes(resource).map(|changes| {
                topics.push((TopicRef::Name(resource.resource_name.to_string()), changes));
            })
        };
        judged.push(verdict);
    }
    let count = topics.len();
    let command = Command::AlterConfigs { topics, validate_only: request.validate_only };
    let mut altered = if count == 0 {
        Vec::new().into_iter()
    } else {
        propose_topics(&*broker.cluster, command, count).await.into_iter()
    };
    let unanswered = || Err(Refusal::new(ErrorCode::UnknownServerError, "no answer"));
    let responses = request.resources.into_iter().zip(judged).map(|(resource, verdict)| {
        let mut response = message!(AlterConfigsResourceResponse {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
        if let Err(refusal) = verdict.and_then(|()| altered.next().unwrap_or_else(unanswered)) {
            (response.error_code, response.error_message) = told(&refusal);
        }
        response
    });
    reply(header, &message!(IncrementalAlterConfigsResponse { responses: responses.collect() }))
}

fn changes(resource: &AlterConfigsResource) -> Result<Vec<(String, ConfigChange)>, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidRequest, text);
    match resource.resource_type {
        TOPIC => resource.configs.iter().map(change).collect(),
        BROKER => {
            Err(invalid("settings of the broker are changed in its configuration, with a restart".into()))
        }
        other => Err(invalid(format!("resource type {other} is not implemented by this broker"))),
    }
}

fn change(config: &AlterableConfig) -> Result<(String, ConfigChange), Refusal> {
    let name = &*config.name;
    let value = || match &config.value {
        Some(value) => Ok(value.to_string()),
        None => Err(Refusal::new(ErrorCode::InvalidRequest, format!("Null value not supported for {name}"))),
    };
    let change = match config.config_operation {
        0 => ConfigChange::Set(value()?),
        1 => ConfigChange::Delete,
        2 => ConfigChange::Append(value()?),
        3 => ConfigChange::Subtract(value()?),
        other => {
            let text = format!("operation {other} on {name}: operations are 0 to 3");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
    };
    Ok((name.to_owned(), change))
}
