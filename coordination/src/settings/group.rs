//! The settings of groups, and the bounds that the broker sets them. Those of streams groups have no effect before
//! these are there: they are judged, kept and told.

use super::Kind::{Boolean, Choice, Int, OffsetReset};
use super::reason::STREAMS_GROUPS;
use super::{Effect, Kind, Setting, Update};

const MAX: i32 = i32::MAX;

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker: &'static [&'static str],
    why: &'static str,
    about: &'static str,
) -> Setting {
    let row = Setting::new(name, kind, Some(default), Update::Cluster, Effect::Kept(why), about);
    Setting { broker, ..row }
}

const fn obeyed(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker: &'static [&'static str],
    about: &'static str,
) -> Setting {
    let row = Setting::new(name, kind, Some(default), Update::Cluster, Effect::Obeyed, about);
    Setting { broker, ..row }
}

/// Every setting of a group, by name.
#[rustfmt::skip]
pub static ROWS: &[Setting] = &[
    obeyed("consumer.assignment.interval.ms", Int(0, MAX), "1000", &["group.consumer.assignment.interval.ms"], "Shortest time between two assignments."),
    obeyed("consumer.heartbeat.interval.ms", Int(1, MAX), "5000", &["group.consumer.heartbeat.interval.ms"], "How often members are told to show signs of life."),
    obeyed("consumer.session.timeout.ms", Int(1, MAX), "45000", &["group.consumer.session.timeout.ms"], "A silent member is dropped after this."),
    obeyed("share.assignment.interval.ms", Int(0, MAX), "1000", &["group.share.assignment.interval.ms"], "Shortest time between two assignments of the share group."),
    obeyed("share.auto.offset.reset", OffsetReset, "latest", &[], "Where a new share group begins to read."),
    obeyed("share.delivery.count.limit", Int(2, MAX), "5", &["group.share.delivery.count.limit"], "How often a record is handed out before it is given up."),
    obeyed("share.heartbeat.interval.ms", Int(1, MAX), "5000", &["group.share.heartbeat.interval.ms"], "How often members of the share group are told to show signs of life."),
    obeyed("share.isolation.level", Choice(&["read_committed", "read_uncommitted"]), "read_uncommitted", &[], "Whether the share group reads records of open transactions."),
    obeyed("share.partition.max.record.locks", Int(100, MAX), "2000", &["group.share.partition.max.record.locks"], "Records of one partition that may be handed out at a time."),
    obeyed("share.record.lock.duration.ms", Int(1000, MAX), "30000", &["group.share.record.lock.duration.ms"], "How long a record is one consumer's before others get it."),
    obeyed("share.renew.acknowledge.enable", Boolean, "true", &[], "Whether a consumer may keep a record for longer."),
    obeyed("share.session.timeout.ms", Int(1, MAX), "45000", &["group.share.session.timeout.ms"], "A silent member of the share group is dropped after this."),
    row("streams.assignment.interval.ms", Int(0, MAX), "1000", &["group.streams.assignment.interval.ms"], STREAMS_GROUPS, "Shortest time between two assignments of the streams group."),
    row("streams.heartbeat.interval.ms", Int(1, MAX), "5000", &["group.streams.heartbeat.interval.ms"], STREAMS_GROUPS, "How often members of the streams group are told to show signs of life."),
    row("streams.initial.rebalance.delay.ms", Int(0, MAX), "3000", &["group.streams.initial.rebalance.delay.ms"], STREAMS_GROUPS, "How long the first assignment of the empty group waits for more members."),
    row("streams.num.standby.replicas", Int(0, MAX), "0", &["group.streams.num.standby.replicas"], STREAMS_GROUPS, "Standby copies of each task's state."),
    row("streams.session.timeout.ms", Int(1, MAX), "45000", &["group.streams.session.timeout.ms"], STREAMS_GROUPS, "A silent member of the streams group is dropped after this."),
];

/// The setting of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Setting> {
    ROWS.iter().find(|setting| setting.name == name)
}

/// A setting and the broker's settings that bound it.
pub struct Bound {
    /// The group's setting.
    pub name: &'static str,
    /// The broker's setting that is the least it may be, if there is one.
    pub least: Option<&'static str>,
    /// The broker's setting that is the most it may be.
    pub most: &'static str,
}

const fn bound(name: &'static str, least: &'static str, most: &'static str) -> Bound {
    Bound { name, least: if least.is_empty() { None } else { Some(least) }, most }
}

/// In the order in which Kafka looks at them.
#[rustfmt::skip]
pub static BOUNDS: &[Bound] = &[
    bound("consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    bound("consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    bound("consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    bound("share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    bound("share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
    bound("share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    bound("share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    bound("share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    bound("share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    bound("streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"),
    bound("streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
    bound("streams.num.standby.replicas", "", "group.streams.max.standby.replicas"),
    bound("streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"),
];

/// Pairs of which the first must be above the second.
pub static ABOVE: &[(&str, &str)] = &[
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::broker;

    #[test]
    fn names_are_sorted_and_lead_to_the_broker() {
        assert!(ROWS.is_sorted_by_key(|setting| setting.name));
        for setting in ROWS {
            for name in setting.broker {
                assert_eq!(broker::named(name).unwrap().default, setting.default, "{name}");
            }
        }
        for bound in BOUNDS {
            assert!(named(bound.name).is_some() && broker::named(bound.most).is_some(), "{}", bound.name);
            assert!(bound.least.is_none_or(|least| broker::named(least).is_some()), "{}", bound.name);
        }
        assert!(ABOVE.iter().all(|(above, below)| named(above).is_some() && named(below).is_some()));
    }
}
