//! The settings of a group, which need not exist.

use coordination::metadata::Image;
use coordination::metadata::broker_config::{Source, Synonym};
use coordination::settings::{Setting, group};
use protocol::control::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::Asked;

pub(super) fn described(image: &Image, name: &str, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let set = image.group(name);
    let told = |setting: &'static Setting| {
        let on_group =
            set.get(setting.name).map(|value| Synonym { name: setting.name, value, source: Source::Group });
        let mut synonyms: Vec<Synonym<'_>> = on_group.into_iter().collect();
        match (setting.broker.first(), setting.default) {
            (Some(name), _) => synonyms.extend(image.broker().synonyms(name)),
            (None, Some(value)) => {
                synonyms.push(Synonym { name: setting.name, value, source: Source::Default });
            }
            (None, None) => {}
        }
        asked.told(setting, synonyms.first().map(|synonym| synonym.value), &synonyms)
    };
    group::ROWS.iter().filter(|setting| asked.wants(setting.name)).map(told).collect()
}
