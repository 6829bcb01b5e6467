//! Who reads while segments are replaced.

use storage::derived::EpochsOnly;
use storage::disk::memory::MemoryDisk;
use storage::{LogRef, Piece, Store};

use super::*;

/// Reads from the start to the end: offsets of all records there are.
async fn sweep(
    store: &Rc<Store<MemoryDisk, EpochsOnly>>,
    log: &LogRef<MemoryDisk, EpochsOnly>,
) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    let mut at = log.log_start();
    while at < log.durable_end() {
        let pieces = store.read(log, at, ReadLimits::bytes(200_000)).await.unwrap();
        let before = at;
        for batch in pieces.iter().flat_map(|piece| RecordBatch::all_in(Piece::bytes(piece))) {
            let batch = batch.unwrap();
            found.extend(batch.records().map(|record| record.unwrap().offset(&batch).0));
            at = batch.last_offset().next();
        }
        assert!(at > before, "nothing at {before}, though the log goes on");
    }
    found
}

#[test]
fn readers_miss_nothing_while_segments_are_joined() {
    // Every segment keeps a few records, with gaps between them and behind them.
    let key = |n: usize| if n.is_multiple_of(20) { format!("once {n}") } else { format!("key {}", n % 7) };
    let rig = configured(Rig::new(10));
    fill_with(&rig, 150, key);
    compact(&rig, 1 << 20, 100);
    fill_with(&rig, 150, key);
    let stay = contents(&rig).into_values().filter(|(_, value)| value.is_some());
    let stay: BTreeSet<i64> = stay.map(|(offset, _)| offset).collect();
    rig.simulation.run_until(rig.store.close()).unwrap();
    let image = rig.disk.kill();
    rig.simulation.crash();
    let mut sweeps = 0;
    for seed in 0..60 {
        let rig = configured(Rig::boot(seed, 2, image.clone(), BTreeSet::new()));
        let log = rig.log(id());
        let before = rig.store.segments(&log).len();
        assert!(before > 6, "{before} segments");
        let reading = async {
            loop {
                let found = sweep(&rig.store, &log).await;
                let missed: Vec<&i64> = stay.difference(&found).collect();
                assert!(missed.is_empty(), "seed {seed}: {missed:?}");
                sweeps += 1;
            }
        };
        let passing = rig.store.compact(&log, limits(1 << 20), 100);
        let done = rig.simulation.run_until(futures_lite::future::or(reading, passing)).unwrap();
        assert!(done.replaced > 0 && !done.abandoned);
        assert!(rig.store.segments(&log).len() < before, "they were joined");
    }
    assert!(sweeps > 60, "{sweeps} sweeps");
}
