//! Share groups: what the generator says that it was given, and that it said of it, is what the server knows.

use super::server::{Misdeed, Script, Server, Trouble};
use super::{Run, run, verified};

const RECORDS: u64 = 5000;
const LOAD: [&str; 11] = [
    "--records",
    "5000",
    "--rate",
    "5000",
    "--record-size",
    "100-200",
    "--batch-bytes",
    "2000",
    "--verify",
    "--drain",
    "1s",
];

impl Run {
    fn shares(&self, what: &str) -> u64 {
        self.number(&format!("/whole/traffic/shares/{what}"))
    }
}

fn troubled(trouble: Trouble, more: &[&str]) -> Run {
    let server = Server::start(Script { trouble, ..Script::good(2) });
    run(&server, "share", &[&LOAD[..], more].concat())
}

#[test]
fn every_record_comes_to_an_end_once_in_every_group() {
    for (groups, more) in [
        (1, &[][..]),
        (1, &["--release", "20", "--reject", "10%", "--consumers", "3"]),
        (2, &["--groups", "2", "--consumers", "3", "--cores", "2", "--producers", "2", "--codec", "lz4"]),
        (
            1,
            &[
                "--acquire-mode",
                "record-limit",
                "--max-records",
                "7",
                "--run-records",
                "3",
                "--consumers",
                "2",
            ],
        ),
        (1, &["--commit-sync", "--release", "20", "--group-config", "share.record.lock.duration.ms=15000"]),
    ] {
        let server = Server::start(Script::good(2));
        let run = run(&server, "share", &[&LOAD[..], more].concat());
        let stderr = String::from_utf8_lossy(&run.output.stderr).into_owned();
        assert_eq!(run.code(), Some(0), "{more:?}: {} {stderr}", run.report["whole"]);
        assert_eq!((run.number("/whole/traffic/records_sent"), run.errors()), (RECORDS, 0), "{more:?}");
        let [acquired, redelivered, accepted, released, rejected] =
            ["acquired", "redelivered", "accepted", "released", "rejected"].map(|what| run.shares(what));
        assert_eq!(accepted + rejected, groups * RECORDS, "{more:?}");
        assert_eq!((acquired, released), (groups * RECORDS + redelivered, redelivered), "{more:?}");
        assert_eq!(run.found("checked"), acquired);
        assert_eq!(acquired, run.number("/whole/traffic/records_received"));
        // Each once: how long a record took that was given back before does not count.
        assert_eq!(run.latencies("end_to_end").len(), groups * RECORDS);
        assert_eq!(run.latencies("acknowledge").len(), accepted + released + rejected);
        assert_eq!(released > 500, more.contains(&"--release"), "{released} of 5000 were released");
        assert_eq!(rejected > 300, more.contains(&"--reject"), "{rejected} of 5000 were rejected");
        let text = String::from_utf8_lossy(&run.output.stdout);
        assert!(text.contains("acquired") && text.contains("acknowledged"), "{text}");
        let reset = server.group_setting("share.auto.offset.reset");
        assert_eq!(reset.as_deref(), Some("earliest"));
        let lock = server.group_setting("share.record.lock.duration.ms");
        assert_eq!(lock.is_some(), more.contains(&"--group-config"));
    }
}

#[test]
fn a_backlog_is_taken_without_producers() {
    let server = Server::start(Script::good(3));
    let sent = run(&server, "produce", &["--rate", "100k", "--records", "3000", "--record-size", "50"]);
    assert_eq!(sent.code(), Some(0));
    let taken = run(&server, "share", &["--records", "3000", "--consumers", "2"]);
    assert_eq!(taken.code(), Some(0), "{}", taken.report["whole"]);
    assert_eq!((taken.shares("acquired"), taken.shares("accepted"), taken.errors()), (3000, 3000, 0));
    // The group has come to the end.
    let again = run(&server, "share", &["--duration", "200ms"]);
    assert_eq!((again.code(), again.number("/whole/traffic/records_received")), (Some(0), 0));
    let other = run(&server, "share", &["--records", "3000", "--group", "other"]);
    assert_eq!(other.shares("accepted"), 3000);
}

#[test]
fn a_log_that_loses_records_is_caught() {
    let run = verified(Misdeed::Loses, "share", &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("lost") > 0, "{}", run.report["whole"]);
    assert_eq!(run.found("lost") + run.shares("accepted"), RECORDS);
    assert_eq!((run.found("repeated"), run.found("reordered"), run.found("damaged")), (0, 0, 0));
}

#[test]
fn a_log_that_repeats_records_is_caught() {
    let run = verified(Misdeed::Repeats, "share", &["--consumers", "2"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("repeated") > 0, "{}", run.report["whole"]);
    assert_eq!(run.shares("accepted"), RECORDS + run.found("repeated"));
    assert_eq!((run.found("lost"), run.found("damaged")), (0, 0));
}

#[test]
fn a_log_that_swaps_records_is_caught() {
    let run = verified(Misdeed::Swaps, "share", &["--consumers", "2"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("reordered") > 0, "{}", run.report["whole"]);
    assert_eq!((run.found("lost"), run.found("repeated"), run.found("damaged")), (0, 0, 0));
}

#[test]
fn a_log_that_changes_records_is_caught() {
    let run = verified(Misdeed::Damages, "share", &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("damaged") > 0, "{}", run.report["whole"]);
}

#[test]
fn a_group_that_passes_records_by_is_caught() {
    let run = troubled(Trouble::Skips, &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("lost") > 0, "{}", run.report["whole"]);
    assert_eq!(run.found("lost") + run.shares("accepted"), RECORDS);
    assert_eq!((run.found("repeated"), run.found("reordered")), (0, 0));
}

#[test]
fn a_group_that_gives_away_again_what_was_accepted_is_caught() {
    let run = troubled(Trouble::GivesAgain, &["--consumers", "2"]);
    assert_eq!(run.code(), Some(1));
    assert!(run.found("repeated") > 0 && run.shares("redelivered") > 0, "{}", run.report["whole"]);
    assert_eq!((run.found("lost"), run.found("reordered")), (0, 0));
}

#[test]
fn what_a_group_refuses_or_forgets_is_an_error_and_no_loss() {
    for (trouble, error) in [
        (Trouble::Refuses, "acknowledge: INVALID_RECORD_STATE"),
        (Trouble::ForgetsSessions, "SHARE_SESSION_NOT_FOUND"),
        (Trouble::ForgetsMembers, "UNKNOWN_MEMBER_ID"),
    ] {
        let run = troubled(trouble, &["--consumers", "2"]);
        assert_eq!(run.code(), Some(0), "{trouble:?}: {}", run.report["whole"]);
        assert!(run.number(&format!("/whole/errors/{error}")) > 0, "{trouble:?}");
        assert!(run.shares("accepted") <= RECORDS, "{trouble:?}: {}", run.report["whole"]);
        assert_eq!((run.found("lost"), run.found("repeated")), (0, 0));
    }
}
