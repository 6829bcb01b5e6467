//! Starts the real binary on an image and holds what it serves against what clients had been told by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use model::batch::RecordBatch;
use protocol::control::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::control::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::control::messages::{
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use protocol::message;

use super::broker::Broker;
use super::ledger::{Batch, Book, Identity, KEYS, Kind, LogName, Moment, Topic, identity};
use super::wire::Wire;

/// COORDINATOR_LOAD_IN_PROGRESS and those that come before it.
const LOADING: std::ops::RangeInclusive<i16> = 14..=16;

/// One image to look at.
pub struct Job {
    pub number: u64,
    pub image: PathBuf,
    pub moment: Moment,
    pub cores: u64,
}

/// One partition as it was read back.
struct Log {
    start: i64,
    end: i64,
    /// Whose record stands at which offset.
    records: Vec<(i64, Identity)>,
}

/// The book, with the batches of each log together.
pub struct Index<'a> {
    book: &'a Book,
    batches: BTreeMap<&'a LogName, Vec<&'a Batch>>,
}

impl<'a> Index<'a> {
    pub fn new(book: &'a Book) -> Self {
        let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
        book.batches.iter().for_each(|batch| batches.entry(&batch.log).or_default().push(batch));
        Self { book, batches }
    }

    fn of(&self, log: &LogName) -> &[&'a Batch] {
        self.batches.get(log).map_or(&[], Vec::as_slice)
    }
}

/// Everything that is wrong with an image, each beginning with the word of its kind. Empty: the promise was kept.
pub fn violations(binary: &Path, book: &Index<'_>, job: &Job) -> Vec<String> {
    let log = job.image.with_extension("log");
    let arguments = ["--cores", &job.cores.to_string(), "--memory", &format!("{}MiB", 64 * job.cores)];
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let mut broker = match Broker::launch(binary, &job.image, &log, &arguments).ready() {
        Ok(broker) => broker,
        Err(why) => return vec![format!("NOT RECOVERED: {why}")],
    };
    let mut found = Vec::new();
    if let Err(error) = look(&broker.address, book, job.moment, &mut found) {
        found.push(format!("BROKEN OFF: {error}\n{}", broker.log()));
    }
    broker.kill();
    let errors = broker.log();
    found
        .extend(errors.lines().filter(|line| line.contains("ERROR")).map(|line| format!("LOG LINE: {line}")));
    // Nothing depends on it.
    let _ = fs::remove_file(log);
    found
}

fn look(address: &str, index: &Index<'_>, moment: Moment, found: &mut Vec<String>) -> io::Result<()> {
    let mut wire = Wire::connect(address)?;
    let there = topics(&mut wire)?;
    let book = index.book;
    for (name, topic) in &book.topics {
        judge_topic(name, topic, there.get(name).copied(), moment, found);
    }
    let mut ends = BTreeMap::new();
    for (name, partitions) in &there {
        let Some(topic) = book.topics.get(name) else { continue };
        for partition in 0..*partitions {
            let log = (name.clone(), partition);
            let read = read(&mut wire, &log, topic.kind, found)?;
            judge_log(&log, topic.kind, &read, index, moment, found);
            if topic.kind != Kind::Relaxed {
                repeat(&mut wire, &log, &read, index.of(&log), moment, found)?;
            }
            ends.insert(log, read.end);
        }
    }
    groups(&mut wire, book, moment, &ends, found)
}

/// The topics that are there, with their numbers of partitions.
fn topics(wire: &mut Wire) -> io::Result<BTreeMap<String, u32>> {
    let response: MetadataResponse = wire.ask(9, &message!(MetadataRequest { topics: None }))?;
    let topics = response.topics.iter().map(|topic| {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        (name, u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
    });
    Ok(topics.collect())
}

fn judge_topic(name: &str, topic: &Topic, there: Option<u32>, moment: Moment, found: &mut Vec<String>) {
    let created = topic.created.told_by(moment).is_some();
    let deletion_asked = topic.deleted.as_ref().is_some_and(|deleted| deleted.asked_by(moment));
    let deleted = topic.deleted.as_ref().is_some_and(|deleted| deleted.told_by(moment).is_some());
    match there {
        None if created && !deletion_asked => {
            found.push(format!("TOPIC LOST: {name} was created at {:?}", topic.created));
        }
        Some(_) if deleted => found.push(format!("TOPIC BACK: {name} was deleted: {:?}", topic.deleted)),
        Some(_) if !topic.created.asked_by(moment) => {
            found.push(format!("TOPIC TOO EARLY: {name}: {:?}", topic.created));
        }
        Some(partitions) if partitions != topic.partitions => {
            found.push(format!("TOPIC CHANGED: {name} has {partitions} partitions"));
        }
        _ => {}
    }
}

fn read(wire: &mut Wire, log: &LogName, kind: Kind, found: &mut Vec<String>) -> io::Result<Log> {
    let (start, end) = (offset(wire, log, -2)?, offset(wire, log, -1)?);
    let mut records = Vec::new();
    let mut next = start;
    while next < end {
        let fetched = wire.fetch(&log.0, log.1, next)?;
        if fetched.error != 0 || fetched.records.is_empty() {
            found.push(format!(
                "UNREADABLE: {log:?} at {next} of {start}..{end}: error {}, {} bytes",
                fetched.error,
                fetched.records.len()
            ));
            break;
        }
        if let Err(why) = take(&fetched.records, &mut next, kind == Kind::Compacted, &mut records) {
            found.push(format!("DAMAGED: {log:?} at {next} of {start}..{end}: {why}"));
            break;
        }
    }
    Ok(Log { start, end, records })
}

/// Takes the records from offset `next` on, which follow one another, unless there may be gaps.
fn take(bytes: &[u8], next: &mut i64, gaps: bool, records: &mut Vec<(i64, Identity)>) -> Result<(), String> {
    for batch in RecordBatch::all_in(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.check_crc().map_err(|error| error.to_string())?;
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            let offset = record.offset(&batch).0;
            if offset < *next {
                continue; // The batch begins before the log does.
            }
            if offset > *next && !gaps {
                return Err(format!("offset {offset} follows"));
            }
            let whose = record.value.and_then(identity).ok_or("a value is damaged")?;
            records.push((offset, whose));
            *next = offset + 1;
        }
        if gaps {
            *next = batch.last_offset().0 + 1;
        }
    }
    Ok(())
}

fn offset(wire: &mut Wire, log: &LogName, timestamp: i64) -> io::Result<i64> {
    let partition_index = i32::try_from(log.1).map_err(io::Error::other)?;
    let partition = message!(ListOffsetsPartition { partition_index: partition_index, timestamp: timestamp });
    let topic = message!(ListOffsetsTopic { name: log.0.as_str().into(), partitions: vec![partition] });
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let response: ListOffsetsResponse = wire.ask(7, &request)?;
    let answer = &response.topics[0].partitions[0];
    if answer.error_code == 0 {
        Ok(answer.offset)
    } else {
        Err(io::Error::other(format!("offsets of {log:?}: error {}", answer.error_code)))
    }
}

fn judge_log(
    log: &LogName,
    kind: Kind,
    read: &Log,
    index: &Index<'_>,
    moment: Moment,
    found: &mut Vec<String>,
) {
    judge_start(log, kind, read, index.book, moment, found);
    // The sequences of an idempotent producer have no gaps, acknowledged or not.
    let idempotent = index.of(log).iter().filter(|batch| batch.bytes.is_some());
    let idempotent: BTreeSet<u32> = idempotent.map(|batch| batch.producer).collect();
    let mut last_of_key: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (offset, whose) in &read.records {
        last_of_key.insert((whose.producer, whose.number % KEYS), whose.number);
        if !seen.insert(*whose) {
            found.push(format!("REPEATED: {whose:?} in {log:?} at {offset}"));
        } else if newest.get(&whose.producer).is_some_and(|newest| *newest > whose.number) {
            found.push(format!("REORDERED: {whose:?} in {log:?} at {offset}"));
        }
        let next = newest.get(&whose.producer).map(|newest| newest + 1).or((read.start == 0).then_some(0));
        let gapless = kind != Kind::Compacted && idempotent.contains(&whose.producer);
        if gapless && next.is_some_and(|next| whose.number > next) {
            found.push(format!(
                "GAP: {whose:?} in {log:?} at {offset} follows {:?}",
                newest.get(&whose.producer)
            ));
        }
        newest.insert(whose.producer, whose.number);
    }
    for batch in index.of(log) {
        let last = Identity { producer: batch.producer, number: batch.first + batch.count - 1 };
        if !batch.asked.asked_by(moment) {
            if seen.contains(&last) {
                found.push(format!("TOO EARLY: {last:?} in {log:?} was sent at {:?}", batch.asked.at));
            }
            continue;
        }
        let Some(base) = batch.asked.told_by(moment).filter(|_| kind != Kind::Relaxed) else { continue };
        for (offset, number) in (*base..).zip(batch.first..batch.first + batch.count) {
            let wanted = Identity { producer: batch.producer, number };
            let place = read.records.binary_search_by_key(&offset, |(offset, _)| *offset).ok();
            let there = place.and_then(|place| read.records.get(place)).map(|(_, whose)| whose);
            let replaced = kind == Kind::Compacted
                && last_of_key.get(&(wanted.producer, number % KEYS)).is_some_and(|last| *last > number);
            if offset >= read.start && there != Some(&wanted) && !(there.is_none() && replaced) {
                found.push(format!(
                    "LOST: {wanted:?}, acknowledged at offset {offset} of {log:?} at {:?}; there is {there:?} in {}..{}",
                    batch.asked.answered, read.start, read.end
                ));
                break;
            }
        }
    }
}

/// A log begins where somebody was told or wanted it to begin, or where retention may have left it.
fn judge_start(log: &LogName, kind: Kind, read: &Log, book: &Book, moment: Moment, found: &mut Vec<String>) {
    let trims = || book.trims.iter().filter(|trim| trim.log == *log);
    let least = trims().filter(|trim| trim.asked.told_by(moment).is_some()).map(|trim| trim.before).max();
    let most = trims().filter(|trim| trim.asked.asked_by(moment)).map(|trim| trim.before).max();
    if least.is_some_and(|least| read.start < least) {
        found.push(format!("BACK: {log:?} starts at {}, it was trimmed to {least:?}", read.start));
    }
    if kind != Kind::Retained && read.start > most.unwrap_or(0) {
        found.push(format!("LOST: {log:?} starts at {}, it may at most at {most:?}", read.start));
    }
}

/// What an idempotent producer sends again is known, if it is there.
fn repeat(
    wire: &mut Wire,
    log: &LogName,
    read: &Log,
    batches: &[&Batch],
    moment: Moment,
    found: &mut Vec<String>,
) -> io::Result<()> {
    let known = batches.iter().filter(|batch| batch.bytes.is_some());
    let producers: BTreeSet<u32> = known.map(|batch| batch.producer).collect();
    for producer in producers {
        let newest = read.records.iter().rfind(|(_, whose)| whose.producer == producer);
        let Some((last, Identity { number, .. })) = newest.copied() else { continue };
        let batch = batches.iter().find(|batch| {
            batch.producer == producer && (batch.first..batch.first + batch.count).contains(&number)
        });
        let Some((batch, bytes)) = batch.and_then(|batch| Some((batch, batch.bytes.as_ref()?))) else {
            continue;
        };
        if number != batch.first + batch.count - 1 {
            found.push(format!("TORN: {log:?} ends within batch {} of producer {producer}", batch.first));
            continue;
        }
        let base = last + 1 - i64::try_from(batch.count).map_err(io::Error::other)?;
        wire.send_batch(&log.0, log.1, bytes)?;
        let answer = wire.batch_answer(&log.0)?;
        if answer != (0, base) {
            found.push(format!(
                "NOT KNOWN: batch {} of producer {producer} at {base} of {log:?} at {moment:?}: {answer:?}",
                batch.first
            ));
        }
    }
    let end = offset(wire, log, -1)?;
    if end != read.end {
        found.push(format!("REPEATED: {log:?} ended at {} and ends at {end}", read.end));
    }
    Ok(())
}

/// What groups committed: not less than they were told, not more than there is.
fn groups(
    wire: &mut Wire,
    book: &Book,
    moment: Moment,
    ends: &BTreeMap<LogName, i64>,
    found: &mut Vec<String>,
) -> io::Result<()> {
    let kept: BTreeSet<(&String, &LogName)> =
        book.commits.iter().map(|commit| (&commit.group, &commit.log)).collect();
    for (group, log) in kept {
        let commits: Vec<_> =
            book.commits.iter().filter(|commit| commit.group == *group && commit.log == *log).collect();
        let told = commits.iter().rposition(|commit| commit.asked.told_by(moment).is_some());
        if told.is_none() {
            // Then there need not even be a topic of offsets.
            continue;
        }
        let possible = commits.iter().skip(told.unwrap_or(0));
        let possible: BTreeSet<i64> =
            possible.filter(|commit| commit.asked.asked_by(moment)).map(|commit| commit.offset).collect();
        let offset = committed(wire, group, log)?;
        if !possible.contains(&offset) {
            found.push(format!("COMMIT LOST: {group} has {offset} of {log:?}, not one of {possible:?}"));
        }
        if ends.get(log).is_some_and(|end| offset > *end) {
            found.push(format!(
                "COMMIT AHEAD: {group} has {offset} of {log:?}, which ends at {:?}",
                ends.get(log)
            ));
        }
    }
    Ok(())
}

fn committed(wire: &mut Wire, group: &str, log: &LogName) -> io::Result<i64> {
    let partition = i32::try_from(log.1).map_err(io::Error::other)?;
    let topic = message!(OffsetFetchRequestTopics {
        name: log.0.as_str().into(),
        partition_indexes: vec![partition],
    });
    let group = message!(OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![topic]) });
    let request = message!(OffsetFetchRequest { groups: vec![group] });
    for _ in 0..5000 {
        let response: OffsetFetchResponse = wire.ask(9, &request)?;
        let group = &response.groups[0];
        if LOADING.contains(&group.error_code) {
            thread::sleep(Duration::from_millis(2));
        } else if group.error_code == 0 {
            return Ok(group.topics[0].partitions[0].committed_offset);
        } else {
            return Err(io::Error::other(format!("offsets of a group: error {}", group.error_code)));
        }
    }
    Err(io::Error::other("a group coordinator does not load"))
}
