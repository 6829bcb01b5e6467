//! What subscriptions, as an administrator wrote them, ask of one client.

use std::collections::{BTreeMap, BTreeSet};

use regex::bytes::Regex;

use super::Client;
use crate::metadata::Overrides;
use crate::metadata::image::Named;
use crate::settings::client_metrics::{INTERVAL, INTERVAL_MS_DEFAULT, MATCH, MATCHED, METRICS, pattern};

/// Asks for all metrics.
const ALL: &str = "*";

/// Every subscription, ready to be matched.
#[derive(Clone, Default, Debug)]
pub struct Subscriptions {
    all: Vec<Subscription>,
}

#[derive(Clone, Debug)]
struct Subscription {
    metrics: BTreeSet<String>,
    interval_ms: i32,
    /// By place in [`MATCHED`].
    patterns: BTreeMap<usize, Regex>,
}

/// What one client is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Beginnings of the names of metrics; nothing is wanted without any.
    pub metrics: BTreeSet<String>,
    /// How often it pushes.
    pub interval_ms: i32,
}

impl Subscriptions {
    /// As they are written, by name. Compiles their patterns, which may take some ms.
    #[must_use]
    pub fn of(written: &Named) -> Self {
        Self { all: written.values().map(|set| Subscription::of(set)).collect() }
    }

    /// What all that match a client ask of it together, as often as the most frequent wants it.
    #[must_use]
    pub fn wanted(&self, client: &Client) -> Wanted {
        let mut wanted = Wanted { metrics: BTreeSet::new(), interval_ms: INTERVAL_MS_DEFAULT };
        for subscription in self.all.iter().filter(|one| one.is_meant_for(client)) {
            wanted.metrics.extend(subscription.metrics.iter().cloned());
            wanted.interval_ms = wanted.interval_ms.min(subscription.interval_ms);
        }
        if wanted.metrics.contains(ALL) {
            wanted.metrics = BTreeSet::from([ALL.to_owned()]);
        }
        wanted
    }
}

impl Subscription {
    fn of(set: &Overrides) -> Self {
        let list = |name| {
            let written = set.get(name).map_or("", String::as_str);
            written.split(',').map(str::trim).filter(|word| !word.is_empty())
        };
        // Of several patterns for the same thing the last holds, as in Kafka.
        let patterns = list(MATCH).filter_map(|pair| {
            let (name, text) = pair.split_once('=')?;
            let place = MATCHED.iter().position(|known| *known == name.trim())?;
            Some((place, pattern(text)?))
        });
        Self {
            metrics: list(METRICS).map(str::to_owned).collect(),
            interval_ms: set.get(INTERVAL).and_then(|ms| ms.parse().ok()).unwrap_or(INTERVAL_MS_DEFAULT),
            patterns: patterns.collect(),
        }
    }

    fn is_meant_for(&self, client: &Client) -> bool {
        self.patterns.iter().all(|(place, pattern)| pattern.is_match(client.known_by(*place).as_bytes()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metadata::delta::Resource;
    use crate::metadata::{Image, Record};

    pub(in crate::telemetry) fn client(id: &str) -> Client {
        Client {
            instance: [7; 16],
            instance_text: "BwcHBwcHBwcHBwcHBwcHBw".into(),
            id: id.into(),
            software_name: "apache-kafka-java".into(),
            software_version: "4.3.1".into(),
            address: "10.0.0.9".into(),
            port: "4711".into(),
        }
    }

    pub(in crate::telemetry) fn image(subscriptions: &[(&str, &str, &str)]) -> Image {
        let mut image = Image::default();
        for (index, (name, key, value)) in subscriptions.iter().enumerate() {
            let record = Record::ConfigChanged {
                resource: Resource::ClientMetrics((*name).to_owned()),
                key: (*key).to_owned(),
                value: Some((*value).to_owned()),
            };
            image.apply(index as u64 + 1, &record);
        }
        image
    }

    fn wanted(subscriptions: &[(&str, &str, &str)], client: &Client) -> (Vec<String>, i32) {
        let wanted = Subscriptions::of(image(subscriptions).all_client_metrics()).wanted(client);
        (wanted.metrics.into_iter().collect(), wanted.interval_ms)
    }

    #[test]
    fn what_matches_is_joined() {
        let all = [
            ("a", "metrics", "org.apache.kafka.producer., org.apache.kafka.consumer."),
            ("a", "interval.ms", "60000"),
            ("a", "match", "client_id=app-.*,client_source_port=[0-9]+"),
            ("b", "metrics", "org.apache.kafka.consumer."),
            ("b", "interval.ms", "1000"),
            ("b", "match", "client_software_name=librdkafka"),
            ("c", "interval.ms", "90000"),
        ];
        let both = ["org.apache.kafka.consumer.", "org.apache.kafka.producer."];
        assert_eq!(wanted(&all, &client("app-1")), (both.map(str::to_owned).to_vec(), 60_000));
        assert_eq!(wanted(&all, &client("my-app-1")), (vec![], 90_000), "the whole of it has to match");
        let other = Client { software_name: "librdkafka".into(), ..client("x") };
        assert_eq!(wanted(&all, &other), (vec![both[0].to_owned()], 1000));
        assert_eq!(wanted(&[], &client("app-1")), (vec![], INTERVAL_MS_DEFAULT));
    }

    #[test]
    fn all_metrics_leave_no_others_to_name() {
        let all = [("a", "metrics", "org.apache."), ("b", "metrics", "*,x"), ("c", "metrics", "y")];
        assert_eq!(wanted(&all, &client("app")), (vec!["*".to_owned()], INTERVAL_MS_DEFAULT));
    }

    #[test]
    fn the_last_pattern_of_a_kind_holds() {
        let metrics = ("a", "metrics", "x.,y.,x.");
        for (matches, meant) in [
            ("client_id=app,client_id=app", true),
            ("client_id=no,client_id=app", true),
            ("client_id=app,client_id=no", false),
        ] {
            let wanted = wanted(&[metrics, ("a", "match", matches)], &client("app")).0;
            assert_eq!(wanted.len(), if meant { 2 } else { 0 }, "{matches}");
        }
    }

    #[test]
    fn a_client_can_be_chosen_by_everything_that_it_is_known_by() {
        for (name, text) in
            MATCHED.iter().zip(["BwcH.*", "app", "apache-kafka-java", "4[.]3[.]1", "10[.]0[.]0[.]9", "4711"])
        {
            let matches = [("a", "metrics", "*"), ("a", "match", &format!("{name}={text}"))];
            assert_eq!(wanted(&matches, &client("app")).0.len(), 1, "{name}");
            let differs = [("a", "metrics", "*"), ("a", "match", &format!("{name}=no"))];
            assert_eq!(wanted(&differs, &client("app")).0.len(), 0, "{name}");
        }
    }
}
