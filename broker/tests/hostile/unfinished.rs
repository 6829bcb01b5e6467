//! Requests that begin and do not end.

use std::io::Write;

use bytes::Bytes;
use model::TimestampMs;
use model::batch::BatchBuilder;

use super::beside::Scene;
use super::harness::{Broker, Client, Scratch, TOPIC, front};
use super::wire::{Fetch, Produce, Wish, fetched, produced};

#[test]
fn unfinished_large_frames_keep_nobody_from_getting_on() {
    let scene = Scene::new(&[]);
    let mut holders: Vec<_> = (0..64).map(|_| scene.client()).collect();
    for holder in &mut holders {
        holder.0.write_all(&(15_i32 << 20).to_be_bytes()).unwrap();
        holder.0.set_write_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        // It is taken as far as there is memory.
        let _ = holder.0.write_all(&vec![0; 2 << 20]);
        scene.bystander.goes_on();
    }
    scene.bystander.goes_on();
    scene.check_memory();
    drop(holders);
    scene.end();
}

/// A receive buffer takes 64 KiB and is given back when it is empty: each of these leaves a byte in its own.
#[test]
fn the_first_byte_of_a_frame_keeps_no_buffer() {
    let scene = Scene::new(&[]);
    // What is behind the fields of a request is passed over, so this is one small answer.
    let mut request = front(18, 0);
    request.resize((64 << 10) - 8, 0);
    let length = i32::try_from(request.len()).unwrap().to_be_bytes();
    let bytes = [&length[..], &request, &[0]].concat();
    let mut holders: Vec<_> = (0..3000).map(|_| scene.client()).collect();
    for holder in &mut holders {
        holder.0.write_all(&bytes).unwrap();
        holder.receive().unwrap();
    }
    scene.check_memory();
    drop(holders);
    scene.end();
}

/// Nothing of these logs is in memory after a start: the first fetch of each reads it in, and its client goes meanwhile.
#[test]
fn a_client_that_goes_leaves_no_log_half_loaded() {
    const PARTITIONS: i32 = 60;
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    assert_eq!(client.create(TOPIC, PARTITIONS), 0);
    let records = Bytes::from(BatchBuilder::new().value(TimestampMs(1), &[b'v'; 5000]).build());
    let partitions = (0..PARTITIONS).map(|index| (index, Some(records.clone()))).collect();
    client.send(&Produce { partitions, ..Produce::default() }.frame()).unwrap();
    assert!(produced(client.receive().unwrap()).iter().all(|(_, error, _)| *error == 0));
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let fetch = |index| Fetch { wishes: vec![Wish { index, ..Wish::default() }], ..Fetch::default() };
    for index in 0..PARTITIONS {
        let mut gone = Client::connect(&broker.ready);
        gone.send(&fetch(index).frame()).unwrap();
        // The beginning of another request: the connection ends at once, and does not wait for the answer.
        gone.0.write_all(&[0]).unwrap();
    }
    let mut client = Client::connect(&broker.ready);
    for index in 0..PARTITIONS {
        client.send(&fetch(index).frame()).unwrap();
        let answer = fetched(client.receive().unwrap());
        assert_eq!((answer.partitions[0].1, answer.partitions[0].3.len()), (0, records.len()), "{index}");
    }
}
