//! Every setting of Kafka 4.3.1, and ours: one row each, in tables by area. What a configuration file may say, what
//! DescribeConfigs tells, what may be altered and the lists of `docs/compatibility.md` all come from these rows.

pub mod broker;
pub mod client_metrics;
pub mod fit;
pub mod group;
mod kind;
mod reason;
pub mod topic;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use kind::Kind;

/// When a setting can be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// Only in the broker's configuration, with a start.
    Start,
    /// While it runs, for one broker at a time.
    Broker,
    /// While it runs, for one broker or for all.
    Cluster,
}

/// What a setting does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is obeyed.
    Obeyed,
    /// It is the default of a topic's setting, which says what it does.
    Topics,
    /// It is taken and told, and changes nothing, for this reason.
    Kept(&'static str),
    /// Only these values are taken; another is refused, for this reason.
    Only(&'static [&'static str], &'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Value where nobody set it; `None` is null.
    pub default: Option<&'static str>,
    /// When it can be changed. Settings of topics and groups: always.
    pub update: Update,
    /// What it does here.
    pub effect: Effect,
    /// One sentence on what it means in Kafka.
    pub about: &'static str,
    /// Names of a topic's or group's setting on the broker, the one that wins first.
    pub broker: &'static [&'static str],
    /// Listed only where somebody set it.
    pub hidden: bool,
}

impl Setting {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        update: Update,
        effect: Effect,
        about: &'static str,
    ) -> Self {
        Self { name, kind, default, update, effect, about, broker: &[], hidden: false }
    }

    /// What it does here, followed to the topic's setting.
    #[must_use]
    pub fn in_effect(&self) -> Effect {
        match self.effect {
            Effect::Topics => topic::by_broker_name(self.name).map_or(self.effect, |topic| topic.effect),
            effect => effect,
        }
    }

    /// What DescribeConfigs says about it.
    #[must_use]
    pub fn documentation(&self) -> &'static str {
        // Made once: an answer may tell thousands of them.
        static ALL: LazyLock<BTreeMap<(&str, &str), String>> = LazyLock::new(|| {
            let rows = topic::ROWS.iter().chain(group::ROWS).chain(client_metrics::ROWS).chain(broker::all());
            rows.map(|row| ((row.name, row.about), row.sentences())).collect()
        });
        ALL.get(&(self.name, self.about)).map_or(self.about, String::as_str)
    }

    fn sentences(&self) -> String {
        match self.in_effect() {
            Effect::Kept(why) => format!("{} Without effect here: {why}.", self.about),
            Effect::Only(words, why) => {
                let only = if words.join("").is_empty() { "nothing".to_owned() } else { words.join(", ") };
                format!("{} Here it can only be {}: {why}.", self.about, only.trim_end_matches([',', ' ']))
            }
            Effect::Obeyed | Effect::Topics => self.about.to_owned(),
        }
    }

    /// A value as Kafka would tell it: of the type, and in the range.
    ///
    /// # Errors
    /// Kafka's sentence for people.
    pub fn parse(&self, value: &str) -> Result<String, String> {
        self.kind.take(self.name, value)
    }

    /// A value as it is kept: of the type, in the range, and asking for nothing that is not implemented.
    ///
    /// # Errors
    /// A sentence for people, Kafka's where Kafka would refuse it too.
    pub fn take(&self, value: &str) -> Result<String, String> {
        let taken = self.parse(value)?;
        match self.in_effect() {
            Effect::Only(allowed, why) if !self.kind.words(&taken).all(|word| allowed.contains(&word)) => {
                let (name, can) = (self.name, allowed.first().copied().unwrap_or_default());
                let can = if can.is_empty() { "empty" } else { can };
                Err(format!("{name}={taken} is not implemented by this broker; it can only be {can}: {why}"))
            }
            _ => Ok(taken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row there is.
    fn all() -> impl Iterator<Item = &'static Setting> {
        topic::ROWS.iter().chain(group::ROWS).chain(client_metrics::ROWS).chain(broker::all())
    }

    #[test]
    fn every_default_is_a_value_of_its_setting() {
        for setting in all() {
            if let Some(default) = setting.default {
                assert_eq!(setting.take(default).as_deref(), Ok(default), "{}", setting.name);
            }
        }
    }

    #[test]
    fn sentences_are_sentences() {
        for setting in all() {
            let told = setting.documentation();
            assert!(told.ends_with('.') && !told.contains(".."), "{}: {told}", setting.name);
            assert!(told.starts_with(|first: char| first.is_uppercase()), "{}: {told}", setting.name);
        }
    }

    #[test]
    fn what_is_not_implemented_is_refused_with_the_reason() {
        let refused = |setting: &Setting, value: &str| setting.take(value).unwrap_err();
        let policy = topic::named("cleanup.policy").unwrap();
        assert_eq!(policy.take("compact,delete").as_deref(), Ok("compact,delete"));
        assert_eq!(policy.take("").as_deref(), Ok(""), "keep for ever");
        let tiered = topic::named("remote.storage.enable").unwrap();
        assert!(refused(tiered, "true").contains("it can only be false: tiered storage"));
        let authorizer = broker::named("authorizer.class.name").unwrap();
        assert!(refused(authorizer, "x.Y").contains("access control is not there yet"));
        assert!(authorizer.documentation().contains("can only be nothing"));
    }
}
