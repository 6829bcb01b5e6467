//! Whether the generator itself was the bottleneck: then what it measured says little of the server.

use serde::{Deserialize, Serialize};

/// Lateness up to this is never held against the generator, in microseconds.
pub const LATE_US_ALLOWED: u64 = 1_000;
/// Part of the p99 latency that lateness may make up.
pub const LATE_PART_ALLOWED: f64 = 0.1;
/// Part of a core that an executor may use before its own queueing shows in what it measures.
pub const CPU_ALLOWED: f64 = 0.9;

/// How the generator itself did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// p99 of how late requests started, in microseconds; `None` without a schedule.
    pub late_p99: Option<u64>,
    /// CPU of the busiest executor, as a part of one core.
    pub cpu: f64,
    /// Why it was the bottleneck, if it was.
    pub bottleneck: Option<String>,
}

impl Health {
    /// Judges lateness and the busiest executor's CPU, next to the p99 latency of the same time.
    pub fn judge(late_p99: Option<u64>, latency_p99: Option<u64>, cpu: f64) -> Health {
        let mut reasons = Vec::new();
        if let Some(late) = late_p99 {
            let part = latency_p99.map_or(0.0, |p99| p99 as f64 * LATE_PART_ALLOWED);
            if late as f64 > part.max(LATE_US_ALLOWED as f64) {
                reasons.push(format!("starts late by {} at p99", super::format::latency(late)));
            }
        }
        if cpu > CPU_ALLOWED {
            reasons.push(format!("executor at {} CPU", super::format::percent(cpu)));
        }
        let bottleneck = (!reasons.is_empty()).then(|| reasons.join(", "));
        Health { late_p99, cpu, bottleneck }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(late: Option<u64>, latency: Option<u64>, cpu: f64) -> Option<String> {
        Health::judge(late, latency, cpu).bottleneck
    }

    #[test]
    fn a_millisecond_late_is_allowed() {
        assert_eq!(reason(Some(1_000), Some(2_000), 0.5), None);
        assert_eq!(reason(Some(1_001), Some(2_000), 0.5).as_deref(), Some("starts late by 1.00 ms at p99"));
        assert!(reason(Some(1_001), None, 0.5).is_some());
    }

    #[test]
    fn so_is_a_tenth_of_the_latency() {
        assert_eq!(reason(Some(5_000), Some(50_000), 0.5), None);
        assert!(reason(Some(5_001), Some(50_000), 0.5).is_some());
    }

    #[test]
    fn a_full_core_is_not() {
        assert_eq!(reason(None, None, 0.9), None);
        assert_eq!(reason(None, None, 0.97).as_deref(), Some("executor at 97 % CPU"));
        let both = reason(Some(9_000), Some(10_000), 0.97).expect("both");
        assert!(both.contains("late") && both.contains("CPU"), "{both}");
    }
}
