//! A disk that returns errors under the real binary, by request at the seam: a machine with device-mapper could do it below.

use std::fs;

use super::broker::Broker;
use super::fixture::{OTHER, RECORDS, STORAGE_ERROR, Scratch, VICTIM, create_topic, read, template};
use super::wire::Wire;

/// Both topics, with everything acknowledged, after a start on a disk that is well.
fn everything_is_there(scratch: &Scratch, acknowledged: i64) {
    let broker = scratch.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    let (end, error) = read(&mut wire, VICTIM, 0);
    assert!(error == 0 && end >= acknowledged, "{end} of {acknowledged}, error {error}");
}

/// Produces until the broker goes away or everything is acknowledged; how much was.
fn produce_while_it_lives(broker: &Broker, records: i64) -> i64 {
    let mut wire = Wire::connect(&broker.address).unwrap();
    create_topic(&mut wire, VICTIM);
    for offset in 0..records {
        match super::fixture::try_produce(&mut wire, VICTIM, offset) {
            Ok(answer) => assert_eq!(answer, (0, offset)),
            Err(_) => return offset,
        }
    }
    records
}

#[test]
fn a_read_that_fails_is_an_error_of_that_fetch() {
    let template = template("eio-read", true);
    let victim = template
        .files("topics", ".log")
        .into_iter()
        .find(|path| fs::read(path).unwrap().windows(7).any(|window| window == b"victim "));
    let victim = victim.unwrap();
    let partition = victim.parent().unwrap().strip_prefix(template.data()).unwrap().to_str().unwrap();
    // Opening the partition reads the header and the tail of its newest segment; then everything fails.
    let broker =
        template.launch_with(&["--set", &format!("millrace.disk.fail=read:{partition}/0000:5:6")]).unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    let mut failed = 0;
    while failed == 0 {
        failed = read(&mut wire, VICTIM, 0).1;
    }
    assert_eq!(failed, STORAGE_ERROR);
    assert_eq!(read(&mut wire, OTHER, 0), (RECORDS, 0));
    let log = broker.log();
    let line = log.lines().find(|line| line.contains("ERROR")).unwrap();
    assert!(line.contains(partition) && line.contains("at byte") && line.contains("os error 5"), "{line}");
    assert!(line.contains("restore"), "{line}");
    assert!(broker.metric("millrace_damaged_reads_total") > 0);
}

#[test]
fn a_segment_write_that_fails_once_costs_nothing_and_twice_the_process() {
    let scratch = Scratch::new("eio-segment");
    let mut broker = scratch.launch_with(&["--set", "millrace.disk.fail=write:.log:5:6:1"]).unwrap();
    assert_eq!(produce_while_it_lives(&broker, 400), 400);
    assert_eq!(broker.stop(), Some(0), "{}", broker.log());
    assert!(broker.log().contains("os error 5"), "{}", broker.log());
    everything_is_there(&scratch, 400);

    let scratch = Scratch::new("eio-segments");
    // Not the metadata log, which is written four times at the start.
    let mut broker = scratch.launch_with(&["--set", "millrace.disk.fail=write:/0/0:5:1"]).unwrap();
    let acknowledged = produce_while_it_lives(&broker, 4000);
    assert!(acknowledged < 4000);
    assert_eq!(broker.process.wait().unwrap().code(), Some(5), "{}", broker.log());
    assert!(broker.log().contains(".log at byte"), "{}", broker.log());
    everything_is_there(&scratch, acknowledged);
}

#[test]
fn a_journal_that_cannot_be_written_or_synced_ends_the_process_at_once() {
    for failure in ["write:ring-:5:20:1", "sync:ring-:5:20:1", "write:checkpoint:5:2:1"] {
        let scratch = Scratch::new("eio-journal");
        let mut broker = scratch.launch_with(&["--set", &format!("millrace.disk.fail={failure}")]).unwrap();
        // A checkpoint is due with every recycled file of the ring: 16 MiB are enough.
        let acknowledged = produce_while_it_lives(&broker, 8000);
        assert!(acknowledged < 8000, "{failure}");
        assert_eq!(broker.process.wait().unwrap().code(), Some(5), "{failure}: {}", broker.log());
        let log = broker.log();
        let line = log.lines().find(|line| line.contains("ERROR")).unwrap();
        assert!(line.contains("journal") && line.contains("os error 5"), "{failure}: {line}");
        everything_is_there(&scratch, acknowledged);
    }
}
