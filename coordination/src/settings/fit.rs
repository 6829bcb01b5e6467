//! How settings of groups and of share coordinators must fit each other when a broker starts: in the order in which Kafka
//! looks, and in its words.

use super::broker;
use How::{AtLeast, AtMost, Below};

/// How the first setting must stand to the second.
#[derive(Clone, Copy, Debug)]
enum How {
    AtLeast,
    AtMost,
    Below,
}

impl How {
    const fn holds(self, first: i64, second: i64) -> bool {
        match self {
            AtLeast => first >= second,
            AtMost => first <= second,
            Below => first < second,
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            AtLeast => "greater than or equal to",
            AtMost => "less than or equal to",
            Below => "less than",
        }
    }
}

type Rule = (&'static str, How, &'static str);

#[rustfmt::skip]
static CONSUMER: &[Rule] = &[
    ("group.consumer.max.heartbeat.interval.ms", AtLeast, "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", AtLeast, "group.consumer.min.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", AtMost, "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.max.session.timeout.ms", AtLeast, "group.consumer.min.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", AtLeast, "group.consumer.min.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", AtMost, "group.consumer.max.session.timeout.ms"),
    ("group.consumer.heartbeat.interval.ms", Below, "group.consumer.session.timeout.ms"),
    ("group.consumer.max.assignment.interval.ms", AtLeast, "group.consumer.min.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", AtLeast, "group.consumer.min.assignment.interval.ms"),
    ("group.consumer.assignment.interval.ms", AtMost, "group.consumer.max.assignment.interval.ms"),
];

#[rustfmt::skip]
static SHARE: &[Rule] = &[
    ("group.share.max.heartbeat.interval.ms", AtLeast, "group.share.min.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", AtLeast, "group.share.min.heartbeat.interval.ms"),
    ("group.share.heartbeat.interval.ms", AtMost, "group.share.max.heartbeat.interval.ms"),
    ("group.share.max.session.timeout.ms", AtLeast, "group.share.min.session.timeout.ms"),
    ("group.share.session.timeout.ms", AtLeast, "group.share.min.session.timeout.ms"),
    ("group.share.session.timeout.ms", AtMost, "group.share.max.session.timeout.ms"),
    ("group.share.heartbeat.interval.ms", Below, "group.share.session.timeout.ms"),
    ("group.share.max.assignment.interval.ms", AtLeast, "group.share.min.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", AtLeast, "group.share.min.assignment.interval.ms"),
    ("group.share.assignment.interval.ms", AtMost, "group.share.max.assignment.interval.ms"),
];

#[rustfmt::skip]
static SHARE_PARTITIONS: &[Rule] = &[
    ("group.share.max.delivery.count.limit", AtLeast, "group.share.delivery.count.limit"),
    ("group.share.delivery.count.limit", AtLeast, "group.share.min.delivery.count.limit"),
    ("group.share.max.partition.max.record.locks", AtLeast, "group.share.partition.max.record.locks"),
    ("group.share.partition.max.record.locks", AtLeast, "group.share.min.partition.max.record.locks"),
    ("group.share.record.lock.duration.ms", AtLeast, "group.share.min.record.lock.duration.ms"),
    ("group.share.max.record.lock.duration.ms", AtLeast, "group.share.record.lock.duration.ms"),
    ("group.share.max.share.sessions", AtLeast, "group.share.max.size"),
];

const SHARE_ASSIGNORS: &str = "group.share.assignors";
const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
/// Numbers of Kafka's compression types.
const CODECS: std::ops::RangeInclusive<i64> = 0..=4;

/// What is wrong, and with which setting.
pub type Misfit = (&'static str, String);

/// Judges what was written, each value as its row took it; the rest has its default.
///
/// # Errors
/// The first setting that does not fit.
pub fn check<'a>(written: impl Fn(&str) -> Option<&'a str>) -> Result<(), Misfit> {
    let text = |name: &str| -> &'a str {
        let default = || broker::named(name).and_then(|setting| setting.default);
        written(name).or_else(default).unwrap_or_default()
    };
    let number = |name: &str| text(name).parse::<i64>().unwrap_or(0);
    codec("offsets.topic.compression.codec", number("offsets.topic.compression.codec"))?;
    share_assignors(text(SHARE_ASSIGNORS))?;
    for &(first, how, second) in [CONSUMER, SHARE, SHARE_PARTITIONS].into_iter().flatten() {
        if !how.holds(number(first), number(second)) {
            return Err((first, format!("{first} must be {} {second}", how.phrase())));
        }
    }
    let name = "share.coordinator.state.topic.compression.codec";
    codec(name, number(name))?;
    protocols(text(PROTOCOLS))
}

fn codec(name: &'static str, id: i64) -> Result<(), Misfit> {
    if CODECS.contains(&id) { Ok(()) } else { Err((name, format!("Unknown compression type id: {id}"))) }
}

/// Ours by its name, once. A Java class cannot be found.
fn share_assignors(list: &str) -> Result<(), Misfit> {
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let why = match names.as_slice() {
        [] => format!(
            "Configuration '{SHARE_ASSIGNORS}' must not be empty. Valid values include: any non-empty value"
        ),
        ["simple"] => return Ok(()),
        names => match names.iter().find(|name| **name != "simple") {
            Some(name) => format!(
                "{SHARE_ASSIGNORS}={list} is not implemented by this broker: it has simple, not {name}"
            ),
            None => format!("Configuration '{SHARE_ASSIGNORS}' values must not be duplicated."),
        },
    };
    Err((SHARE_ASSIGNORS, why))
}

/// The classic one has to be there.
fn protocols(list: &str) -> Result<(), Misfit> {
    if list.split(',').any(|name| name.trim() == "classic") {
        return Ok(());
    }
    let why = if list.is_empty() {
        format!(
            "Configuration '{PROTOCOLS}' must not be empty. Valid values include: [consumer, classic, share, streams]"
        )
    } else {
        "Disabling the 'classic' protocol is not supported.".to_owned()
    };
    Err((PROTOCOLS, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pairs: &[(&str, &'static str)]) -> Result<(), String> {
        let written = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        check(written).map_err(|(name, why)| {
            assert!(broker::named(name).is_some(), "{name}");
            why
        })
    }

    #[test]
    fn defaults_fit_and_every_rule_is_about_settings() {
        assert_eq!(judged(&[]), Ok(()));
        for (first, _, second) in [CONSUMER, SHARE, SHARE_PARTITIONS].into_iter().flatten() {
            assert!(broker::named(first).is_some() && broker::named(second).is_some(), "{first} {second}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let short = ("group.consumer.session.timeout.ms", "6000");
        assert_eq!(judged(&[("group.consumer.min.session.timeout.ms", "6000"), short]), Ok(()));
        let slow = [
            ("group.share.max.heartbeat.interval.ms", "60000"),
            ("group.share.heartbeat.interval.ms", "45000"),
            ("group.share.assignment.interval.ms", "15001"),
        ];
        for (pairs, why) in [
            (
                &[short][..],
                "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                &[("group.consumer.max.heartbeat.interval.ms", "1000")][..],
                "group.consumer.max.heartbeat.interval.ms must be greater than or equal to \
                 group.consumer.min.heartbeat.interval.ms",
            ),
            (
                &slow[2..],
                "group.share.assignment.interval.ms must be less than or equal to group.share.max.assignment.interval.ms",
            ),
            (&slow[..], "group.share.heartbeat.interval.ms must be less than group.share.session.timeout.ms"),
            (
                &[("group.share.delivery.count.limit", "10"), ("group.share.max.delivery.count.limit", "9")]
                    [..],
                "group.share.max.delivery.count.limit must be greater than or equal to group.share.delivery.count.limit",
            ),
            (
                &[
                    ("group.share.min.partition.max.record.locks", "2000"),
                    ("group.share.partition.max.record.locks", "1999"),
                ][..],
                "group.share.partition.max.record.locks must be greater than or equal to \
                 group.share.min.partition.max.record.locks",
            ),
            (
                &[("group.share.record.lock.duration.ms", "60001")][..],
                "group.share.max.record.lock.duration.ms must be greater than or equal to \
                 group.share.record.lock.duration.ms",
            ),
            (
                &[("group.share.max.share.sessions", "199")][..],
                "group.share.max.share.sessions must be greater than or equal to group.share.max.size",
            ),
        ] {
            assert_eq!(judged(pairs).unwrap_err(), why);
        }
    }

    #[test]
    fn names_and_numbers_of_what_is_not_there_are_refused() {
        for (name, value, why) in [
            (
                SHARE_ASSIGNORS,
                "",
                "Configuration 'group.share.assignors' must not be empty. Valid values include: any non-empty value",
            ),
            (
                SHARE_ASSIGNORS,
                "simple,simple",
                "Configuration 'group.share.assignors' values must not be duplicated.",
            ),
            (
                SHARE_ASSIGNORS,
                "simple,a.B",
                "group.share.assignors=simple,a.B is not implemented by this broker: it has simple, not a.B",
            ),
            ("share.coordinator.state.topic.compression.codec", "5", "Unknown compression type id: 5"),
            ("offsets.topic.compression.codec", "-1", "Unknown compression type id: -1"),
            (PROTOCOLS, "consumer,share", "Disabling the 'classic' protocol is not supported."),
            (
                PROTOCOLS,
                "",
                "Configuration 'group.coordinator.rebalance.protocols' must not be empty. Valid values include: \
                 [consumer, classic, share, streams]",
            ),
        ] {
            assert_eq!(judged(&[(name, value)]).unwrap_err(), why);
        }
        assert_eq!(judged(&[("share.coordinator.state.topic.compression.codec", "4")]), Ok(()));
        assert_eq!(judged(&[(PROTOCOLS, "classic")]), Ok(()));
    }
}
