//! Judging changes of settings: from a wish and the image it meets to records, or a refusal in Kafka's words.

use std::collections::BTreeSet;

use model::limits::SETTINGS_ALTERED_BYTES_MAX;
use model::{BrokerId, ErrorCode};

use super::configs::{self, ConfigChange, Overrides};
use super::delta::{Record, Resource, TEXT_BYTES_MAX};
use super::eligible;
use super::image::{Image, SETTING_BYTES};
use super::topics::{Refusal, check_name};
use crate::settings::{Effect, Kind, Setting, Update, broker, client_metrics, group, topic};

/// Whose settings are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A topic's, by its name.
    Topic(String),
    /// One broker's.
    Broker(BrokerId),
    /// Those of all brokers.
    Brokers,
    /// A group's, by its id.
    Group(String),
    /// Those of a subscription to clients' metrics, by its name.
    ClientMetrics(String),
}

/// What is to change. No key twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changes {
    /// These; the rest stays.
    Some(Vec<(String, ConfigChange)>),
    /// Everything: what is not here goes back to its default.
    All(Overrides),
}

/// Judges a change of one resource's settings: all of it or nothing. A value that is already so makes no record.
///
/// # Errors
/// With Kafka's code and sentence.
pub fn alter(image: &Image, target: &Target, changes: &Changes) -> Result<Vec<Record>, Refusal> {
    match target {
        Target::Topic(name) => alter_topic(image, name, changes),
        Target::Broker(node) => alter_broker(image, Some(*node), changes),
        Target::Brokers => alter_broker(image, None, changes),
        Target::Group(group) => alter_group(image, group, changes),
        Target::ClientMetrics(name) => alter_client_metrics(image, name, changes),
    }
}

fn alter_topic(image: &Image, name: &str, changes: &Changes) -> Result<Vec<Record>, Refusal> {
    static NOTHING: Overrides = Overrides::new();
    let found = image.topic(name);
    let now = found.map_or(&NOTHING, |topic| &topic.overrides);
    let current = |setting: &'static Setting| configs::effective(image.defaults(), now, setting);
    let wanted = changed(now, changes, topic::named, current).map_err(not_a_list)?;
    if name.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
    }
    check_name(name)?;
    let after = configs::take_overrides(image.defaults(), &wanted).map_err(invalid)?;
    // As Kafka does, last: a wrong setting of a topic that does not exist is a wrong setting.
    let topic = found.ok_or_else(|| {
        let text = format!("The topic '{name}' does not exist.");
        Refusal::new(ErrorCode::UnknownTopicOrPartition, text)
    })?;
    records(&Resource::Topic(topic.id), now, &after)
}

fn alter_broker(image: &Image, node: Option<BrokerId>, changes: &Changes) -> Result<Vec<Record>, Refusal> {
    let now = image.broker().altered(node);
    let current =
        |setting: &'static Setting| now.get(setting.name).map_or_else(|| default(setting), String::as_str);
    let wanted = changed(now, changes, broker::named, current).map_err(|(key, verb)| {
        let verb = if verb == "APPEND" { "append" } else { "subtract" };
        invalid(format!("Config value {verb} is not allowed for config key: {key}"))
    })?;
    let after = take_broker(&wanted, node.is_none())?;
    eligible::check(image, node, changes)?;
    let resource = node.map_or(Resource::Brokers, Resource::Broker);
    within_bounds(image, records(&resource, now, &after)?)
}

/// Settings wanted on brokers as they are kept. A key that nobody knows is taken, as in Kafka, where it may be a plug-in's.
fn take_broker(wanted: &Overrides, of_all: bool) -> Result<Overrides, Refusal> {
    let refuse = |rule: &str, is: &dyn Fn(&str) -> bool| match names(wanted, is) {
        None => Ok(()),
        Some(names) => Err(Refusal::new(ErrorCode::InvalidRequest, format!("{rule}: [{names}]"))),
    };
    let fixed = |name: &str| broker::named(name).is_some_and(|setting| setting.update == Update::Start);
    refuse("Cannot update these configs dynamically", &fixed)?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        &|name| broker::BY_LISTENER_ONLY.contains(&name),
    )?;
    let refused = |why| Refusal::new(ErrorCode::InvalidRequest, why);
    // Types first, as in Kafka, then where it is set, then what is not here.
    for (name, value) in wanted {
        parse_broker_value(name, value).map_err(refused)?;
    }
    if of_all {
        let single = |name: &str| {
            let base = broker::without_listener(name);
            broker::named(base.unwrap_or(name))
                .map_or(base.is_some(), |setting| setting.update == Update::Broker)
        };
        refuse("Cannot update these configs at default cluster level, broker id must be specified", &single)?;
    }
    refuse("Not implemented by this broker while it runs, restart it with other values of", &|name| {
        broker::WITH_A_START.contains(&name)
    })?;
    let take = |(name, value): (&String, &String)| Ok((name.clone(), take_broker_value(name, value)?));
    wanted.iter().map(take).collect::<Result<_, _>>().map_err(refused)
}

/// The row of a broker's setting, or of the one that a listener has of its own.
fn row(name: &str) -> Option<&'static Setting> {
    broker::named(broker::without_listener(name).unwrap_or(name))
}

fn parse_broker_value(name: &str, value: &str) -> Result<(), String> {
    let Some(setting) = row(name) else { return Ok(()) };
    if setting.kind == Kind::Class && setting.default != Some(value) {
        let base = setting.name;
        return Err(format!(
            "Invalid value {value} for configuration {base}: Class {value} could not be found."
        ));
    }
    setting.parse(value).map(drop)
}

fn take_broker_value(name: &str, value: &str) -> Result<String, String> {
    let Some(setting) = row(name) else { return Ok(value.to_owned()) };
    if let (Kind::Password, Effect::Kept(why)) = (setting.kind, setting.effect) {
        // Of no use here, and it would stand in the metadata log for everybody who reads that.
        return Err(format!("{name} is not implemented by this broker: {why}"));
    }
    let taken = setting.take(value)?;
    if name == "max.connections.per.ip" && taken == "0" {
        // The exceptions are not obeyed here, so nobody could ever connect again to take it back.
        return Err(format!("{name} can be set to zero only if {name}.overrides property is set."));
    }
    if setting.effect == Effect::Topics {
        configs::check_default(setting.name, &taken)?;
    }
    Ok(taken)
}

fn names(wanted: &Overrides, is: &dyn Fn(&str) -> bool) -> Option<String> {
    let names: Vec<&str> = wanted.keys().map(String::as_str).filter(|name| is(name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn alter_group(image: &Image, group: &str, changes: &Changes) -> Result<Vec<Record>, Refusal> {
    let now = image.group(group);
    let wanted = changed(now, changes, group::named, default).map_err(not_a_list)?;
    if group.is_empty() {
        return Err(Refusal::new(ErrorCode::InvalidRequest, "Default group resources are not allowed."));
    }
    if let Some(unknown) = wanted.keys().find(|name| group::named(name).is_none()) {
        return Err(invalid(format!("Unknown group config name: {unknown}")));
    }
    let mut after = Overrides::new();
    for (name, value) in &wanted {
        if let Some(setting) = group::named(name) {
            after.insert(name.clone(), setting.take(value).map_err(invalid)?);
        }
    }
    check_bounds(image, &after).map_err(invalid)?;
    within_bounds(image, records(&Resource::Group(group.to_owned()), now, &after)?)
}

fn alter_client_metrics(image: &Image, name: &str, changes: &Changes) -> Result<Vec<Record>, Refusal> {
    let now = image.client_metrics(name);
    let wanted = changed(now, changes, client_metrics::named, default).map_err(not_a_list)?;
    let refuse = |text| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    if name.is_empty() {
        return refuse("Subscription name can't be empty".to_owned());
    }
    if let Some(unknown) = wanted.keys().find(|key| client_metrics::named(key).is_none()) {
        return refuse(format!("Unknown client metrics configuration: {unknown}"));
    }
    let mut after = Overrides::new();
    for (key, value) in &wanted {
        if let Some(setting) = client_metrics::named(key) {
            after.insert(key.clone(), setting.take(value).map_err(invalid)?);
        }
    }
    let (least, most) = client_metrics::INTERVAL_MS;
    if let Some(interval) = after.get(client_metrics::INTERVAL)
        && !interval.parse().is_ok_and(|ms: i32| (least..=most).contains(&ms))
    {
        let key = client_metrics::INTERVAL;
        return refuse(format!(
            "Invalid value {interval} for {key}, interval must be between {least} and {most} (1 hour)"
        ));
    }
    let records = within_bounds(image, records(&Resource::ClientMetrics(name.to_owned()), now, &after)?)?;
    let patterns = |set: &Overrides| -> Vec<String> {
        let all = set.get(client_metrics::MATCH).map_or("", String::as_str);
        all.split(',').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect()
    };
    let wanted = patterns(&after);
    if wanted == patterns(now) {
        return Ok(records);
    }
    if wanted.len() > client_metrics::PATTERNS_MAX {
        return Err(invalid(format!(
            "{} has at most {} patterns",
            client_metrics::MATCH,
            client_metrics::PATTERNS_MAX
        )));
    }
    let others = image.all_client_metrics().iter().filter(|(other, _)| &***other != name);
    let in_all = wanted.len() + others.map(|(_, set)| patterns(set).len()).sum::<usize>();
    if !wanted.is_empty() && in_all > client_metrics::PATTERNS_IN_ALL_MAX {
        let most = client_metrics::PATTERNS_IN_ALL_MAX;
        let text =
            format!("All subscriptions together have at most {most} patterns in {}.", client_metrics::MATCH);
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    for pattern in &wanted {
        let known = pattern.split_once('=').is_some_and(|(key, pattern)| {
            let known = client_metrics::MATCHED.contains(&key.trim()) && !pattern.is_empty();
            known && !pattern.contains('=') && client_metrics::pattern(pattern).is_some()
        });
        if !known {
            return Err(invalid(format!("Illegal client matching pattern: {pattern}")));
        }
    }
    Ok(records)
}

/// Holds a group's settings against the broker's bounds and against each other.
fn check_bounds(image: &Image, set: &Overrides) -> Result<(), String> {
    let broker = |name: &str| image.broker().number(name, 0_i64);
    let value = |name: &str| match set.get(name) {
        Some(value) => value.parse().unwrap_or(0),
        None => group::named(name).and_then(|setting| setting.broker.first()).map_or(0, |name| broker(name)),
    };
    for bound in group::BOUNDS.iter().filter(|bound| set.contains_key(bound.name)) {
        let (name, number) = (bound.name, value(bound.name));
        if let Some(least) = bound.least.filter(|least| number < broker(least)) {
            return Err(format!("{name} must be greater than or equal to {least}"));
        }
        if number > broker(bound.most) {
            return Err(format!("{name} must be less than or equal to {}", bound.most));
        }
    }
    for (above, below) in
        group::ABOVE.iter().filter(|pair| set.contains_key(pair.0) || set.contains_key(pair.1))
    {
        if value(above) <= value(below) {
            return Err(format!("{above} must be greater than {below}"));
        }
    }
    Ok(())
}

/// The settings after the changes, values unchecked. An error names the key that is no list, and what was to be done to it.
fn changed<'s>(
    now: &Overrides,
    changes: &Changes,
    named: impl Fn(&str) -> Option<&'static Setting>,
    current: impl Fn(&'static Setting) -> &'s str,
) -> Result<Overrides, (String, &'static str)> {
    let changes = match changes {
        Changes::All(wanted) => return Ok(wanted.clone()),
        Changes::Some(changes) => changes,
    };
    let mut after = now.clone();
    for (name, change) in changes {
        let list = named(name).filter(|setting| setting.kind.is_list());
        let value = match (change, list) {
            (ConfigChange::Append(_), None) => return Err((name.clone(), "APPEND")),
            (ConfigChange::Subtract(_), None) => return Err((name.clone(), "SUBTRACT")),
            (change, Some(setting)) => change.applied_to(current(setting)),
            (change, None) => change.applied_to(""),
        };
        match value {
            Some(value) => after.insert(name.clone(), value),
            None => after.remove(name),
        };
    }
    Ok(after)
}

/// What leads from one state to the other.
fn records(resource: &Resource, before: &Overrides, after: &Overrides) -> Result<Vec<Record>, Refusal> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&String> = keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).collect();
    let long = |text: &str| text.len() > TEXT_BYTES_MAX;
    if let Some(key) =
        changed.iter().find(|key| long(key) || after.get(**key).is_some_and(|value| long(value)))
    {
        let name: String = key.chars().take(100).collect();
        return Err(invalid(format!("{name}: a name or a value has at most {TEXT_BYTES_MAX} bytes")));
    }
    let record = |key: &String| Record::ConfigChanged {
        resource: resource.clone(),
        key: key.clone(),
        value: after.get(key).cloned(),
    };
    Ok(changed.into_iter().map(record).collect())
}

/// Topics are counted; what is altered for brokers, groups and clients' metrics is weighed, since all of them take any name.
fn within_bounds(image: &Image, records: Vec<Record>) -> Result<Vec<Record>, Refusal> {
    let more = records.iter().map(|record| match record {
        Record::ConfigChanged { resource, key, value: Some(value) } => {
            let name = match resource {
                Resource::Group(name) | Resource::ClientMetrics(name) => name.len(),
                _ => 0,
            };
            SETTING_BYTES + name + key.len() + value.len()
        }
        _ => 0,
    });
    if more.sum::<usize>() + image.altered_bytes() > SETTINGS_ALTERED_BYTES_MAX {
        let text = format!(
            "settings of brokers, groups and clients' metrics would take more than {SETTINGS_ALTERED_BYTES_MAX} bytes"
        );
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    Ok(records)
}

const fn default(setting: &'static Setting) -> &'static str {
    match setting.default {
        Some(default) => default,
        None => "",
    }
}

fn invalid(why: String) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfig, why)
}

fn not_a_list((key, verb): (String, &'static str)) -> Refusal {
    invalid(format!("Can't {verb} to key {key} because its type is not LIST."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(image: &Image, key: &str, value: &str) -> Result<Vec<Record>, Refusal> {
        let changes = vec![(key.to_owned(), ConfigChange::Append(value.to_owned()))];
        alter(image, &Target::Brokers, &Changes::Some(changes))
    }

    fn set_long(image: &Image, key: &str) -> Result<Vec<Record>, Refusal> {
        let changes = vec![(key.to_owned(), ConfigChange::Set(String::new()))];
        alter(image, &Target::Brokers, &Changes::Some(changes))
    }

    #[test]
    fn what_does_not_fit_a_record_is_refused() {
        let mut image = Image::default();
        for (index, letter) in (1..).zip(["\u{e4}", "\u{f6}", "\u{fc}"]) {
            // Together they are longer than a record can say.
            let judged = append(&image, "metric.reporters", &letter.repeat(16_000));
            assert_eq!(judged.is_err(), index == 3, "{letter}");
            for record in judged.unwrap_or_default() {
                image.apply(index, &record);
            }
        }
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let refusal = set_long(&image, &long).unwrap_err();
        assert!(refusal.message.len() < 300, "{}", refusal.message);
    }

    #[test]
    fn subscriptions_to_clients_metrics_are_judged_as_kafka_does() {
        let set = |name: &str, key: &str, value: &str| {
            let changes = Changes::All(Overrides::from([(key.into(), value.into())]));
            alter(&Image::default(), &Target::ClientMetrics(name.into()), &changes)
        };
        for (key, value) in [
            ("metrics", "org.apache.kafka.producer.,*"),
            ("interval.ms", "100"),
            ("match", "client_id=a.*, client_software_version=1"),
            ("match", ""),
            // Named twice, it counts once.
            ("metrics", "a.,b.,a."),
            ("match", "client_id=a, client_id=a"),
        ] {
            assert!(set("s", key, value).is_ok(), "{key}={value}");
        }
        let refused = |name, key, value| {
            let refusal = set(name, key, value).unwrap_err();
            (refusal.code, refusal.message)
        };
        let request = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
        assert_eq!(refused("", "metrics", "a"), request("Subscription name can't be empty"));
        assert_eq!(refused("s", "x", "a"), request("Unknown client metrics configuration: x"));
        assert_eq!(
            refused("s", "interval.ms", "99"),
            request("Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)")
        );
        assert_eq!(refused("s", "interval.ms", "soon").0, ErrorCode::InvalidConfig);
        let numbered = |count: usize| {
            let patterns = (0..count).map(|number| format!("client_id=a{number}"));
            patterns.collect::<Vec<_>>().join(",")
        };
        let many = numbered(client_metrics::PATTERNS_MAX + 1);
        assert!(refused("s", "match", &many).1.contains("at most"));
        let mut image = Image::default();
        let full = numbered(client_metrics::PATTERNS_MAX);
        for index in 0..4 {
            let resource = Resource::ClientMetrics(format!("other-{index}"));
            let record = Record::ConfigChanged { resource, key: "match".into(), value: Some(full.clone()) };
            image.apply(index + 1, &record);
        }
        let changes = Changes::All(Overrides::from([("match".into(), "client_id=b".into())]));
        let of = |name: &str| alter(&image, &Target::ClientMetrics(name.into()), &changes);
        assert_eq!(
            of("s").unwrap_err().code,
            ErrorCode::PolicyViolation,
            "all together have as many as they may"
        );
        assert!(of("other-1").is_ok());
        for pattern in ["client_id", "client_id=", "x=a", "client_id=a=b", "client_id=("] {
            let why = (ErrorCode::InvalidConfig, format!("Illegal client matching pattern: {pattern}"));
            assert_eq!(refused("s", "match", pattern), why);
        }
    }

    #[test]
    fn nobody_is_locked_out_for_good() {
        let set = |value: &str| {
            let changes = Changes::All(Overrides::from([("max.connections.per.ip".into(), value.into())]));
            alter(&Image::default(), &Target::Brokers, &changes)
        };
        assert!(set("1").is_ok());
        assert!(set("0").unwrap_err().message.contains("can be set to zero only if"));
    }
}
