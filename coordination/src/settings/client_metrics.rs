//! The settings of subscriptions to clients' metrics (KIP-714).

use regex::bytes::{Regex, RegexBuilder};

use super::Kind::{Int, List};
use super::{Effect, Kind, Setting, Update};

const fn row(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Setting {
    Setting::new(name, kind, Some(default), Update::Cluster, Effect::Obeyed, about)
}

/// Every setting of a subscription, by name.
pub static ROWS: &[Setting] = &[
    row(INTERVAL, Int(i32::MIN, i32::MAX), "300000", "How often a client pushes its metrics."),
    row(MATCH, List(&[]), "", "Which clients are meant: by their id, software or address; without any, all."),
    row(METRICS, List(&[]), "", "Beginnings of the names of metrics that are wanted; * is all of them."),
];

/// How often a client pushes, in ms.
pub const INTERVAL: &str = "interval.ms";
/// How often where nobody says.
pub const INTERVAL_MS_DEFAULT: i32 = 300_000;
/// Beginnings of the names of metrics.
pub const METRICS: &str = "metrics";
/// Which clients are meant: pairs `NAME=PATTERN`.
pub const MATCH: &str = "match";
/// Shortest and longest interval.
pub const INTERVAL_MS: (i32, i32) = (100, 3_600_000);
/// What clients can be told apart by.
pub const MATCHED: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// A pattern that is to match the whole of what a client says of itself, where it is one. In Java's patterns too `\d` and the like are
/// ASCII.
#[must_use]
pub fn pattern(text: &str) -> Option<Regex> {
    let whole = format!("^(?:{})$", text.trim());
    RegexBuilder::new(&whole)
        .unicode(false)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .ok()
}

/// Memory of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Patterns of one subscription: compiling them holds up other changes of the metadata.
pub const PATTERNS_MAX: usize = 64;
/// Patterns of all subscriptions: 16 MiB at most.
pub const PATTERNS_IN_ALL_MAX: usize = 256;

/// The setting of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Setting> {
    ROWS.iter().find(|setting| setting.name == name)
}
