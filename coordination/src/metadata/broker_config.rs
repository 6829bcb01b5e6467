//! The configuration of brokers in its layers: what a broker was started with, what was altered for all brokers, and what
//! was altered for one. The last wins.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::BrokerId;

use super::configs::Overrides;
use crate::settings::broker;

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Altered for this broker.
    Broker,
    /// Altered for all brokers.
    Brokers,
    /// In the broker's configuration file or command line.
    Started,
    /// Nobody set it.
    Default,
    /// Set on the group.
    Group,
    /// Set on the subscription to clients' metrics.
    ClientMetrics,
}

/// A place where a setting has a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym<'a> {
    /// Kafka's name of the setting, as it is set there.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
    /// Who set it.
    pub source: Source,
}

/// What brokers are configured with, as seen by one of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerConfig {
    node: BrokerId,
    started: Arc<Overrides>,
    brokers: Overrides,
    broker: BTreeMap<i32, Overrides>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self::new(BrokerId(0), Overrides::new())
    }
}

impl BrokerConfig {
    /// Of broker `node`, which was started with `started`: each value checked by the setting's row.
    #[must_use]
    pub fn new(node: BrokerId, started: Overrides) -> Self {
        Self { node, started: Arc::new(started), brokers: Overrides::new(), broker: BTreeMap::new() }
    }

    /// What this broker was started with.
    #[must_use]
    pub fn started(&self) -> &Overrides {
        &self.started
    }

    /// What was altered: for one broker, or for all.
    #[must_use]
    pub fn altered(&self, of: Option<BrokerId>) -> &Overrides {
        static NOTHING: Overrides = Overrides::new();
        match of {
            None => &self.brokers,
            Some(node) => self.broker.get(&node.0).unwrap_or(&NOTHING),
        }
    }

    /// Everything that was altered for single brokers.
    pub(super) fn of_single_brokers(&self) -> impl Iterator<Item = (BrokerId, &Overrides)> {
        self.broker.iter().map(|(node, altered)| (BrokerId(*node), altered))
    }

    pub(super) fn change(&mut self, of: Option<BrokerId>, key: &str, value: Option<&String>) {
        let layer = match of {
            None => &mut self.brokers,
            Some(node) => self.broker.entry(node.0).or_default(),
        };
        match value {
            Some(value) => layer.insert(key.to_owned(), value.clone()),
            None => layer.remove(key),
        };
        self.broker.retain(|_, altered| !altered.is_empty());
    }

    fn layers(&self) -> [(&Overrides, Source); 3] {
        [
            (self.altered(Some(self.node)), Source::Broker),
            (&self.brokers, Source::Brokers),
            (&self.started, Source::Started),
        ]
    }

    /// What the setting of exactly this name is set to, if it is.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<(&str, Source)> {
        self.layers().into_iter().find_map(|(layer, source)| Some((layer.get(name)?.as_str(), source)))
    }

    /// What the setting of exactly this name is: as set, else its default.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let default = || broker::named(name).and_then(|setting| setting.default);
        self.set(name).map(|(value, _)| value).or_else(default)
    }

    /// A number that was checked when it was set; `fallback` where it is none.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, fallback: T) -> T {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(fallback)
    }

    /// Everywhere a setting has a value, the one in force first, in Kafka's order: by who set it, then by name. As in
    /// Kafka, names that stand before `name` itself are left out: `log.retention.hours` is a synonym of
    /// `log.retention.ms` only where the latter is set too.
    pub fn synonyms<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Synonym<'a>> {
        let names = broker::synonyms(name);
        let mut all = Vec::new();
        for (layer, source) in self.layers() {
            let set =
                names.iter().filter_map(|&name| Some(Synonym { name, value: layer.get(name)?, source }));
            all.extend(set);
        }
        all.extend(names.iter().filter_map(|&name| {
            let value = broker::named(name)?.default?;
            Some(Synonym { name, value, source: Source::Default })
        }));
        all.into_iter().skip_while(move |synonym| synonym.name != name)
    }
}

/// What the settings of a broker mean that may change while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokerSettings {
    /// `max.connections`: connections at a time.
    pub connections_max: u32,
    /// `max.connections.per.ip`: connections at a time from one address.
    pub connections_per_ip_max: u32,
    /// `producer.id.expiration.ms`: a producer that was silent for this long is forgotten.
    pub producer_expiration_ms: u64,
    /// `log.cleaner.enable`: whether logs are compacted at all.
    pub compacts: bool,
    /// `log.cleaner.backoff.ms`: how long compaction rests when there is nothing to do.
    pub compaction_rest_ms: u64,
    /// `log.cleaner.io.max.bytes.per.second`: what all cores together may read and write for it.
    pub compaction_bytes_per_second: u64,
}

impl BrokerSettings {
    /// What `config` means.
    #[must_use]
    pub fn of(config: &BrokerConfig) -> Self {
        let connections = |name| match config.number(name, i32::MAX) {
            // Kafka's way to say that there is no limit.
            i32::MAX => u32::MAX,
            number => number.unsigned_abs(),
        };
        Self {
            connections_max: connections("max.connections"),
            connections_per_ip_max: connections("max.connections.per.ip"),
            producer_expiration_ms: config.number("producer.id.expiration.ms", 86_400_000),
            compacts: config.value("log.cleaner.enable") != Some("false"),
            compaction_rest_ms: config.number("log.cleaner.backoff.ms", 15_000),
            compaction_bytes_per_second: whole(
                config.number("log.cleaner.io.max.bytes.per.second", f64::MAX),
            ),
        }
    }
}

/// A number of bytes: Kafka has them as fractions too, and no limit as the largest there is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit becomes the nearest that does"
)]
fn whole(number: f64) -> u64 {
    number.max(1.0) as u64
}

impl Default for BrokerSettings {
    /// Those of a broker nobody configured.
    fn default() -> Self {
        Self::of(&BrokerConfig::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Option<BrokerId> = Some(BrokerId(1));

    fn config(started: &[(&str, &str)]) -> BrokerConfig {
        let started = started.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BrokerConfig::new(BrokerId(1), started.collect())
    }

    fn told(config: &BrokerConfig, name: &str) -> Vec<String> {
        config.synonyms(name).map(|one| format!("{}={} {:?}", one.name, one.value, one.source)).collect()
    }

    /// As Apache Kafka 4.3.1 answered in the same steps.
    #[test]
    fn synonyms_come_in_kafkas_order() {
        let mut config =
            config(&[("log.retention.hours", "2"), ("log.roll.hours", "3"), ("log.roll.ms", "5000000")]);
        assert_eq!(told(&config, "log.retention.ms"), [""; 0]);
        assert_eq!(
            told(&config, "log.retention.hours"),
            ["log.retention.hours=2 Started", "log.retention.hours=168 Default"]
        );
        let roll = ["log.roll.ms=5000000 Started", "log.roll.hours=3 Started", "log.roll.hours=168 Default"];
        assert_eq!(told(&config, "log.roll.ms"), roll);
        config.change(NODE, "log.retention.ms", Some(&"500000".to_owned()));
        config.change(None, "log.retention.ms", Some(&"400000".to_owned()));
        config.change(Some(BrokerId(2)), "log.retention.ms", Some(&"1".to_owned()));
        assert_eq!(
            told(&config, "log.retention.ms"),
            [
                "log.retention.ms=500000 Broker",
                "log.retention.ms=400000 Brokers",
                "log.retention.hours=2 Started",
                "log.retention.hours=168 Default"
            ]
        );
        assert_eq!(
            told(&config, "log.retention.hours"),
            ["log.retention.hours=2 Started", "log.retention.hours=168 Default"]
        );
        config.change(NODE, "log.retention.ms", None);
        assert_eq!(config.set("log.retention.ms"), Some(("400000", Source::Brokers)));
        config.change(None, "log.retention.ms", None);
        assert_eq!((config.set("log.retention.ms"), config.value("log.retention.ms")), (None, None));
        assert_eq!(config.value("log.segment.bytes"), Some("1073741824"));
    }
}
