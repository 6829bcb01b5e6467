//! IncrementalAlterConfigs: changes settings of topics; answered when they are in force on every core.

use coordination::metadata::configs::ConfigChange;
use coordination::metadata::topics::check_name;
use coordination::metadata::{Command, Refusal, TopicRef};
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::IncrementalAlterConfigsRequest;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use protocol::{RequestHeader, message};

use super::describe_configs::{BROKER, TOPIC, check_broker};
use super::{occurrences, propose_judged, reply, told};
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
    for resource in request.resources {
        let verdict = if counts[&named(&resource)] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            changes(broker, &resource).map(|changes| {
                topics.push((TopicRef::Name(resource.resource_name.to_string()), changes));
            })
        };
        judged.push((resource, verdict));
    }
    let command = Command::AlterConfigs { topics, validate_only: request.validate_only };
    let altered = propose_judged(broker, judged, command).await;
    let responses = altered.map(|(resource, verdict)| {
        let mut response = message!(AlterConfigsResourceResponse {
            error_message: None,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
        });
        if let Err(refusal) = verdict {
            (response.error_code, response.error_message) = told(&refusal);
        }
        response
    });
    reply(header, &message!(IncrementalAlterConfigsResponse { responses: responses.collect() }))
}

fn changes(broker: &Broker, resource: &AlterConfigsResource) -> Result<Vec<(String, ConfigChange)>, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidRequest, text);
    let name = &*resource.resource_name;
    // Judged first, as in Kafka, whatever the resource.
    let changes = resource.configs.iter().map(change).collect::<Result<Vec<_>, _>>()?;
    match resource.resource_type {
        TOPIC if name.is_empty() => Err(invalid("Default topic resources are not allowed.".into())),
        TOPIC => check_name(name).map(|()| changes),
        BROKER if !name.is_empty() => check_broker(name, broker.settings.node).and_then(|()| {
            Err(invalid("settings of the broker are changed in its configuration, with a restart".into()))
        }),
        BROKER => Err(invalid("there are no settings of all brokers: each has its configuration".into())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;
    use protocol::Text;
    use protocol::control::messages::create_topics_request::CreatableTopic;
    use protocol::control::messages::{
        CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request,
    };

    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;

    fn client() -> Client {
        let client = Client::new();
        let topic = |name: &str| {
            message!(CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1 })
        };
        let request =
            message!(CreateTopicsRequest { topics: vec![topic("t"), topic("u")], timeout_ms: 1000 });
        let _: CreateTopicsResponse = client.ask(7, &request);
        client
    }

    type Change<'a> = (&'a str, i8, Option<&'a str>);

    fn resource(kind: i8, name: &str, changes: &[Change<'_>]) -> AlterConfigsResource {
        let configs = changes.iter().map(|(name, operation, value)| {
            message!(AlterableConfig {
                name: (*name).into(),
                config_operation: *operation,
                value: value.map(Text::from),
            })
        });
        message!(AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        })
    }

    /// Code and sentence for each resource.
    fn ask(client: &Client, resources: Vec<AlterConfigsResource>, validate_only: bool) -> Vec<(i16, String)> {
        let request =
            message!(IncrementalAlterConfigsRequest { resources: resources, validate_only: validate_only });
        let mut answers = Vec::new();
        // Both versions say the same; the second finds what the first did.
        for version in [0, 1] {
            let response: IncrementalAlterConfigsResponse = client.ask(version, &request);
            let told = |one: AlterConfigsResourceResponse| {
                (one.error_code, one.error_message.unwrap_or_default().to_string())
            };
            answers.push(response.responses.into_iter().map(told).collect::<Vec<_>>());
        }
        assert_eq!(answers[0], answers[1]);
        answers.remove(0)
    }

    fn alter(client: &Client, kind: i8, name: &str, changes: &[Change<'_>]) -> (i16, String) {
        ask(client, vec![resource(kind, name, changes)], false).remove(0)
    }

    /// The value and whether the topic has it of its own.
    fn value(client: &Client, topic: &str, name: &str) -> (String, bool) {
        let resource = message!(describe_configs_request::DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configuration_keys: Some(vec![name.into()]),
        });
        let response: DescribeConfigsResponse =
            client.ask(4, &message!(DescribeConfigsRequest { resources: vec![resource] }));
        let found = &response.results[0].configs[0];
        (found.value.as_deref().unwrap_or_default().to_owned(), found.config_source == 1)
    }

    #[test]
    fn each_topic_stands_for_itself_and_is_changed_as_a_whole() {
        let client = client();
        let resources = vec![
            resource(TOPIC, "t", &[("retention.ms", SET, Some("7")), ("segment.bytes", SET, Some("1"))]),
            resource(TOPIC, "u", &[("retention.ms", SET, Some("7"))]),
            resource(TOPIC, "nobody", &[("retention.ms", SET, Some("7"))]),
        ];
        let codes: Vec<_> = ask(&client, resources, false).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [ErrorCode::InvalidConfig.code(), 0, ErrorCode::UnknownTopicOrPartition.code()]);
        assert!(!value(&client, "t", "retention.ms").1, "one bad value spoils the topic's change");
        assert_eq!(value(&client, "u", "retention.ms"), ("7".into(), true));
    }

    #[test]
    fn a_trial_changes_nothing() {
        let client = client();
        let good = || vec![resource(TOPIC, "t", &[("retention.ms", SET, Some("7"))])];
        let bad = || vec![resource(TOPIC, "t", &[("retention.ms", SET, Some("-7"))])];
        assert_eq!(ask(&client, good(), true)[0].0, 0);
        assert_eq!(ask(&client, bad(), true)[0].0, ErrorCode::InvalidConfig.code());
        assert!(!value(&client, "t", "retention.ms").1);
    }

    #[test]
    fn lists_are_appended_to_and_subtracted_from() {
        let client = client();
        let name = "leader.replication.throttled.replicas";
        let change = |operation, to| {
            assert_eq!(alter(&client, TOPIC, "t", &[(name, operation, Some(to))]).0, 0);
            value(&client, "t", name).0
        };
        assert_eq!(change(APPEND, "0:1,1:1"), "0:1,1:1");
        assert_eq!(change(APPEND, "1:1,2:1"), "0:1,1:1,2:1");
        assert_eq!(change(SUBTRACT, "0:1,9:9"), "1:1,2:1");
        let number = alter(&client, TOPIC, "t", &[("retention.ms", APPEND, Some("1"))]);
        assert_eq!(number.0, ErrorCode::InvalidConfig.code());
        // The value of a deletion is of no interest.
        assert_eq!(alter(&client, TOPIC, "t", &[(name, DELETE, Some("x"))]).0, 0);
        assert_eq!(value(&client, "t", name), (String::new(), false));
    }

    #[test]
    fn what_cannot_be_changed_is_refused_with_a_sentence() {
        let client = client();
        let twice = [("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)];
        for (kind, name, changes) in [
            (TOPIC, "t", &twice[..]),
            (TOPIC, "t", &[("retention.ms", SET, None)]),
            (TOPIC, "t", &[("retention.ms", 4, Some("1"))]),
            (TOPIC, "", &[("retention.ms", SET, Some("1"))]),
            (BROKER, "1", &[("num.partitions", SET, Some("1"))]),
            (BROKER, "", &[("num.partitions", SET, Some("1"))]),
            (BROKER, "2", &[("num.partitions", SET, Some("1"))]),
            (8, "1", &[("root", SET, Some("DEBUG"))]),
            (99, "x", &[]),
        ] {
            let (code, message) = alter(&client, kind, name, changes);
            assert_eq!(code, ErrorCode::InvalidRequest.code(), "{kind} {name:?} {changes:?}");
            assert!(!message.is_empty());
        }
        let bad_name = alter(&client, TOPIC, "a b", &[]);
        assert_eq!(bad_name.0, ErrorCode::InvalidTopicException.code());
        let unknown = alter(&client, TOPIC, "t", &[("retention.mss", SET, Some("1"))]);
        assert_eq!(unknown.0, ErrorCode::InvalidConfig.code());
        let same = || resource(TOPIC, "t", &[]);
        let (code, message) = ask(&client, vec![same(), same()], false).remove(1);
        assert_eq!(code, ErrorCode::InvalidRequest.code());
        assert!(message.contains("at most once"));
    }
}
