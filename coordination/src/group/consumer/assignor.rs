//! How the partitions of a group are shared out: pure functions of who subscribes to what and who was to have what.
//!
//! Both assignors keep as much of the last target as their rule allows. Racks are part of the input, as in Kafka; like
//! Kafka's own neither assignor uses them: there is one broker, and every partition is in every rack or in none.

mod range;
mod uniform;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicId;

use super::partitions::Partitions;

/// What an assignor works with.
#[derive(Clone, Debug, Default)]
pub struct Spec<'a> {
    /// Every member, by id.
    pub members: BTreeMap<Arc<str>, MemberSpec<'a>>,
    /// Topics that somebody subscribes to and that are there, with how many partitions they have: at least one.
    pub topics: BTreeMap<TopicId, i32>,
}

/// One member as an assignor sees it.
#[derive(Clone, Debug)]
pub struct MemberSpec<'a> {
    /// Its instance id, when static.
    pub instance_id: Option<&'a str>,
    /// Where it is.
    pub rack_id: Option<&'a str>,
    /// What it subscribes to: topics of [`Spec::topics`], in order, each once.
    pub topics: Arc<[TopicId]>,
    /// Its last target; anything may be in it.
    pub last: &'a Partitions,
}

/// The targets of members; one without partitions may be missing.
pub type Targets = BTreeMap<Arc<str>, Partitions>;

/// An assignor of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    /// Everybody gets as many partitions as the others.
    Uniform,
    /// The same partitions of all topics go to the same member.
    Range,
}

impl Assignor {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// By Kafka's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Shares out every partition of every topic that a member subscribes to, each to one member that does.
    #[must_use]
    pub fn assign(self, spec: &Spec<'_>) -> Targets {
        match self {
            Self::Uniform => uniform::assign(spec),
            Self::Range => range::assign(spec),
        }
    }
}

/// What of a member's last target it may keep: partitions that are there, of topics it subscribes to.
fn sticky<'a>(member: &'a MemberSpec<'_>, spec: &'a Spec<'_>) -> impl Iterator<Item = (TopicId, i32)> + 'a {
    let topics = member.topics.iter().filter_map(move |topic| Some((*topic, member.last.get(topic)?)));
    topics.flat_map(move |(topic, last)| {
        let count = spec.topics.get(&topic).copied().unwrap_or(0);
        last.range(0..count.max(0)).map(move |&partition| (topic, partition))
    })
}
