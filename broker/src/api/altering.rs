//! What AlterConfigs and IncrementalAlterConfigs have in common: judged per resource, proposed together, answered when it is in
//! force on every core.

use coordination::metadata::alter::{Changes, Target};
use coordination::metadata::{Command, Outcome, Refusal};
use model::{BrokerId, ErrorCode};
use protocol::Text;

use super::describe_configs::{BROKER, CLIENT_METRICS, GROUP, TOPIC};
use super::occurrences;
use crate::cluster::propose;
use crate::service::Broker;

/// A resource as a client names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Resource {
    /// Kafka's number of its type.
    pub kind: i8,
    /// Its name.
    pub name: Text,
}

/// A setting that is to change, whatever the way.
pub trait Change {
    /// The setting.
    fn key(&self) -> &Text;
    /// Whether a value is missing.
    fn lacks_value(&self) -> bool;
}

/// What came of each resource.
pub type Altered = Vec<(Resource, Result<(), Refusal>)>;

/// Judges the changes of each resource, proposes those that may be, and gives the verdicts in order.
pub async fn alter<C: Change>(
    broker: &Broker,
    resources: Vec<(Resource, Vec<C>)>,
    meant: impl Fn(Vec<C>) -> Result<Changes, Refusal>,
    validate_only: bool,
) -> Altered {
    let counts = occurrences(resources.iter().map(|(resource, _)| resource.clone()));
    let mut proposed = Vec::new();
    let mut verdicts: Altered = Vec::with_capacity(resources.len());
    for (resource, changes) in resources {
        let verdict = if counts[&resource] > 1 {
            Err(invalid("Each resource must appear at most once."))
        } else {
            check(&changes).and_then(|()| target(broker, &resource)).and_then(|target| {
                proposed.push((target, meant(changes)?));
                Ok(())
            })
        };
        verdicts.push((resource, verdict));
    }
    if !proposed.is_empty() {
        let count = proposed.len();
        let mut outcomes = judged(broker, proposed, validate_only, count).await.into_iter();
        for (_, verdict) in verdicts.iter_mut().filter(|(_, verdict)| verdict.is_ok()) {
            *verdict = outcomes.next().unwrap_or_else(|| Err(unanswered()));
        }
    }
    verdicts
}

async fn judged(
    broker: &Broker,
    resources: Vec<(Target, Changes)>,
    validate_only: bool,
    count: usize,
) -> Vec<Result<(), Refusal>> {
    match propose(&*broker.cluster, Command::AlterConfigs { resources, validate_only }).await {
        Ok(Outcome::Configs(each)) if each.len() == count => each,
        Ok(_) => vec![Err(unanswered()); count],
        Err(refusal) => vec![Err(refusal); count],
    }
}

fn check<C: Change>(changes: &[C]) -> Result<(), Refusal> {
    if occurrences(changes.iter().map(Change::key)).values().any(|count| *count > 1) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> =
        changes.iter().filter(|change| change.lacks_value()).map(|change| &**change.key()).collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))))
}

fn target(broker: &Broker, resource: &Resource) -> Result<Target, Refusal> {
    let name = &*resource.name;
    match resource.kind {
        TOPIC => Ok(Target::Topic(name.to_owned())),
        BROKER if name.is_empty() => Ok(Target::Brokers),
        BROKER => this_broker(name, broker.settings.node),
        GROUP => Ok(Target::Group(name.to_owned())),
        CLIENT_METRICS => Ok(Target::ClientMetrics(name.to_owned())),
        other => Err(invalid(format!("Unknown resource type {other}"))),
    }
}

fn this_broker(name: &str, node: BrokerId) -> Result<Target, Refusal> {
    match name.parse::<i32>() {
        Ok(id) if id == node.0 => Ok(Target::Broker(node)),
        Ok(_) => Err(invalid(format!("Unexpected broker id, expected {}, but received {name}", node.0))),
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// `INVALID_REQUEST`.
pub fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, text)
}

fn unanswered() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError, "no answer")
}

#[cfg(test)]
mod tests;
