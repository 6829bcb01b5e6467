//! A stop in the middle of work.

use std::thread;

use super::harness::{Broker, Client, Scratch};

#[test]
fn a_stop_under_load_keeps_all_that_was_acknowledged() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    Client::connect(&broker.ready).create_topic();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let mut client = Client::connect(&broker.ready);
            thread::spawn(move || {
                let mut acknowledged = 0;
                while client.produce(&[b'v'; 20_000]).is_ok() {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    while Client::connect(&broker.ready).end_offset() < 200 {}
    broker.signal(libc::SIGTERM);
    let acknowledged: i64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    let (code, _, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let end = Client::connect(&broker.ready).end_offset();
    // What was not answered any more may be there too: one request of each.
    assert!((acknowledged..=acknowledged + 8).contains(&end), "{acknowledged} acknowledged, {end} there");
}
