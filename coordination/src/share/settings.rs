//! What share partitions obey: the group's settings over those of the broker.

use super::reset::AutoOffsetReset;
use crate::group::Bounded;
use crate::metadata::image::Image;

/// What a share partition obeys, with Kafka's names and defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareSettings {
    /// `share.delivery.count.limit`, 5: a record delivered so often is archived when it comes back.
    pub delivery_count_limit: u16,
    /// `share.partition.max.record.locks`, 2000: records in flight, above which nothing new is handed out.
    pub record_locks_max: u32,
    /// `share.record.lock.duration.ms`, 30000.
    pub lock_duration_ms: u32,
    /// `share.renew.acknowledge.enable`, true.
    pub renew_enabled: bool,
}

impl Default for ShareSettings {
    fn default() -> Self {
        Self {
            delivery_count_limit: 5,
            record_locks_max: 2000,
            lock_duration_ms: 30_000,
            renew_enabled: true,
        }
    }
}

impl ShareSettings {
    /// Of a group: as it says, within the bounds of the broker; else the broker's own.
    #[must_use]
    pub fn of(image: &Image, group: &str) -> Self {
        let default = Self::default();
        let number = |name: &str, fallback: u32| {
            let broker = |kind: &str| {
                let value = image.broker().value(&format!("group.share.{kind}{name}"));
                value.and_then(|value| value.parse::<i32>().ok())
            };
            let fallback = i32::try_from(fallback).unwrap_or(i32::MAX);
            let value = broker("").unwrap_or(fallback);
            let (least, most) = (broker("min.").unwrap_or(value), broker("max.").unwrap_or(value));
            let number = Bounded { value, least, most }.of(image, group, &format!("share.{name}"));
            u32::try_from(number).unwrap_or(0)
        };
        let limit = number("delivery.count.limit", u32::from(default.delivery_count_limit));
        Self {
            delivery_count_limit: u16::try_from(limit).unwrap_or(u16::MAX),
            record_locks_max: number("partition.max.record.locks", default.record_locks_max),
            lock_duration_ms: number("record.lock.duration.ms", default.lock_duration_ms),
            renew_enabled: image
                .group(group)
                .get("share.renew.acknowledge.enable")
                .map_or(default.renew_enabled, |value| value != "false"),
        }
    }
}

impl AutoOffsetReset {
    /// Of a group: `share.auto.offset.reset`, latest.
    #[must_use]
    pub fn of(image: &Image, group: &str) -> Self {
        let said = image.group(group).get("share.auto.offset.reset");
        said.and_then(|value| Self::parse(value)).unwrap_or(Self::Latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::broker_config::BrokerConfig;

    #[test]
    fn without_any_they_are_kafkas_own() {
        assert_eq!(ShareSettings::of(&Image::default(), "g"), ShareSettings::default());
        assert_eq!(ShareSettings::of(&Image::new(BrokerConfig::default()), "g"), ShareSettings::default());
        assert_eq!(AutoOffsetReset::of(&Image::default(), "g"), AutoOffsetReset::Latest);
    }
}
