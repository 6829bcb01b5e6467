//! DescribeClientQuotas: nobody has any.

use std::collections::HashSet;

use coordination::metadata::Refusal;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::describe_client_quotas_request::ComponentData;
use protocol::control::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use protocol::{RequestHeader, message};

use super::altering::invalid;
use super::{reply, told};

/// Whom a quota may be for.
pub const USER: &str = "user";
/// See [`USER`].
pub const CLIENT_ID: &str = "client-id";
/// See [`USER`].
pub const IP: &str = "ip";

/// Kafka's numbers of ways to match.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Answers a DescribeClientQuotas request.
pub fn handle(header: &RequestHeader, request: &DescribeClientQuotasRequest) -> Reply {
    let response = match check(&request.components) {
        Ok(()) => {
            message!(DescribeClientQuotasResponse { entries: Some(Vec::new()) })
        }
        Err(refusal) => {
            let (code, text) = told(&refusal);
            message!(DescribeClientQuotasResponse { error_code: code, error_message: text, entries: None })
        }
    };
    reply(header, &response)
}

/// Whether a filter makes sense.
fn check(components: &[ComponentData]) -> Result<(), Refusal> {
    let mut types = HashSet::new();
    for component in components {
        let kind = &*component.entity_type;
        if kind.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if !types.insert(kind) {
            return Err(invalid(format!("Entity type {kind} cannot appear more than once in the filter.")));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            let text = format!("Unsupported entity type {kind}");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, text));
        }
        match (component.match_type, &component.match_) {
            (EXACT, Some(_)) | (DEFAULT | SPECIFIED, None) => {}
            (EXACT, None) => {
                return Err(invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."));
            }
            (DEFAULT, Some(_)) => {
                return Err(invalid(
                    "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
                ));
            }
            (SPECIFIED, Some(_)) => {
                return Err(invalid(
                    "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
                ));
            }
            (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
        }
    }
    if types.contains(IP) && types.len() > 1 {
        return Err(invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
             filter component.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::harness::Client;

    #[test]
    fn there_are_no_quotas_and_a_filter_is_judged_as_kafka_does() {
        let client = Client::new();
        let ask = |version, components: &[(&str, i8, Option<&str>)]| {
            let component = |&(kind, way, text): &(&str, i8, Option<&str>)| {
                message!(ComponentData {
                    entity_type: kind.into(),
                    match_type: way,
                    match_: text.map(Into::into)
                })
            };
            let components = components.iter().map(component).collect();
            let response: DescribeClientQuotasResponse =
                client.ask(version, &message!(DescribeClientQuotasRequest { components: components }));
            (response.error_code, response.entries.map(|entries| entries.len()))
        };
        for version in [0, 1] {
            assert_eq!(ask(version, &[]), (0, Some(0)));
            let fine = [(USER, EXACT, Some("a")), (CLIENT_ID, SPECIFIED, None)];
            assert_eq!(ask(version, &fine), (0, Some(0)));
            for wrong in [
                &[("", EXACT, Some("a"))][..],
                &[(USER, EXACT, None)],
                &[(USER, DEFAULT, Some("a"))],
                &[(USER, 9, None)],
                &[(USER, DEFAULT, None), (USER, DEFAULT, None)],
                &[(USER, DEFAULT, None), (IP, DEFAULT, None)],
            ] {
                assert_eq!(ask(version, wrong), (ErrorCode::InvalidRequest.code(), None), "{wrong:?}");
            }
            let unknown = ErrorCode::UnsupportedVersion.code();
            assert_eq!(ask(version, &[("group", DEFAULT, None)]), (unknown, None));
        }
    }
}
