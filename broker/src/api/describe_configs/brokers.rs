//! The settings of this broker, and those of all brokers.

use std::borrow::Cow;
use std::collections::BTreeSet;

use coordination::metadata::broker_config::{Source, Synonym};
use coordination::metadata::{BrokerConfig, Image};
use coordination::settings::{Setting, Update, broker};
use protocol::control::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::{Text, message};

use super::{Asked, number, type_number};
use crate::config::keys::is_told;
use crate::service::ServiceSettings;

/// Every setting of this broker that `asked` wants, by name: all that are listed, and what else was set.
pub(super) fn described(
    settings: &ServiceSettings,
    image: &Image,
    asked: &Asked<'_>,
) -> Vec<DescribeConfigsResourceResult> {
    let config = image.broker();
    let listed =
        |name: &str| broker::named(name).is_some_and(|setting| !setting.hidden) || config.set(name).is_some();
    // A request may name single settings of one broker over and over: each costs as much as it names.
    let mut names: BTreeSet<&str> = asked.names.iter().copied().filter(|name| listed(name)).collect();
    if asked.names.is_empty() {
        names.extend(broker::all().filter(|setting| !setting.hidden).map(|setting| setting.name));
        for set in [config.started(), config.altered(None), config.altered(Some(settings.node))] {
            names.extend(set.keys().map(String::as_str));
        }
    }
    let told = |name: &str| match broker::named(name) {
        Some(setting) => described_known(settings, config, setting, asked),
        None => described_unknown(config, name, asked, |_| true),
    };
    names.into_iter().map(told).collect()
}

/// What was altered for all brokers, as far as `asked` wants it.
pub(super) fn described_default(image: &Image, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let config = image.broker();
    let of_all = |synonym: &Synonym<'_>| synonym.source == Source::Brokers;
    let altered = config.altered(None).iter().filter(|(name, _)| asked.wants(name));
    let told = |(name, value): (&String, &String)| match broker::named(name) {
        Some(setting) => {
            let synonyms: Vec<_> = config.synonyms(name).filter(of_all).collect();
            asked.told(setting, Some(value), &synonyms)
        }
        None => described_unknown(config, name, asked, of_all),
    };
    altered.map(told).collect()
}

fn described_known(
    settings: &ServiceSettings,
    config: &BrokerConfig,
    setting: &Setting,
    asked: &Asked<'_>,
) -> DescribeConfigsResourceResult {
    let synonyms: Vec<_> = config.synonyms(setting.name).collect();
    let value = match setting.name {
        // Whatever was written: the data directory knows, and what is listened on completes the other.
        "node.id" | "broker.id" => Some(Cow::Owned(settings.node.0.to_string())),
        "advertised.listeners" => Some(Cow::Owned(advertised(&settings.host, settings.port))),
        name => config.value(name).map(Cow::Borrowed),
    };
    let mut told = asked.told(setting, value.as_deref(), &synonyms);
    told.read_only = setting.update == Update::Start;
    told
}

/// A key that is in no table: one of a listener, whose base may be, or of a plug-in's and perhaps a secret.
fn described_unknown(
    config: &BrokerConfig,
    name: &str,
    asked: &Asked<'_>,
    is_wanted: impl Fn(&Synonym<'_>) -> bool,
) -> DescribeConfigsResourceResult {
    let secret = !is_told(name);
    let synonyms: Vec<_> = config.synonyms(name).filter(is_wanted).collect();
    let first = synonyms.first();
    let base = broker::without_listener(name).and_then(broker::named);
    message!(DescribeConfigsResourceResult {
        name: Text::from(name),
        value: first.filter(|_| !secret).map(|synonym| Text::from(synonym.value)),
        read_only: true,
        config_source: number(first.map_or(Source::Default, |synonym| synonym.source)),
        is_sensitive: secret,
        synonyms: asked.synonyms(&synonyms, secret),
        config_type: base.map_or(0, |setting| type_number(setting.kind)),
    })
}

fn advertised(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("PLAINTEXT://[{host}]:{port}")
    } else {
        format!("PLAINTEXT://{host}:{port}")
    }
}
