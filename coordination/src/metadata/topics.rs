//! Judging what clients want of topics: from a wish and the image it meets to records, or a refusal. Changes nothing.

use std::collections::BTreeSet;

use model::limits::{PARTITIONS_CREATED_MAX, PARTITIONS_MAX};
use model::{BrokerId, ErrorCode, TopicId};

use super::configs::{self, Overrides};
use super::delta::Record;
use super::image::{Image, Topic};
use super::placement::{self, Assignment};

/// Bytes of a topic's name, as in Kafka.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Why a wish is not granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For the client program.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// With this code and sentence.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A topic to be, as a client describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// How many partitions; -1 for the broker's default or when `assignment` says.
    pub partitions: i32,
    /// How many replicas; -1 for the broker's default or when `assignment` says.
    pub replication_factor: i16,
    /// Partitions and their replicas as they were given, or nothing.
    pub assignment: Option<Vec<(i32, Vec<BrokerId>)>>,
    /// Settings, unchecked.
    pub configs: Overrides,
    /// Settings that were given without a value.
    pub unset: Vec<String>,
}

impl NewTopic {
    /// As the broker makes topics that say nothing.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignment: None,
            configs: Overrides::new(),
            unset: Vec::new(),
        }
    }
}

/// A topic as a client names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

impl TopicRef {
    /// The topic it means.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `UNKNOWN_TOPIC_ID`.
    pub fn resolve<'i>(&self, image: &'i Image) -> Result<&'i Topic, Refusal> {
        let (found, code, what) = match self {
            Self::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition, "topic-partition"),
            Self::Id(id) => (image.topic_by_id(*id), ErrorCode::UnknownTopicId, "topic ID"),
        };
        let refusal = || Refusal::new(code, format!("This server does not host this {what}."));
        found.map(AsRef::as_ref).ok_or_else(refusal)
    }
}

/// More partitions for a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MorePartitions {
    /// Its name.
    pub topic: String,
    /// How many it shall have.
    pub count: i32,
    /// Replicas of the new ones, or nothing.
    pub assignment: Option<Assignment>,
}

/// What judging needs beside the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// This broker.
    pub node: BrokerId,
    /// Partitions of a topic that does not say.
    pub partitions_default: u32,
}

/// Whether Kafka allows this name.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION` with the rule it breaks.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let rule = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        // Kafka counts as Java does; names that are legal have one byte a character.
        _ if name.encode_utf16().count() > TOPIC_NAME_BYTES_MAX => {
            let name = readable(name);
            format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
        }
        _ if !name.bytes().all(legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {rule}")))
}

/// As much of a name as anybody reads: a client may send 32,767 bytes, and an answer has no room for more than that.
fn readable(name: &str) -> &str {
    const CHARACTERS_MAX: usize = 1000;
    name.char_indices().nth(CHARACTERS_MAX).map_or(name, |(end, _)| &name[..end])
}

/// The topic that keeps groups and committed offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Where share coordinators keep the state of share partitions.
pub const SHARE_STATE_TOPIC: &str = "__share_group_state";

/// Whether a topic is the broker's own: clients read it, and only administrators' clients write to it.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | "__transaction_state" | SHARE_STATE_TOPIC)
}

/// Judges one creation in a request that has created `created` partitions so far; the id is the topic's if granted.
///
/// # Errors
/// With Kafka's code for the first rule that is broken, in the order of `ReplicationControlManager.createTopics`.
pub fn create(
    image: &Image,
    policy: Policy,
    wanted: &NewTopic,
    created: u32,
    id: TopicId,
) -> Result<Record, Refusal> {
    check_name(&wanted.name)?;
    if image.topic(&wanted.name).is_some() {
        let text = format!("Topic '{}' already exists.", wanted.name);
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
    }
    check_collision(image, &wanted.name)?;
    if !wanted.unset.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", wanted.unset.join(","));
        return Err(Refusal::new(ErrorCode::InvalidConfig, text));
    }
    let configs = configs::take_overrides(image.defaults(), &wanted.configs)
        .map_err(|why| Refusal::new(ErrorCode::InvalidConfig, why))?;
    let partitions = partitions_of(policy, wanted)?;
    check_room(image, created, partitions)?;
    Ok(Record::TopicCreated { id, name: wanted.name.clone(), partitions, configs })
}

/// Metric names turn '.' into '_', so Kafka refuses two names that would then be one.
fn check_collision(image: &Image, name: &str) -> Result<(), Refusal> {
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    let folded = |name: &str| name.replace('.', "_");
    let mine = folded(name);
    match image.topics().find(|topic| topic.name.len() == name.len() && folded(&topic.name) == mine) {
        None => Ok(()),
        Some(other) => {
            let text = format!("Topic '{name}' collides with existing topic: {}", other.name);
            Err(Refusal::new(ErrorCode::InvalidTopicException, text))
        }
    }
}

fn partitions_of(policy: Policy, wanted: &NewTopic) -> Result<u32, Refusal> {
    if let Some(assignment) = &wanted.assignment {
        let extra = match (wanted.replication_factor, wanted.partitions) {
            (-1, -1) => None,
            (-1, _) => Some("numPartitions"),
            _ => Some("replication factor"),
        };
        if let Some(extra) = extra {
            let text = format!("A manual partition assignment was specified, but {extra} was not set to -1.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, text));
        }
        return assigned(policy, assignment);
    }
    placement::check_factor(wanted.replication_factor)?;
    let partitions = match wanted.partitions {
        -1 => policy.partitions_default,
        count => u32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
            let text = "Number of partitions was set to an invalid non-positive value.";
            Refusal::new(ErrorCode::InvalidPartitions, text)
        })?,
    };
    placement::check_reach(wanted.replication_factor)?;
    Ok(partitions)
}

/// How many partitions an assignment makes.
fn assigned(policy: Policy, assignment: &[(i32, Vec<BrokerId>)]) -> Result<u32, Refusal> {
    let refuse = |text| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    let mut indexes = BTreeSet::new();
    for (index, replicas) in assignment {
        if !indexes.insert(*index) {
            return refuse(format!("Found multiple manual partition assignments for partition {index}"));
        }
        placement::check_replicas(policy.node, replicas)?;
    }
    if (0..).zip(&indexes).any(|(wanted, index)| wanted != *index) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    match u32::try_from(indexes.len()) {
        Ok(count) if count > 0 => Ok(count),
        _ => refuse("No partitions were assigned".to_owned()),
    }
}

fn check_room(image: &Image, created: u32, more: u32) -> Result<(), Refusal> {
    if created.saturating_add(more) > PARTITIONS_CREATED_MAX {
        let text =
            format!("A request may create at most {PARTITIONS_CREATED_MAX} partitions; this wants more");
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    let total = image.partitions() + u64::from(more);
    if total > PARTITIONS_MAX {
        let text = format!("This would make {total} partitions; this cluster holds at most {PARTITIONS_MAX}");
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    Ok(())
}

/// Judges a growth in a request that has created `created` partitions so far.
///
/// # Errors
/// With Kafka's code for the first rule that is broken.
pub fn grow(
    image: &Image,
    policy: Policy,
    wanted: &MorePartitions,
    created: u32,
) -> Result<(Record, u32), Refusal> {
    let topic = TopicRef::Name(wanted.topic.clone()).resolve(image)?;
    let now = topic.partitions;
    let more = match u32::try_from(wanted.count).ok().and_then(|count| count.checked_sub(now)) {
        Some(more) if more > 0 => more,
        Some(_) => {
            let text = format!("Topic already has {now} partition(s).");
            return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
        }
        None => {
            let (name, count) = (&wanted.topic, wanted.count);
            let text = format!(
                "The topic {name} currently has {now} partition(s); {count} would not be an increase."
            );
            return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
        }
    };
    if let Some(assignment) = &wanted.assignment {
        if u32::try_from(assignment.len()) != Ok(more) {
            let given = assignment.len();
            let text = format!(
                "Attempted to add {more} additional partition(s), but only {given} assignment(s) were specified."
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        placement::check_assignment(policy.node, assignment)?;
    }
    check_room(image, created, more)?;
    Ok((Record::PartitionsAdded { id: topic.id, partitions: now + more }, more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        for good in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert_eq!(check_name(bad).unwrap_err().code, ErrorCode::InvalidTopicException, "{bad}");
        }
    }

    /// With two rules broken, the first in Kafka's order is told.
    #[test]
    fn rules_are_judged_in_kafkas_order() {
        let image = Image::default();
        let policy = Policy { node: BrokerId(1), partitions_default: 1 };
        let why = |topic: NewTopic| {
            let refusal = create(&image, policy, &topic, 0, TopicId([1; 16])).unwrap_err();
            (refusal.code, refusal.message)
        };
        let code = |topic: NewTopic| why(topic).0;
        let wrong = Overrides::from([("retention.ms".into(), "x".into())]);
        let topic = || NewTopic {
            configs: wrong.clone(),
            partitions: 0,
            replication_factor: 3,
            ..NewTopic::new("t")
        };
        assert_eq!(code(NewTopic { name: "a b".into(), ..topic() }), ErrorCode::InvalidTopicException);
        let unset = vec!["a".to_owned(), "b".to_owned()];
        assert!(why(NewTopic { unset, ..topic() }).1.ends_with("for topic configs: a,b"));
        assert_eq!(code(topic()), ErrorCode::InvalidConfig);
        let sound = || NewTopic { configs: Overrides::new(), ..topic() };
        assert_eq!(code(sound()), ErrorCode::InvalidPartitions);
        assert_eq!(code(NewTopic { replication_factor: 0, ..sound() }), ErrorCode::InvalidReplicationFactor);
        assert_eq!(code(NewTopic { partitions: 1, ..sound() }), ErrorCode::InvalidReplicationFactor);
        let by_hand = |given: &[(i32, i32)]| {
            let given = given.iter().map(|(index, broker)| (*index, vec![BrokerId(*broker)])).collect();
            why(NewTopic { assignment: Some(given), ..NewTopic::new("t") }).1
        };
        assert_eq!(by_hand(&[(0, 1), (0, 2)]), "Found multiple manual partition assignments for partition 0");
        assert!(by_hand(&[(5, 1), (0, 2)]).contains("broker 2"));
        assert!(by_hand(&[(1, 1), (2, 1)]).contains("consecutive 0-based"));
    }
}
