//! The rest of the load: topics made and deleted, records deleted, offsets committed.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use protocol::control::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::control::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::control::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::control::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    OffsetCommitRequest, OffsetCommitResponse,
};
use protocol::message;
use storage::disk::random::Random;

use super::ledger::{Batch, Commit, Kind, LogName, Topic, Trim};
use super::load::{Stage, batch};
use super::wire::Wire;

/// TOPIC_ALREADY_EXISTS: the broker died between doing it and saying so.
const EXISTS: i16 = 36;
/// UNKNOWN_TOPIC_OR_PARTITION, likewise.
const UNKNOWN: i16 = 3;
/// Commits under way at a time.
const COMMITS_AT_ONCE: usize = 50;

/// Creates a topic, over and over until the broker has said that it is there.
pub fn create_topic(stage: &Stage, name: &str, kind: Kind, partitions: u32, settings: &[(&str, String)]) {
    let configs = settings.iter().map(|(name, value)| {
        message!(CreatableTopicConfig { name: (*name).into(), value: Some(value.as_str().into()) })
    });
    let topic = message!(CreatableTopic {
        name: name.into(),
        num_partitions: i32::try_from(partitions).expect("few"),
        replication_factor: 1,
        configs: configs.collect(),
    });
    let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000 });
    let created = stage.ledger.ask();
    let facts = Topic { kind, partitions, created, deleted: None };
    stage.ledger.book().topics.insert(name.to_owned(), facts);
    while let Some(mut wire) = stage.connect() {
        let Ok(response) = wire.ask::<_, CreateTopicsResponse>(7, &request) else { continue };
        let error = response.topics[0].error_code;
        let answer = stage.ledger.answer(());
        let mut book = stage.ledger.book();
        match error {
            0 | EXISTS => book.topics.get_mut(name).expect("put above").created.answered = answer,
            _ => book.complaints.push(format!("creating {name}: error {error}")),
        }
        return;
    }
}

fn delete_topic(stage: &Stage, name: &str) {
    let request = message!(DeleteTopicsRequest { topic_names: vec![name.into()], timeout_ms: 60_000 });
    let deleted = stage.ledger.ask();
    stage.ledger.book().topics.get_mut(name).expect("it was created").deleted = Some(deleted);
    while let Some(mut wire) = stage.connect() {
        let Ok(response) = wire.ask::<_, DeleteTopicsResponse>(5, &request) else { continue };
        let error = response.responses[0].error_code;
        let answer = stage.ledger.answer(());
        let mut book = stage.ledger.book();
        match (error, book.topics.get_mut(name).and_then(|topic| topic.deleted.as_mut())) {
            (0 | UNKNOWN, Some(deleted)) => deleted.answered = answer,
            _ => book.complaints.push(format!("deleting {name}: error {error}")),
        }
        return;
    }
}

/// Makes topics, writes to them, deletes most of them again.
pub fn come_and_go(stage: &Arc<Stage>, mut random: Random) {
    for number in 0.. {
        if stage.is_over() {
            return;
        }
        let name = format!("passing-{number}");
        create_topic(stage, &name, Kind::Whole, 2, &[("internal.segment.bytes", "65536".into())]);
        for first in 0..random.below(4) {
            // Not sent again when the broker goes away: then nobody was told anything.
            let _ = write_one(stage, (name.clone(), 0), 1000 + number, first, &mut random);
        }
        if random.below(4) > 0 {
            delete_topic(stage, &name);
        }
        thread::sleep(Duration::from_millis(random.between(30, 250)));
    }
}

fn write_one(stage: &Stage, log: LogName, producer: u32, place: u64, random: &mut Random) -> io::Result<()> {
    let first = place * 100;
    let (bytes, count) = batch(producer, first, None, random);
    let Some(mut wire) = stage.connect() else { return Ok(()) };
    let index = {
        let asked = stage.ledger.ask();
        let mut book = stage.ledger.book();
        book.batches.push(Batch { producer, log: log.clone(), first, count, bytes: None, asked });
        book.batches.len() - 1
    };
    wire.send_batch(&log.0, log.1, &bytes)?;
    let (error, base) = wire.batch_answer(&log.0)?;
    let answer = stage.ledger.answer(base);
    if error == 0 {
        stage.ledger.book().batches[index].asked.answered = answer;
    } else {
        stage.complain(format!("writing to {log:?}: error {error}"));
    }
    Ok(())
}

/// The newest offset behind an acknowledged batch of a log.
fn acknowledged_end(stage: &Stage, log: &LogName) -> Option<i64> {
    let book = stage.ledger.book();
    let acked = book.batches.iter().rev().filter(|batch| batch.log == *log);
    acked.filter_map(|batch| batch.asked.answered.as_ref().map(|(base, _)| base + count(batch))).next()
}

fn count(batch: &Batch) -> i64 {
    i64::try_from(batch.count).expect("a batch")
}

/// Deletes records of logs, up to somewhere before their ends.
pub fn trim(stage: &Arc<Stage>, logs: &[LogName], mut random: Random) {
    while !stage.is_over() {
        thread::sleep(Duration::from_millis(random.between(20, 250)));
        let log = logs[random.index(logs.len())].clone();
        let Some(end) = acknowledged_end(stage, &log) else { continue };
        let before = end - i64::try_from(random.below(60)).expect("few");
        if before <= 0 {
            continue;
        }
        let partition = message!(DeleteRecordsPartition {
            partition_index: i32::try_from(log.1).expect("few"),
            offset: before,
        });
        let topic = message!(DeleteRecordsTopic { name: log.0.as_str().into(), partitions: vec![partition] });
        let request = message!(DeleteRecordsRequest { topics: vec![topic], timeout_ms: 60_000 });
        let asked = stage.ledger.ask();
        let index = {
            let mut book = stage.ledger.book();
            book.trims.push(Trim { log: log.clone(), before, asked });
            book.trims.len() - 1
        };
        let Some(mut wire) = stage.connect() else { return };
        let Ok(response) = wire.ask::<_, DeleteRecordsResponse>(2, &request) else { continue };
        let result = &response.topics[0].partitions[0];
        let answer = stage.ledger.answer(());
        let mut book = stage.ledger.book();
        match result.error_code {
            0 => book.trims[index].asked.answered = answer,
            // The end was lower than what its client had been told.
            error => {
                book.complaints.push(format!("deleting records of {log:?} before {before}: error {error}"))
            }
        }
    }
}

/// Commits offsets of what is acknowledged, for groups without members. `metadata` makes the commits large.
pub fn commit(stage: &Arc<Stage>, logs: &[LogName], metadata: &str, mut random: Random) {
    while let Some(mut wire) = stage.connect() {
        // Whoever loses the broker starts again.
        let _ = commit_on(stage, &mut wire, logs, metadata, &mut random);
    }
}

fn commit_on(
    stage: &Stage,
    wire: &mut Wire,
    logs: &[LogName],
    metadata: &str,
    random: &mut Random,
) -> io::Result<()> {
    let groups = ["readers", "writers"];
    for group in groups {
        find_coordinator(stage, wire, group)?;
    }
    while !stage.is_over() {
        let mut under_way = Vec::new();
        for _ in 0..random.between(1, COMMITS_AT_ONCE as u64) {
            let log = logs[random.index(logs.len())].clone();
            let Some(offset) = acknowledged_end(stage, &log) else { continue };
            let group = groups[random.index(groups.len())];
            let request = commit_of(group, &log, offset, metadata);
            under_way.push(book_commit(stage, group, log, offset));
            wire.tell(9, &request)?;
        }
        for index in under_way {
            let response: OffsetCommitResponse = wire.hear(9)?;
            let error = response.topics[0].partitions[0].error_code;
            let answer = stage.ledger.answer(());
            let mut book = stage.ledger.book();
            match error {
                0 => book.commits[index].asked.answered = answer,
                // It loads, or is about to be made: nothing is promised.
                14..=16 => {}
                error => book.complaints.push(format!("committing: error {error}")),
            }
        }
        thread::sleep(Duration::from_millis(random.below(8)));
    }
    Ok(())
}

fn find_coordinator(stage: &Stage, wire: &mut Wire, group: &str) -> io::Result<()> {
    let request = message!(FindCoordinatorRequest { coordinator_keys: vec![group.into()] });
    while !stage.is_over() {
        let response: FindCoordinatorResponse = wire.ask(4, &request)?;
        if response.coordinators[0].error_code == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn book_commit(stage: &Stage, group: &str, log: LogName, offset: i64) -> usize {
    let asked = stage.ledger.ask();
    let mut book = stage.ledger.book();
    book.commits.push(Commit { group: group.to_owned(), log, offset, asked });
    book.commits.len() - 1
}

fn commit_of(group: &str, log: &LogName, offset: i64, metadata: &str) -> OffsetCommitRequest {
    let partition = message!(OffsetCommitRequestPartition {
        partition_index: i32::try_from(log.1).expect("few"),
        committed_offset: offset,
        committed_metadata: Some(metadata.into()),
    });
    let topic =
        message!(OffsetCommitRequestTopic { name: log.0.as_str().into(), partitions: vec![partition] });
    message!(OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
    })
}
