//! AlterClientQuotas: refused, since nothing would hold anybody to them. What is wrong in a request is told first.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use coordination::metadata::Refusal;
use net::service::Reply;
use protocol::control::messages::alter_client_quotas_request::{EntityData, OpData};
use protocol::control::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, alter_client_quotas_response,
};
use protocol::{RequestHeader, Text, message};

use super::altering::invalid;
use super::describe_client_quotas::{CLIENT_ID, IP, USER};
use super::{reply, told};

/// What the value of a quota may be.
#[derive(Clone, Copy)]
enum Value {
    /// Anything above zero.
    Rate,
    /// A whole number up to this.
    Whole(f64, &'static str),
}

const BYTES: Value = Value::Whole(9_223_372_036_854_775_807.0, "LONG");
const OF_CLIENTS: &[(&str, Value)] = &[
    ("producer_byte_rate", BYTES),
    ("consumer_byte_rate", BYTES),
    ("request_percentage", Value::Rate),
    ("controller_mutation_rate", Value::Rate),
];
const OF_ADDRESSES: &[(&str, Value)] = &[("connection_creation_rate", Value::Whole(2_147_483_647.0, "INT"))];

/// Whom quotas are for, as Kafka prints it.
type Entity = BTreeMap<Text, Option<Text>>;

/// Answers an AlterClientQuotas request.
pub fn handle(header: &RequestHeader, request: AlterClientQuotasRequest) -> Reply {
    let mut results: BTreeMap<Entity, Result<(), Refusal>> = BTreeMap::new();
    for entry in request.entries {
        let entity = entity(entry.entity);
        let verdict = judge(&entity, &entry.ops);
        let twice = || Err(invalid(format!("Ignoring duplicate entity {}", shown(&entity))));
        let mut keys = HashSet::new();
        let verdict = if entry.ops.iter().all(|op| keys.insert(&op.key)) { verdict } else { twice() };
        let repeated = twice();
        results.entry(entity).and_modify(|known| *known = repeated).or_insert(verdict);
    }
    let entries = results.into_iter().map(|(entity, verdict)| {
        let entity = entity.into_iter().map(|(kind, name)| {
            message!(alter_client_quotas_response::EntityData { entity_type: kind, entity_name: name })
        });
        let (code, text) = verdict.map_or_else(|refusal| told(&refusal), |()| (0, None));
        message!(alter_client_quotas_response::EntryData {
            error_code: code,
            error_message: text,
            entity: entity.collect(),
        })
    });
    reply(header, &message!(AlterClientQuotasResponse { entries: entries.collect() }))
}

fn entity(parts: Vec<EntityData>) -> Entity {
    parts.into_iter().map(|part| (part.entity_type, part.entity_name)).collect()
}

fn shown(entity: &Entity) -> String {
    let part = |(kind, name): (&Text, &Option<Text>)| format!("{kind}={}", name.as_deref().unwrap_or("null"));
    format!("ClientQuotaEntity(entries={{{}}})", entity.iter().map(part).collect::<Vec<_>>().join(", "))
}

fn judge(entity: &Entity, ops: &[OpData]) -> Result<(), Refusal> {
    let keys = keys(entity)?;
    // What is to be removed is not there.
    let sets: Vec<&OpData> = ops.iter().filter(|op| !op.remove).collect();
    for op in &sets {
        check(keys, &op.key, op.value)?;
    }
    if sets.is_empty() {
        return Ok(());
    }
    Err(invalid("quotas are not implemented by this broker: nothing would hold clients to them"))
}

/// The quotas that an entity may have.
fn keys(entity: &Entity) -> Result<&'static [(&'static str, Value)], Refusal> {
    if entity.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    for (kind, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&&**kind) {
            return Err(invalid(format!("Unhandled client quota entity type: {kind}")));
        }
        if name.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(invalid(format!("Empty {kind} not supported")));
        }
    }
    let address = entity.iter().find(|(kind, _)| ***kind == *IP);
    let Some((_, address)) = address else { return Ok(OF_CLIENTS) };
    if entity.len() > 1 {
        return Err(invalid(
            "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
        ));
    }
    match address {
        Some(address) if address.parse::<IpAddr>().is_err() => {
            Err(invalid(format!("{address} is not a valid IP or resolvable host.")))
        }
        _ => Ok(OF_ADDRESSES),
    }
}

fn check(keys: &[(&str, Value)], key: &str, value: f64) -> Result<(), Refusal> {
    let Some((_, kind)) = keys.iter().find(|(known, _)| *known == key) else {
        return Err(invalid(format!("Invalid configuration key {key}")));
    };
    if value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    match *kind {
        Value::Whole(most, name) if value > most => Err(invalid(format!(
            "Proposed value for {key} is too large for a{} {name}.",
            if name == "INT" { "n" } else { "" }
        ))),
        Value::Whole(..) if (value % 1.0).abs() > 1e-6 => {
            Err(invalid(format!("{key} cannot be a fractional value.")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::alter_client_quotas_request::EntryData;

    use super::*;
    use crate::service::harness::Client;

    fn entry(parts: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> EntryData {
        let part = |(kind, name): &(&str, Option<&str>)| {
            message!(EntityData { entity_type: (*kind).into(), entity_name: name.map(Into::into) })
        };
        let op = |(key, value): &(&str, Option<f64>)| {
            message!(OpData { key: (*key).into(), value: value.unwrap_or(0.0), remove: value.is_none() })
        };
        message!(EntryData { entity: parts.iter().map(part).collect(), ops: ops.iter().map(op).collect() })
    }

    fn ask(client: &Client, version: i16, entries: Vec<EntryData>) -> Vec<Option<String>> {
        let request = message!(AlterClientQuotasRequest { entries: entries });
        let response: AlterClientQuotasResponse = client.ask(version, &request);
        let text = |text: &Option<Text>| text.as_deref().map(str::to_owned);
        response.entries.iter().map(|entry| text(&entry.error_message)).collect()
    }

    #[test]
    fn what_is_wrong_is_told_before_that_there_are_no_quotas() {
        let client = Client::new();
        let user = [(USER, Some("a"))];
        for (parts, ops, expected) in [
            (&user[..], &[("producer_byte_rate", Some(5.0))][..], Some("not implemented")),
            (&user, &[("producer_byte_rate", None)], None),
            (&user, &[("producer_byte_rate", Some(0.5))], Some("cannot be a fractional value")),
            (&user, &[("producer_byte_rate", Some(-1.0))], Some("must be greater than 0")),
            (&user, &[("request_percentage", Some(0.5))], Some("not implemented")),
            (&user, &[("x", Some(1.0))], Some("Invalid configuration key x")),
            (&user, &[("x", None), ("x", None)], Some("entity ClientQuotaEntity(entries={user=a})")),
            (&[], &[], Some("Invalid empty client quota entity")),
            (&[("group", None)], &[], Some("Unhandled client quota entity type: group")),
            (&[(IP, Some("nowhere"))], &[], Some("nowhere is not a valid IP")),
            (&[(IP, None), (USER, None)], &[], Some("shouldnot be combined")),
            (&[(IP, Some("::1"))], &[("connection_creation_rate", Some(3e9))], Some("too large for an INT")),
        ] {
            for version in [0, 1] {
                let [told] = &ask(&client, version, vec![entry(parts, ops)])[..] else {
                    panic!("one answer")
                };
                match (told, expected) {
                    (Some(told), Some(expected)) => assert!(told.contains(expected), "{told}"),
                    (told, expected) => assert_eq!(told.as_deref(), expected, "{parts:?} {ops:?}"),
                }
            }
        }
        let twice = vec![entry(&user, &[("x", None)]), entry(&user, &[("y", None)])];
        let told = ask(&client, 1, twice);
        assert_eq!(told, [Some("Ignoring duplicate entity ClientQuotaEntity(entries={user=a})".to_owned())]);
    }
}
