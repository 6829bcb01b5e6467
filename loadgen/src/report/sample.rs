//! A run whose every number is known, for tests.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::collector::{Collector, Expected, Setup};
use super::interval::{Interval, Measure};
use super::model::Report;

/// What the tests put where text of a user goes: it must come out as text.
pub const HOSTILE: &str = "</script><img src=x onerror=alert(1)> & \"quoted\" 'single'";

/// Settings of a run of 20 s with 2 s of warm-up.
pub fn setup(label: &str) -> Setup {
    Setup {
        mode: "produce".to_owned(),
        label: label.to_owned(),
        settings: vec![
            ("bootstrap".to_owned(), "127.0.0.1:9092".to_owned()),
            ("record-size".to_owned(), "1024".to_owned()),
        ],
        primary: Measure::Produce,
        rate: Some(2_000.0),
        warm_up: Duration::from_secs(2),
        expected: Expected::Duration(Duration::from_secs(20)),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        server: None,
    }
}

/// One executor's second: a thousand records of 1,000 bytes at 1 us, 2 us, ... 1,000 us, times `slow`.
pub fn interval(slow: u64) -> Interval {
    let mut interval = Interval::new();
    interval.records_sent = 1_000;
    interval.bytes_sent = 1_000_000;
    interval.requests = 10;
    interval.intended = 1_000;
    interval.cpu_us = 250_000;
    for value in 1..=1_000 {
        interval.record_n(Measure::Produce, value * slow, 1);
        interval.started_late(Duration::from_micros(value / 10));
    }
    interval
}

/// Twenty seconds of two executors, the first two of them warm-up and a hundred times slower.
pub fn report(label: &str, slow: u64) -> Report {
    let mut collector = Collector::new(setup(label));
    for second in 1..=20 {
        let slow = if second <= 2 { slow * 100 } else { slow };
        collector.second(Duration::from_secs(second), vec![interval(slow), interval(slow)]);
    }
    collector.finish()
}

/// Files of `/proc` for process 7 with so much CPU, in hundredths of a second, and as many kB resident.
pub fn put_process(proc: &Path, user: u64, system: u64, resident_kb: u64) {
    let dir = proc.join("7");
    std::fs::create_dir_all(dir.join("task/7")).expect("directory");
    let put = |name: &str, text: String| std::fs::write(dir.join(name), text).expect("file");
    put("stat", format!("7 (x) S 1 7 7 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 3 0 99 1000 50 0"));
    put("status", format!("Name:\tx\nVmRSS:\t {resident_kb} kB\n"));
    put("io", format!("read_bytes: {}\nwrite_bytes: {}\n", user * 1_000, system * 100_000));
    put(
        "task/7/status",
        format!("voluntary_ctxt_switches:\t{user}\nnonvoluntary_ctxt_switches:\t{system}\n"),
    );
}
