//! Requests that are large and fit, from so many clients that memory for them runs out.

use std::thread;

use bytes::Bytes;
use model::TimestampMs;
use model::batch::BatchBuilder;

use super::beside::Scene;
use super::wire::{Produce, produced};

/// 15 MiB in one request: what is allowed with this memory is half of a quarter of it.
const PARTITIONS: i32 = 15;
const CLIENTS: usize = 12;
const REQUESTS: i64 = 3;

#[test]
fn large_requests_that_fit_are_all_answered_when_memory_runs_out() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.client().create("large", PARTITIONS), 0);
    let batch = Bytes::from(BatchBuilder::new().value(TimestampMs(1), &vec![b'v'; 1_000_000]).build());
    let clients: Vec<_> = (0..CLIENTS).map(|_| scene.client()).collect();
    let senders: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let batch = batch.clone();
            thread::spawn(move || {
                let partitions = (0..PARTITIONS).map(|index| (index, Some(batch.clone()))).collect();
                let frame = Produce { topic: "large", partitions, ..Produce::default() }.frame();
                for _ in 0..REQUESTS {
                    client.send(&frame).unwrap();
                    let answer = produced(client.receive().unwrap());
                    assert!(answer.iter().all(|(_, error, _)| *error == 0), "{answer:?}");
                    assert_eq!(answer.len(), PARTITIONS as usize);
                }
            })
        })
        .collect();
    let mut most = 0;
    while senders.iter().any(|sender| !sender.is_finished()) {
        most = most.max(scene.broker.metric("millrace_memory_bytes{core=\"0\",use=\"requests\"}"));
        scene.bystander.goes_on();
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    // More was sent than there is memory, and what there is was used.
    assert!((15 << 20..=32 << 20).contains(&most), "{most}");
    let mut client = scene.client();
    for index in 0..PARTITIONS {
        let end = client.offset_of("large", index, -1);
        assert_eq!(end, (0, REQUESTS * i64::try_from(CLIENTS).unwrap()), "nothing twice and nothing lost");
    }
    scene.end();
}
