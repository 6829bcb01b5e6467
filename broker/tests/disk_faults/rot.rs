//! Bit rot at rest, one file at a time.

use std::fs;
use std::path::{Path, PathBuf};

use model::limits::BLOCK;
use protocol::control::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::control::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use protocol::message;

use super::broker::Broker;
use super::fixture::{
    COMMITTED, OTHER, RECORDS, STORAGE_ERROR, Scratch, VICTIM, committed, create_topic, flip, produce, read,
    template,
};
use super::wire::Wire;

/// It does not start, with exit code 4, and says which file, where, and what to do.
fn refuses(scratch: &Scratch, file: &Path, place: &str) {
    let Err(why) = scratch.launch() else { panic!("it started with {} damaged", file.display()) };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(why.contains("exit status: 4"), "{why}");
    assert!(why.contains(name), "{name} is named: {why}");
    assert!(why.contains(place), "{place:?} is said: {why}");
    assert!(why.contains("restore"), "a remedy is said: {why}");
}

/// Everything of the topic that was not damaged, and what the group committed.
fn rest_is_there(broker: &Broker) -> Wire {
    let mut wire = Wire::connect(&broker.address).unwrap();
    assert_eq!(read(&mut wire, OTHER, 0), (RECORDS, 0));
    assert_eq!(committed(&mut wire), Ok(COMMITTED));
    wire
}

fn said(broker: &Broker, level: &str, words: &[&str]) {
    let log = broker.log();
    let line = log.lines().find(|line| line.contains(level) && words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "no {level} line with {words:?} in\n{log}");
}

/// Segments of the damaged topic: those of the topic created first come first in no order, so by their contents.
pub fn segments(scratch: &Scratch, topic: &str) -> Vec<PathBuf> {
    let mut found = scratch.files("topics", ".log");
    found.retain(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(topic.len() + 1).any(|window| window == format!("{topic} ").as_bytes())
    });
    found
}

/// Where the batch with that base offset stands in a segment.
pub fn batch_at(path: &Path, offset: i64) -> usize {
    let bytes = fs::read(path).unwrap();
    let wanted = offset.to_be_bytes();
    let at = (BLOCK..bytes.len() - 61).find(|at| bytes[*at..at + 8] == wanted && bytes[at + 16] == 2);
    at.unwrap()
}

#[test]
fn a_journal_that_rots_stops_the_start() {
    let template = template("killed", false);
    let ring = Scratch::copy_of("ring", &template.data());
    let mut files = ring.files("journals", "");
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("ring-"));
    // Of one journal: a frame that is not the last, and so late that no checkpoint has let go of it.
    let journal = files[0].parent().unwrap().to_owned();
    files.retain(|file| file.parent() == Some(&*journal));
    let mut frames: Vec<_> = files.iter().flat_map(|file| frames(file)).collect();
    frames.sort();
    let (_, file, at) = &frames[frames.len() - 4];
    flip(file, at + 100);
    refuses(&ring, file, &format!("byte {at}"));

    let slots = Scratch::copy_of("slots", &template.data());
    let files = slots.files("journals", "checkpoint-0");
    files.iter().for_each(|file| flip(file, 20));
    let others = slots.files("journals", "checkpoint-1");
    others.iter().for_each(|file| flip(file, 20));
    refuses(&slots, &files[0], "checksum");
}

/// The frames of a ring file: sequence, file, and where in it.
fn frames(path: &Path) -> Vec<(u64, PathBuf, usize)> {
    let bytes = fs::read(path).unwrap();
    let starts = (BLOCK..bytes.len()).step_by(BLOCK).filter(|at| bytes[*at..].starts_with(b"MLJF"));
    starts
        .map(|at| (u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap()), path.to_owned(), at))
        .collect()
}

#[test]
fn metadata_that_rots_stops_the_start() {
    let template = template("metadata", false);
    for (end, at, place) in
        [(".log", BLOCK + 60, "at byte 41"), (".log", 20, "byte 0"), ("hard-state", 20, "byte 0")]
    {
        let scratch = Scratch::copy_of("metadata", &template.data());
        let file = scratch.files("metadata", end).pop().unwrap();
        flip(&file, at);
        refuses(&scratch, &file, place);
    }
    let scratch = Scratch::copy_of("meta", &template.data());
    let file = scratch.files("meta.properties", "").remove(0);
    fs::write(&file, "version=1\n").unwrap();
    let Err(why) = scratch.launch() else { panic!("it started without an identity") };
    assert!(why.contains("exit status: 4") && why.contains("meta.properties"), "{why}");
}

/// Changes a setting of all brokers until the metadata has a snapshot: after four MiB.
fn alter_until_snapshot(scratch: &Scratch, wire: &mut Wire) {
    for turn in 0.. {
        if !scratch.files("metadata", ".snapshot").is_empty() {
            return;
        }
        let value = char::from(b'a' + turn % 20).to_string().repeat(30_000);
        let config = message!(AlterableConfig { name: "some.name".into(), value: Some(value.into()) });
        let resource = message!(AlterConfigsResource { resource_type: 4, configs: vec![config] });
        let request = message!(IncrementalAlterConfigsRequest { resources: vec![resource] });
        let response: IncrementalAlterConfigsResponse = wire.ask(1, &request).unwrap();
        assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
    }
}

#[test]
fn a_snapshot_of_the_metadata_that_rots_stops_the_start() {
    let template = Scratch::new("metadata-snapshot");
    let mut broker = template.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    create_topic(&mut wire, VICTIM);
    assert_eq!(produce(&mut wire, VICTIM, 0), (0, 0));
    alter_until_snapshot(&template, &mut wire);
    assert_eq!(broker.stop(), Some(0), "{}", broker.log());

    let whole = Scratch::copy_of("metadata-snapshot", &template.data());
    let broker = whole.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    assert_eq!(read(&mut wire, VICTIM, 0), (1, 0), "the snapshot is what tells of the topic");
    drop(broker);

    let snapshot = template.files("metadata", ".snapshot").pop().unwrap();
    let bytes = usize::try_from(fs::metadata(&snapshot).unwrap().len()).unwrap();
    // Its magic, its version, what it covers, and what is in it, in the beginning, the middle and the end.
    for at in [1, 5, 20, 60, bytes / 2, bytes - 1] {
        let scratch = Scratch::copy_of("metadata-snapshot", &template.data());
        let file = scratch.files("metadata", ".snapshot").pop().unwrap();
        flip(&file, at);
        refuses(&scratch, &file, "byte 0");
        let again = scratch.files("metadata", ".snapshot");
        assert_eq!(again, [file], "nothing is removed by a start that fails");
    }
    let scratch = Scratch::copy_of("metadata-snapshot", &template.data());
    let log = scratch.files("metadata", ".log").pop().unwrap();
    fs::remove_file(scratch.files("metadata", ".snapshot").pop().unwrap()).unwrap();
    refuses(&scratch, &log, "are covered");
}

#[test]
fn a_record_that_rots_is_never_sent_and_the_rest_is() {
    let template = template("stopped", true);
    // In the batch: its records, its checksum, its length, its base offset up and down.
    for inside in [200, 18, 10, 6, 7] {
        let scratch = Scratch::copy_of("segment", &template.data());
        let segments = segments(&scratch, VICTIM);
        assert!(segments.len() > 3, "{segments:?}");
        let base: i64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let bad = base + 3;
        let at = batch_at(&segments[1], bad);
        flip(&segments[1], at + inside);
        let mut broker = scratch.launch().unwrap();
        let mut wire = rest_is_there(&broker);
        assert_eq!(read(&mut wire, VICTIM, 0), (bad, STORAGE_ERROR), "byte {inside} of the batch");
        assert_eq!(read(&mut wire, VICTIM, bad), (bad, STORAGE_ERROR), "byte {inside} of the batch");
        let next: i64 = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(read(&mut wire, VICTIM, next), (RECORDS, 0), "what follows is there");
        let name = segments[1].file_name().unwrap().to_str().unwrap();
        said(&broker, "ERROR", &[name, &format!("byte {at}"), "restore"]);
        assert!(broker.metric("millrace_damaged_reads_total") > 0);
        assert_eq!(produce(&mut wire, VICTIM, RECORDS), (0, RECORDS), "it goes on taking records");
        assert_eq!(broker.stop(), Some(0));
    }
}

#[test]
fn an_index_that_rots_is_made_again() {
    let template = template("index", true);
    let scratch = Scratch::copy_of("index", &template.data());
    let files = scratch.files("topics", ".index");
    assert!(!files.is_empty());
    files.iter().for_each(|file| flip(file, 30));
    let broker = scratch.launch().unwrap();
    let mut wire = rest_is_there(&broker);
    assert_eq!(read(&mut wire, VICTIM, 0), (RECORDS, 0));
    said(&broker, "WARN", &[".index", "is made again"]);
}

#[test]
fn a_partition_that_cannot_be_opened_says_why_and_the_others_serve() {
    let template = template("open", true);
    let header = |scratch: &Scratch| (segments(scratch, VICTIM).pop().unwrap(), 9);
    let snapshot = |scratch: &Scratch| {
        let directory = segments(scratch, VICTIM)[0].parent().unwrap().to_path_buf();
        let mut files = scratch.files("topics", ".snapshot");
        files.retain(|file| file.starts_with(&directory));
        (files.pop().unwrap(), 30)
    };
    for round in 0..2 {
        let scratch = Scratch::copy_of("open", &template.data());
        let (file, at) = if round == 0 { header(&scratch) } else { snapshot(&scratch) };
        flip(&file, at);
        let broker = scratch.launch().unwrap();
        let mut wire = rest_is_there(&broker);
        assert_eq!(read(&mut wire, VICTIM, 0), (0, STORAGE_ERROR));
        assert_eq!(produce(&mut wire, VICTIM, RECORDS).0, STORAGE_ERROR);
        said(&broker, "ERROR", &[file.file_name().unwrap().to_str().unwrap(), "restore"]);
        assert!(broker.metric("millrace_damaged_reads_total") > 0);
    }
}

#[test]
fn a_coordinators_snapshot_that_rots_is_passed_over() {
    let template = template("coordinator", true);
    let scratch = Scratch::copy_of("coordinator", &template.data());
    let file = scratch.files("topics", "coordinator").remove(0);
    flip(&file, 40);
    let broker = scratch.launch().unwrap();
    let mut wire = rest_is_there(&broker);
    assert_eq!(read(&mut wire, VICTIM, 0), (RECORDS, 0));
    said(&broker, "WARN", &["snapshot cannot be read"]);
}
