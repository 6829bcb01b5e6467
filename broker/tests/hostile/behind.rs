//! Many consumers far behind, each at a place of its own.

use model::TimestampMs;
use model::batch::BatchBuilder;

use super::beside::Scene;
use super::wire::{Fetch, Produce, Wish, fetched, produced};

const NAME: &str = "behind";
const PARTITIONS: i32 = 6;
const BATCHES: i64 = 100;
const BATCH: usize = 100_000;
const READERS: i64 = 20;
const READS: i64 = 12;

fn fill(scene: &Scene) {
    let mut client = scene.client();
    assert_eq!(client.create(NAME, PARTITIONS), 0);
    let batch = BatchBuilder::new().value(TimestampMs(1), &vec![b'v'; BATCH]).build();
    for _ in 0..BATCHES {
        for index in 0..PARTITIONS {
            let partitions = vec![(index, Some(batch.clone().into()))];
            let produce = Produce { topic: NAME, partitions, ..Produce::default() };
            client.send(&produce.frame()).unwrap();
            assert_eq!(produced(client.receive().unwrap())[0].1, 0);
        }
    }
    // None of that stays in memory.
    for _ in 0..60 {
        client.produce(&vec![b'v'; 900_000]).unwrap();
    }
}

/// Each fetch asks for all partitions and gets a mebibyte: what the disk gives must not be six times as much.
#[test]
fn the_disk_gives_hardly_more_than_they_get() {
    let scene = Scene::new(&[]);
    fill(&scene);
    let disk_bytes = || {
        let metrics = scene.broker.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with("millrace_fetch_disk_bytes_total{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = disk_bytes();
    let mut client = scene.client();
    let mut places: Vec<Vec<(i32, i64)>> =
        (0..READERS).map(|reader| (0..PARTITIONS).map(|index| (index, 3 * reader)).collect()).collect();
    let mut given = 0;
    for _ in 0..READS {
        for wanted in &mut places {
            let wishes = wanted.iter().map(|(index, offset)| Wish {
                index: *index,
                offset: *offset,
                ..Wish::default()
            });
            let fetch = Fetch { topic: NAME, wishes: wishes.collect(), ..Fetch::default() };
            client.send(&fetch.frame()).unwrap();
            for (index, error, _, records) in fetched(client.receive().unwrap()).partitions {
                assert_eq!(error, 0);
                given += records.len();
                let at = wanted.iter().position(|(known, _)| *known == index).unwrap();
                let count = records.len() / BATCH;
                if count > 0 {
                    // As clients do: who got something comes last the next time.
                    let (_, offset) = wanted.remove(at);
                    wanted.push((index, offset + i64::try_from(count).unwrap()));
                }
            }
        }
    }
    let read = disk_bytes() - before;
    assert!(given > 100_000_000, "{given}");
    assert!(4 * read < 5 * given as u64, "{read} bytes of the disk for {given}");
    scene.check_memory();
    scene.end();
}
