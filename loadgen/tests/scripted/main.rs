//! The binary against a server whose delays and misdeeds are known: what it reports must be what happened.
//!
//! Nothing here has a limit in time: a slow machine makes latencies longer, never shorter, and counts stay what they are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests: their names tell, and one that cannot go on has failed"
)]

mod server;
mod shares;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;

use server::{Misdeed, Script, Server, TOPIC, Unrest};

struct Run {
    output: Output,
    report: Value,
}

impl Run {
    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn number(&self, path: &str) -> u64 {
        let found = self.report.pointer(path).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("no {path} in {}", self.report["whole"]))
    }

    fn found(&self, what: &str) -> u64 {
        self.number(&format!("/whole/verification/{what}"))
    }

    fn errors(&self) -> u64 {
        let errors = self.report["whole"]["errors"].as_object().unwrap();
        errors.values().filter_map(Value::as_u64).sum()
    }

    /// The whole run's latencies, in microseconds.
    fn latencies(&self, measure: &str) -> Histogram<u64> {
        let text = self.report["whole"]["latencies"][measure]["hdr"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        Deserializer::new().deserialize(&mut &bytes[..]).unwrap()
    }
}

fn run(server: &Server, mode: &str, args: &[&str]) -> Run {
    let json: PathBuf = std::env::temp_dir().join(format!(
        "millrace-loadgen-{}-{}.json",
        std::process::id(),
        server.address.port()
    ));
    let output = Command::new(env!("CARGO_BIN_EXE_millrace-loadgen"))
        .args([mode, "--bootstrap", &server.address.to_string(), "--topic", TOPIC, "--quiet", "--json"])
        .arg(&json)
        .args(args)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    std::fs::remove_file(&json).unwrap();
    Run { output, report: serde_json::from_str(&text).unwrap() }
}

/// How many latencies are at least so many milliseconds.
fn at_least(latencies: &Histogram<u64>, ms: u64) -> u64 {
    latencies.count_between(ms * 1000, latencies.high())
}

#[test]
fn a_known_delay_is_what_is_measured() {
    let median = |ms: u64| {
        let server = Server::start(Script { delay: Duration::from_millis(ms), ..Script::good(1) });
        let args = ["--rate", "10", "--records", "20", "--linger", "0", "--record-size", "100"];
        let run = run(&server, "produce", &args);
        assert_eq!(run.code(), Some(0));
        let latencies = run.latencies("produce");
        assert_eq!((latencies.len(), run.number("/whole/traffic/records_sent")), (20, 20));
        assert!(latencies.min() >= ms * 1000 * 999 / 1000, "{} us", latencies.min());
        latencies.value_at_quantile(0.5)
    };
    assert!(median(80) >= median(20) + 30_000);
}

#[test]
fn a_stall_hits_every_record_that_was_due() {
    const RATE: u64 = 1000;
    let script = Script { stall: Some((100, Duration::from_secs(1))), ..Script::good(3) };
    // Small batches and little in flight: a generator that waited for answers would send next to nothing meanwhile.
    let small = ["--record-size", "100", "--batch-bytes", "1000", "--linger", "1ms", "--in-flight", "1"];
    let open = run(
        &Server::start(script),
        "produce",
        &[&["--rate", "1000", "--duration", "3s"], &small[..]].concat(),
    );
    assert_eq!(open.code(), Some(0));
    let latencies = open.latencies("produce");
    // Records due during the stall waited for what was left of it: evenly from nothing to a second.
    for (ms, due) in [(100, 900), (250, 750), (500, 500), (750, 250), (900, 100)] {
        let waited = at_least(&latencies, ms);
        assert!(
            waited >= due * RATE / 1000 * 8 / 10,
            "{waited} records waited {ms} ms of {due} that must have"
        );
    }
    assert!(latencies.max() >= 990_000);
    // The others are there too: the schedule goes on as if nothing had happened.
    let sent = open.number("/whole/traffic/records_sent");
    assert!((2990..=3000).contains(&sent), "{sent} records");
    assert_eq!(latencies.len(), sent);

    let closed = run(
        &Server::start(script),
        "produce",
        &[
            "--closed-loop",
            "--duration",
            "3s",
            "--record-size",
            "100",
            "--batch-bytes",
            "150",
            "--in-flight",
            "1",
        ],
    );
    let latencies = closed.latencies("produce");
    let waited = at_least(&latencies, 900);
    assert_eq!(waited, 1, "the closed loop sees one record wait");
}

#[test]
fn the_stall_is_the_receivers_too() {
    let script = Script { stall: Some((50, Duration::from_millis(600))), ..Script::good(2) };
    let args =
        ["--rate", "1000", "--duration", "2s", "--record-size", "100", "--in-flight", "1", "--linger", "1ms"];
    let run = run(&Server::start(script), "e2e", &args);
    assert_eq!(run.code(), Some(0));
    let latencies = run.latencies("end_to_end");
    assert_eq!(latencies.len(), run.number("/whole/traffic/records_sent"));
    assert!(at_least(&latencies, 300) >= 200, "{}", at_least(&latencies, 300));
}

fn verified(misdeed: Misdeed, mode: &str, more: &[&str]) -> Run {
    let server = Server::start(Script { misdeed, ..Script::good(2) });
    let args = ["--records", "5000", "--rate", "5000", "--record-size", "100-200", "--batch-bytes", "2000"];
    let rest = ["--verify", "--drain", "1s"];
    run(&server, mode, &[&args[..], &rest, more].concat())
}

#[test]
fn an_honest_server_passes() {
    for (mode, more) in [
        ("produce", &[][..]),
        ("e2e", &[]),
        ("e2e", &["--codec", "lz4", "--keys", "zipf:100", "--arrival", "poisson", "--producers", "3"]),
        ("produce", &["--codec", "zstd", "--idempotence=false", "--cores", "2", "--producers", "2"]),
        ("e2e", &["--consumers", "2", "--fan-out", "1", "--cores", "2"]),
    ] {
        let run = verified(Misdeed::None, mode, more);
        let stderr = String::from_utf8_lossy(&run.output.stderr).into_owned();
        assert_eq!(run.code(), Some(0), "{mode} {more:?}: {} {stderr}", run.report["whole"]);
        assert_eq!((run.found("checked"), run.errors()), (5000, 0), "{mode} {more:?}");
        assert_eq!(run.number("/whole/traffic/records_sent"), 5000);
    }
}

#[test]
fn a_server_that_loses_records_is_caught() {
    for mode in ["produce", "e2e"] {
        let run = verified(Misdeed::Loses, mode, &[]);
        assert_eq!(run.code(), Some(1));
        assert!(run.found("lost") > 0, "{}", run.report["whole"]);
        assert_eq!(run.found("lost") + run.found("checked"), 5000);
        assert_eq!((run.found("repeated"), run.found("reordered"), run.found("damaged")), (0, 0, 0));
    }
}

#[test]
fn a_server_that_repeats_records_is_caught() {
    for mode in ["produce", "e2e"] {
        let run = verified(Misdeed::Repeats, mode, &[]);
        assert_eq!(run.code(), Some(1));
        assert!(run.found("repeated") > 0, "{}", run.report["whole"]);
        assert_eq!(run.found("checked"), 5000 + run.found("repeated"));
        assert_eq!((run.found("lost"), run.found("damaged")), (0, 0));
    }
}

#[test]
fn a_server_that_swaps_records_is_caught() {
    let run = verified(Misdeed::Swaps, "produce", &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("reordered") > 0, "{}", run.report["whole"]);
    assert_eq!((run.found("lost"), run.found("repeated"), run.found("damaged")), (0, 0, 0));
}

#[test]
fn a_server_that_changes_records_is_caught() {
    let run = verified(Misdeed::Damages, "produce", &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("damaged") > 0, "{}", run.report["whole"]);
}

#[test]
fn records_of_others_are_not_damaged_ones() {
    let server = Server::start(Script::good(2));
    let send = |more: &[&str]| {
        let args =
            ["--records", "1000", "--rate", "100k", "--record-size", "100-200", "--batch-bytes", "2000"];
        assert_eq!(run(&server, "produce", &[&args[..], more].concat()).code(), Some(0));
    };
    send(&[]);
    send(&["--codec", "lz4"]);
    let received = run(&server, "consume", &["--verify"]);
    assert_eq!(received.code(), Some(0), "{}", received.report["whole"]);
    assert_eq!((received.found("checked"), received.found("foreign")), (0, 2000));
    assert!(String::from_utf8_lossy(&received.output.stdout).contains("2,000 foreign"));
    send(&["--verify"]);
    let received = run(&server, "consume", &["--verify"]);
    assert_eq!(received.code(), Some(0), "{}", received.report["whole"]);
    assert_eq!((received.found("checked"), received.found("foreign")), (1000, 2000));
    // Only stamped ones have an end-to-end latency.
    let received = run(&server, "consume", &["--stamped"]);
    assert_eq!(received.latencies("end_to_end").len(), 1000);
}

#[test]
fn what_is_refused_is_sent_again_in_order() {
    // What follows a refused batch in flight the server refuses as well, by its sequence; without sequences only one in flight
    // keeps the order.
    for more in [&[][..], &["--idempotence=false", "--in-flight", "1"]] {
        let run = verified(Misdeed::Refuses, "e2e", more);
        assert_eq!(run.code(), Some(0), "{}", run.report["whole"]);
        assert!(run.number("/whole/errors/NOT_LEADER_OR_FOLLOWER") > 0);
        assert_eq!(run.found("checked"), 5000);
    }
}

#[test]
fn what_is_ready_for_many_partitions_goes_in_one_request() {
    let server = Server::start(Script { delay: Duration::from_millis(5), ..Script::good(40) });
    // Far more batches are due than there are answers in the time: whatever the machine, they gather.
    let small = ["--records", "20000", "--record-size", "100", "--batch-bytes", "1000", "--in-flight", "2"];
    let gathered = run(&server, "produce", &[&["--rate", "1M", "--verify"], &small[..]].concat());
    assert_eq!(gathered.code(), Some(0), "{}", gathered.report["whole"]);
    assert_eq!((gathered.found("checked"), gathered.errors()), (20_000, 0));
    assert_eq!(gathered.latencies("produce").len(), 20_000);
    assert_eq!(server.batches_most(), 40, "all partitions, each once");

    // Batches of nearly 1000 bytes, of which three go into 3000.
    let server = Server::start(Script { delay: Duration::from_millis(5), ..Script::good(40) });
    let args = [&["--unthrottled", "--request-bytes", "3000"], &small[..]].concat();
    assert_eq!(run(&server, "produce", &args).number("/whole/traffic/records_sent"), 20_000);
    assert_eq!(server.batches_most(), 3);

    // Closed loop: one each.
    let server = Server::start(Script::good(40));
    let args = ["--closed-loop", "--batch-bytes", "1000", "--records", "5000", "--record-size", "100"];
    assert_eq!(run(&server, "produce", &args).number("/whole/traffic/records_sent"), 5000);
    assert_eq!(server.batches_most(), 1);
}

#[test]
fn requests_of_many_batches_fail_and_recover_by_partition() {
    // Of such a request some batches are refused, or the connection breaks when some were kept.
    let many = ["--rate", "1M", "--records", "2000", "--record-size", "100-200", "--batch-bytes", "1500"];
    for (misdeed, more) in [
        (Misdeed::Refuses, &["--in-flight", "5"][..]),
        (Misdeed::Refuses, &["--in-flight", "1", "--idempotence=false"]),
        (Misdeed::HangsUp, &["--in-flight", "3", "--request-bytes", "6000"]),
    ] {
        let script = Script { misdeed, delay: Duration::from_millis(5), ..Script::good(7) };
        let server = Server::start(script);
        let run = run(&server, "produce", &[&many[..], &["--verify"], more].concat());
        assert_eq!(run.code(), Some(0), "{misdeed:?} {more:?}: {}", run.report["whole"]);
        assert_eq!((run.number("/whole/traffic/records_sent"), run.found("checked")), (2000, 2000));
        assert!(server.batches_most() > 1 && run.errors() > 0);
    }
}

#[test]
fn a_broken_connection_costs_what_was_not_acknowledged() {
    // Without idempotence what was in flight may not be sent again; it is an error, and no loss.
    // One batch to a request, so that nothing of one that is given up was kept.
    let alone = ["--idempotence=false", "--in-flight", "1", "--request-bytes", "1"];
    let run = verified(Misdeed::HangsUp, "produce", &alone);
    assert_eq!(run.code(), Some(0), "{}", run.report["whole"]);
    let given_up = run.number("/whole/errors/records given up");
    assert!(given_up > 0);
    assert_eq!(run.number("/whole/traffic/records_sent") + given_up, 5000);
    assert_eq!(run.found("checked") + given_up, 5000);
    // With it nothing is missing.
    let run = verified(Misdeed::HangsUp, "produce", &["--in-flight", "1"]);
    assert_eq!(run.code(), Some(0), "{}", run.report["whole"]);
    assert_eq!((run.number("/whole/traffic/records_sent"), run.found("checked")), (5000, 5000));
}

#[test]
fn consuming_everything_ends_by_itself() {
    let server = Server::start(Script::good(3));
    let sent = run(&server, "produce", &["--rate", "100k", "--records", "3000", "--record-size", "50"]);
    assert_eq!(sent.code(), Some(0));
    let received = run(&server, "consume", &["--consumers", "2"]);
    assert_eq!(received.code(), Some(0));
    assert_eq!(received.number("/whole/traffic/records_received"), 3000);
}

/// Records for a group, and how it shall receive them: slowly, so that there is time for it to change.
const FOR_A_GROUP: [&str; 8] =
    ["--records", "5000", "--rate", "100k", "--record-size", "100", "--batch-bytes", "1000"];
const AS_A_GROUP: [&str; 13] = [
    "--group",
    "readers",
    "--verify",
    "--consumers",
    "3",
    "--cores",
    "2",
    "--partition-bytes",
    "1000",
    "--heartbeat",
    "10ms",
    "--commit-every",
    "50ms",
];

#[test]
fn a_group_receives_everything_once_through_all_rebalances() {
    let server = Server::start(Script { unrest: Unrest::Rebalances(20), ..Script::good(4) });
    let send = || run(&server, "produce", &[&FOR_A_GROUP[..], &["--verify"]].concat());
    assert_eq!(send().code(), Some(0));
    let received = run(&server, "consume", &[&AS_A_GROUP[..], &["--consume-rate", "5000"]].concat());
    assert_eq!(received.code(), Some(0), "{}", received.report["whole"]);
    assert_eq!(received.number("/whole/traffic/records_received"), 5000);
    assert_eq!((received.found("checked"), received.errors()), (5000, 0), "{}", received.report["whole"]);
    let (generations, commits) = server.generations_and_commits();
    assert!(generations >= 3 && commits >= 3, "{generations} generations, {commits} commits");
    assert!(received.latencies("rebalance").len() >= 3);
    assert!(server.all_committed());

    // The group goes on where it was.
    let nothing = run(&server, "consume", &AS_A_GROUP);
    assert_eq!(nothing.code(), Some(0));
    assert_eq!(nothing.number("/whole/traffic/records_received"), 0);
    assert_eq!(send().code(), Some(0));
    let rest = run(&server, "consume", &AS_A_GROUP);
    assert_eq!((rest.code(), rest.number("/whole/traffic/records_received")), (Some(0), 5000));
    assert!(server.all_committed());
}

#[test]
fn a_member_that_is_forgotten_joins_anew() {
    let server = Server::start(Script { unrest: Unrest::Forgets(30), ..Script::good(4) });
    let sent = run(&server, "produce", &[&FOR_A_GROUP[..], &["--verify"]].concat());
    assert_eq!(sent.code(), Some(0));
    let received = run(&server, "consume", &[&AS_A_GROUP[..], &["--consume-rate", "5000"]].concat());
    // What it had received and could not commit comes again: that is nobody's fault, and told.
    assert_eq!(received.code(), Some(0), "{}", received.report["whole"]);
    assert!(received.number("/whole/errors/UNKNOWN_MEMBER_ID") > 0);
    let again = received.report.pointer("/whole/errors/records received again after a rebalance");
    let again = again.and_then(Value::as_u64).unwrap_or(0);
    let records = received.number("/whole/traffic/records_received");
    assert!((5000..=5000 + again).contains(&records), "{records} records, {again} of them again");
}

#[test]
fn command_lines_and_unreachable_servers_have_their_codes() {
    let code = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_millrace-loadgen")).args(args).output().unwrap().status.code()
    };
    assert_eq!(code(&["produce", "--rate", "fast"]), Some(2));
    assert_eq!(code(&["produce"]), Some(2));
    // A port of our own that nobody listens on any more.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(code(&["produce", "--rate", "1", "--bootstrap", &unused.to_string()]), Some(3));
}
