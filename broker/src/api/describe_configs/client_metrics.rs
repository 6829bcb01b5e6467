//! The settings of a subscription to clients' metrics, which need not exist.

use coordination::metadata::Image;
use coordination::metadata::broker_config::{Source, Synonym};
use coordination::settings::{Setting, client_metrics};
use protocol::control::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::Asked;

pub(super) fn described(image: &Image, name: &str, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let set = image.client_metrics(name);
    let told = |setting: &'static Setting| {
        let chosen = set.get(setting.name).map(String::as_str);
        // The default is told as a value and not as a synonym, as in Kafka.
        let synonym =
            chosen.map(|value| Synonym { name: setting.name, value, source: Source::ClientMetrics });
        asked.told(setting, chosen.or(setting.default), synonym.as_slice())
    };
    client_metrics::ROWS.iter().filter(|setting| asked.wants(setting.name)).map(told).collect()
}
