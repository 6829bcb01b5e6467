//! A stop in the middle of work.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::thread;

use model::batch::RecordBatch;

use super::beside::{Scene, read_back};
use super::harness::{Broker, Client, Scratch, run};
use super::wire::{Fetch, Wish, fetched};

const WRITERS: usize = 8;

/// What each record begins with: who wrote it, and which of theirs it is.
fn value(writer: usize, number: u64) -> Vec<u8> {
    let mut value = format!("{writer} {number} ").into_bytes();
    value.resize(20_000, b'v');
    value
}

/// Writes until the broker goes; what was acknowledged, by offset.
fn write(mut client: Client, writer: usize) -> BTreeMap<i64, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    for number in 0.. {
        let value = value(writer, number);
        let Ok(offset) = client.produce(&value) else { break };
        acknowledged.insert(offset, value);
    }
    acknowledged
}

/// Produces and reads back, one after the other, until the broker goes; what was acknowledged, by offset.
fn work_beside(mut client: Client) -> BTreeMap<i64, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    let mut turn = |number: u64| -> io::Result<()> {
        let value = format!("beside {number}").into_bytes();
        let offset = client.produce(&value)?;
        acknowledged.insert(offset, value.clone());
        assert_eq!(read_back(&mut client, offset)?, value);
        Ok(())
    };
    let end = (0..).find_map(|number| turn(number).err()).unwrap();
    // Closed before its next request was answered, or while it sent that; not forgotten, which would end as a timeout.
    let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(closed.contains(&end.kind()), "{end}");
    acknowledged
}

/// Asks, is answered, and waits until the broker goes: what comes then is the end of the stream, and nothing else.
fn hear_the_end(mut client: Client) {
    client.end_offset();
    assert_eq!(client.0.read(&mut [0; 16]).unwrap(), 0);
}

/// Everything in the log, by offset.
fn read(client: &mut Client, end: i64) -> BTreeMap<i64, Vec<u8>> {
    let mut there = BTreeMap::new();
    while let offset = there.last_key_value().map_or(0, |(last, _)| last + 1)
        && offset < end
    {
        let fetch = Fetch { wishes: vec![Wish { offset, ..Wish::default() }], ..Fetch::default() };
        client.send(&fetch.frame()).unwrap();
        let answer = fetched(client.receive().unwrap());
        for batch in RecordBatch::all_in(&answer.partitions[0].3).map(Result::unwrap) {
            for record in batch.records().map(Result::unwrap) {
                there.insert(record.offset(&batch).0, record.value.unwrap().to_vec());
            }
        }
    }
    there
}

#[test]
fn a_stop_under_load_keeps_all_that_was_acknowledged() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    Client::connect(&broker.ready).create_topic();
    let clients: Vec<_> = (0..WRITERS).map(|_| Client::connect(&broker.ready)).collect();
    let writers: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(writer, client)| thread::spawn(move || write(client, writer)))
        .collect();
    let (beside, quiet) = (Client::connect(&broker.ready), Client::connect(&broker.ready));
    let beside = thread::spawn(move || work_beside(beside));
    let quiet = thread::spawn(move || hear_the_end(quiet));
    while Client::connect(&broker.ready).end_offset() < 200 {}
    broker.signal(libc::SIGTERM);
    quiet.join().unwrap();
    let mut acknowledged = beside.join().unwrap();
    assert!(!acknowledged.is_empty());
    for writer in writers {
        let theirs = writer.join().unwrap();
        assert!(!theirs.is_empty());
        acknowledged.extend(theirs);
    }
    let (code, _, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
    let broker = Broker::start(&scratch.data_dir(), &["--set", "log.retention.ms=-1"]);
    let mut client = Client::connect(&broker.ready);
    let end = client.end_offset();
    let there = read(&mut client, end);
    assert!(acknowledged.iter().all(|(offset, value)| there.get(offset) == Some(value)));
    // What was not answered any more may be there too: one request of each.
    assert!((acknowledged.len()..=acknowledged.len() + WRITERS + 1).contains(&there.len()));
}

#[test]
fn a_second_broker_on_the_directory_says_who_has_it_and_harms_nobody() {
    let scene = Scene::new(&[]);
    let data_dir = scene.data_dir();
    let process = format!("process {}", scene.broker.process.id());
    for _ in 0..3 {
        let arguments =
            ["server", "--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let (code, log) = run(&arguments);
        assert_eq!(code, Some(4), "{log}");
        assert!(log.contains(&process) && log.contains(&data_dir), "{log}");
        scene.bystander.goes_on();
    }
    scene.end();
}
