//! Seconds and the whole against intervals whose numbers are known.

use super::*;
use crate::report::sample::{interval, put_process, report, setup};

fn close(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= expected.abs() * 0.002
}

#[test]
fn warm_up_is_shown_and_not_counted() {
    let report = report("run", 1);
    assert_eq!(report.seconds.len(), 20);
    assert_eq!(report.seconds.iter().filter(|second| second.warm_up).count(), 2);
    assert_eq!(report.seconds[0].traffic.records_sent, 2_000);
    let whole = &report.whole;
    assert_eq!(whole.traffic.records_sent, 36_000);
    assert!(close(whole.length_s, 18.0) && close(whole.rate(whole.records()), 2_000.0));
    // The warm-up was a hundred times slower: one value of it would show.
    let produce = report.primary().expect("latencies");
    assert_eq!(produce.count, 36_000);
    assert!(produce.max <= 1_001, "{}", produce.max);
    assert!(report.seconds[0].latencies[&Measure::Produce].max >= 100_000);
}

#[test]
fn executors_are_merged_and_percentiles_are_right() {
    let report = report("run", 10);
    let produce = report.primary().expect("latencies");
    for (actual, expected) in [
        (produce.p50, 5_000),
        (produce.p90, 9_000),
        (produce.p99, 9_900),
        (produce.p999, 9_990),
        (produce.max, 10_000),
    ] {
        assert!(close(actual as f64, f64::from(expected)), "{actual} is not {expected}");
    }
    let second = &report.seconds[5];
    assert_eq!((second.traffic.records_sent, second.traffic.bytes_sent), (2_000, 2_000_000));
    assert!(close(second.latencies[&Measure::Produce].p99 as f64, 9_900.0));
}

#[test]
fn ticks_that_come_early_or_late_cost_no_second() {
    for jitter in [-40_i64, 0, 40] {
        let mut collector = Collector::new(setup("run"));
        for second in 1..=5_u64 {
            let at = Duration::from_millis((second * 1_000).checked_add_signed(jitter).expect("positive"));
            collector.second(at, vec![interval(1)]);
        }
        let report = collector.finish();
        assert_eq!(report.seconds.iter().filter(|second| second.warm_up).count(), 2, "{jitter}");
        assert_eq!(report.whole.traffic.records_sent, 3_000);
    }
}

#[test]
fn errors_of_the_warm_up_stand_apart_and_verification_counts_them_all() {
    let mut collector = Collector::new(setup("run"));
    for second in 1..=4 {
        let mut interval = interval(1);
        interval.error("NOT_LEADER_OR_FOLLOWER", second);
        interval.verification.checked = 10;
        interval.verification.lost = u64::from(second == 1);
        collector.second(Duration::from_secs(second), vec![interval]);
    }
    let report = collector.finish();
    assert_eq!(report.whole.errors["NOT_LEADER_OR_FOLLOWER"], 3 + 4);
    assert_eq!(report.whole.errors_in_warm_up, 1 + 2);
    assert_eq!((report.whole.verification.checked, report.whole.verification.lost), (40, 1));
    assert!(!report.whole.verification.is_clean());
}

#[test]
fn what_is_found_afterwards_changes_no_rate() {
    let mut collector = Collector::new(setup("run"));
    for second in 1..=4 {
        collector.second(Duration::from_secs(second), vec![interval(1)]);
    }
    let mut found = interval(1_000);
    found.verification.repeated = 2;
    found.error("CORRUPT_MESSAGE", 1);
    collector.found_afterwards(&found);
    let whole = collector.finish().whole;
    assert_eq!((whole.verification.repeated, whole.errors["CORRUPT_MESSAGE"]), (2, 1));
    assert_eq!((whole.traffic.records_sent, whole.latencies[&Measure::Produce].count), (2_000, 2_000));
    assert!(close(whole.length_s, 2.0));
}

#[test]
fn the_line_is_of_its_second_and_knows_how_far_the_run_is() {
    let mut collector = Collector::new(setup("run"));
    let line = collector.second(Duration::from_secs(5), vec![interval(1)]);
    assert_eq!(line.progress, Some(0.25));
    let mut collector = Collector::new(Setup { expected: Expected::Count(3_000), ..setup("run") });
    collector.second(Duration::from_secs(1), vec![interval(1)]);
    assert_eq!(collector.second(Duration::from_secs(2), vec![interval(1)]).progress, Some(2.0 / 3.0));
    let beyond = collector.second(Duration::from_secs(3), vec![interval(1), interval(1)]);
    assert_eq!(beyond.progress, Some(1.0));
    let mut collector = Collector::new(Setup { expected: Expected::Open, ..setup("run") });
    assert_eq!(collector.second(Duration::from_secs(1), Vec::new()).progress, None);
}

#[test]
fn a_busy_executor_is_told_though_another_is_idle() {
    let mut collector = Collector::new(setup("run"));
    let mut last = None;
    for second in 1..=6 {
        let busy = Interval { cpu_us: 970_000, ..interval(1) };
        let idle = Interval { cpu_us: 10_000, ..interval(1) };
        last = Some(collector.second(Duration::from_secs(second), vec![idle, busy]));
    }
    let line = last.expect("lines").to_string();
    assert!(line.contains("BOTTLENECK: executor at 97 % CPU"), "{line}");
    let report = collector.finish();
    assert!(close(report.whole.health.cpu, 0.97), "{}", report.whole.health.cpu);
    assert_eq!(report.whole.seconds_bottlenecked, 4);
    assert!(report.summary().contains("GENERATOR ITSELF WAS THE BOTTLENECK"), "{}", report.summary());
}

#[test]
fn a_late_generator_is_told() {
    let mut collector = Collector::new(setup("run"));
    for second in 1..=4 {
        let mut interval = interval(1);
        for _ in 0..100 {
            interval.started_late(Duration::from_millis(7));
        }
        collector.second(Duration::from_secs(second), vec![interval]);
    }
    let health = collector.finish().whole.health;
    assert!(health.bottleneck.expect("late").contains("late by 7.0"), "{:?}", health.late_p99);
}

#[test]
fn the_servers_use_is_counted_behind_the_warm_up_and_for_each_gb() {
    let proc = tempfile::tempdir().expect("a directory");
    put_process(proc.path(), 0, 0, 1_000);
    let server = ServerSampler::below(proc.path(), 7).expect("there");
    let mut collector = Collector::new(Setup { server: Some(server), ..setup("run") });
    for second in 1..=6_u64 {
        put_process(proc.path(), second * 20, second * 5, 1_000 * second);
        collector.second(Duration::from_secs(second), vec![interval(1), interval(1)]);
    }
    std::fs::remove_dir_all(proc.path().join("7")).expect("removable");
    let line = collector.second(Duration::from_secs(7), vec![interval(1)]);
    assert!(line.server_gone && line.to_string().contains("SERVER GONE"), "{line}");
    let report = collector.finish();
    let totals = report.whole.server.as_ref().expect("totals");
    // Four seconds behind the warm-up, of 0.25 s CPU and 2 MB each.
    assert!(close(totals.used.cpu_s(), 1.0) && close(totals.cpu(), 0.25), "{totals:?}");
    assert_eq!(totals.bytes_moved, 8_000_000);
    assert!(close(totals.per_gb(totals.used.cpu_s()).expect("moved"), 125.0));
    assert_eq!(totals.used.disk_written, Some(2_000_000));
    assert_eq!((totals.resident_max, totals.used.switches_involuntary), (6_000 * 1_024, 20));
    assert_eq!(totals.gone_at_s, Some(7.0));
    assert!(report.seconds[0].server.is_some() && report.seconds[6].server.is_none());
    assert!(report.summary().contains("ENDED"), "{}", report.summary());
}

#[test]
fn nothing_at_all_is_a_report_too() {
    let report = Collector::new(setup("empty")).finish();
    assert!(report.primary().is_none() && report.whole.records() == 0);
    assert!(report.summary().contains("0.00 s measured"), "{}", report.summary());
    let mut collector = Collector::new(setup("empty"));
    collector.second(Duration::ZERO, Vec::new());
    collector.second(Duration::ZERO, vec![interval(1)]);
    let text = serde_json::to_string(&collector.finish()).expect("JSON");
    assert!(Report::from_json(&text).is_ok(), "a length of nothing must not make a number that JSON has not");
}
