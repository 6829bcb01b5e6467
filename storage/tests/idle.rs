//! Ten thousand idle partitions: what they cost in memory and in operations of the disk at a start.

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use model::batch::BatchBuilder;
use model::limits::MemoryPlan;
use model::{LeaderEpoch, TimestampMs, TopicId, TopicPartition};
use storage::derived::EpochsOnly;
use storage::disk::memory::{Image, MemoryDisk, Operation};
use storage::disk::simulation::Simulation;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::recovery::{self, TopicState};
use storage::{LogSettings, Store, StoreOptions};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

const TOPICS: u8 = 100;
const PARTITIONS: u32 = 100;
const ALL: usize = TOPICS as usize * PARTITIONS as usize;

fn ids() -> impl Iterator<Item = TopicPartition> {
    (0..TOPICS).flat_map(|topic| {
        (0..PARTITIONS).map(move |partition| TopicPartition { topic: TopicId([topic; 16]), partition })
    })
}

type TestStore = Store<MemoryDisk, EpochsOnly>;

async fn open(disk: &MemoryDisk, boot: u8) -> (Rc<TestStore>, u64) {
    let paths = Paths::new("/data");
    let plan = MemoryPlan::new(256 << 20, 1).expect("enough");
    let recovered =
        recovery::recover::<_, EpochsOnly>(disk, &paths, |_| TopicState::Live).await.expect("whole");
    let options = StoreOptions {
        paths: paths.clone(),
        plan,
        boot: u32::from(boot),
        journal: JournalId([boot; 16]),
        open_files_max: 100,
        free_bytes_min: 0,
        extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
        extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX,
        snapshot_bytes: model::limits::SNAPSHOT_BYTES,
    };
    let store = Store::open(disk.clone(), options, recovered.logs).await.expect("the disk is well");
    store.adopt(recovery::retire(disk, &paths, &recovered.journals).await.expect("the disk is well"));
    store.start(None);
    (store, recovered.entries)
}

async fn append(store: &Rc<TestStore>, id: TopicPartition, boot: u8) -> u64 {
    let log = store.log(id);
    store.load(&log, &Rc::new(LogSettings::default())).await.expect("whole");
    let batch = BatchBuilder::new().value(TimestampMs(1), b"idle").build();
    store.append(&log, Bytes::from(batch), LeaderEpoch(i32::from(boot)), 1).expect("room").ticket
}

/// A disk on which every partition holds one batch; closed in order.
fn filled() -> Image {
    let simulation = Simulation::new(1);
    let disk = MemoryDisk::new(&simulation);
    simulation.run_until(async {
        let (store, _) = open(&disk, 1).await;
        for id in ids() {
            append(&store, id, 1).await;
        }
        store.close().await.expect("the disk is well");
    });
    disk.kill()
}

const COUNTED: [Operation; 5] =
    [Operation::Open, Operation::Create, Operation::List, Operation::Read, Operation::SyncDir];

fn operations(disk: &MemoryDisk) -> u64 {
    COUNTED.iter().map(|operation| disk.operations(*operation)).sum()
}

#[test]
fn idle_partitions_cost_little_memory_no_file_and_no_operation() {
    let image = filled();
    let simulation = Simulation::new(2);
    let disk = MemoryDisk::from_image(&simulation, image);
    let before = LIVE.load(Ordering::Relaxed);
    let (store, entries) = simulation.run_until(open(&disk, 2));
    let each = LIVE.load(Ordering::Relaxed).saturating_sub(before) / ALL;
    assert_eq!(entries, 0, "nothing is left to replay after a clean close");
    assert_eq!(store.all_logs().len(), ALL);
    println!("{each} bytes of memory a partition, {} operations for all", operations(&disk));
    assert!(each < 2048, "{each} bytes a partition");
    assert!(operations(&disk) < 100, "{} operations", operations(&disk));
    assert!(disk.handles() < 10, "{} open files", disk.handles());

    // A few partitions are written to, and the process dies: the next start pays for those, and not for the others.
    let used: Vec<TopicPartition> = ids().step_by(1000).collect();
    simulation.run_until(async {
        for id in &used {
            let ticket = append(&store, *id, 2).await;
            store.durable(ticket).await;
        }
    });
    drop(store);
    let image = disk.kill();
    simulation.crash();
    let disk = MemoryDisk::from_image(&simulation, image);
    let (store, entries) = simulation.run_until(open(&disk, 3));
    println!("{entries} entries replayed for {} partitions, {} operations", used.len(), operations(&disk));
    assert!(entries >= used.len() as u64);
    assert!(operations(&disk) < 100 + 10 * used.len() as u64, "{} operations", operations(&disk));
    for id in used {
        let log = store.existing(id).expect("it was written to");
        assert_eq!(log.durable_end().0, 2);
    }
}
