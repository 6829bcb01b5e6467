//! One boot of a store on a simulated disk, and what it acknowledged.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use model::batch::BatchBuilder;
use model::limits::MemoryPlan;
use model::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use storage::derived::EpochsOnly;
use storage::disk::Disk;
use storage::disk::memory::{Image, MemoryDisk};
use storage::disk::random::Random;
use storage::disk::simulation::Simulation;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::recovery::{self, TopicState};
use storage::{CompactionSettings, LogRef, LogSettings, Store, StoreError, StoreOptions};

type TestStore = Store<MemoryDisk, EpochsOnly>;

const RING: u64 = 1 << 20;
const SNAPSHOT_BYTES: u64 = 300_000;

pub fn partition(topic: u8, partition: u32) -> TopicPartition {
    TopicPartition { topic: TopicId([topic; 16]), partition }
}

/// One boot of a store on a disk, and what it acknowledged.
pub struct Rig {
    pub simulation: Simulation,
    pub disk: MemoryDisk,
    pub store: Rc<TestStore>,
    pub acknowledged: BTreeMap<TopicPartition, Offset>,
    pub forgotten: BTreeSet<TopicId>,
    pub random: Random,
    pub number: u8,
    /// Of the logs of this boot.
    pub segment_bytes: u64,
    pub compaction: Option<CompactionSettings>,
    pub shape: Shape,
}

/// What a store is made with, where tests differ.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Appends of this size go straight to their segment.
    pub extent_bytes_min: u64,
    /// Memory for what is not in the ring any more.
    pub cache: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { extent_bytes_min: model::limits::EXTENT_BYTES_MIN, cache: 0 }
    }
}

impl Rig {
    pub fn new(seed: u64) -> Self {
        Self::boot(seed, 1, Image::default(), BTreeSet::new())
    }

    /// The same with extents of a few blocks.
    pub fn with_extents(seed: u64) -> Self {
        let shape = Shape { extent_bytes_min: 2 * model::limits::BLOCK as u64, ..Shape::default() };
        Self::boot_with(seed, 1, Image::default(), BTreeSet::new(), shape)
    }

    /// The same with a cache.
    pub fn with_cache(seed: u64, cache: u64) -> Self {
        Self::boot_with(seed, 1, Image::default(), BTreeSet::new(), Shape { cache, ..Shape::default() })
    }

    pub fn boot(seed: u64, boot: u8, image: Image, forgotten: BTreeSet<TopicId>) -> Self {
        Self::boot_with(seed, boot, image, forgotten, Shape::default())
    }

    pub fn boot_with(seed: u64, boot: u8, image: Image, forgotten: BTreeSet<TopicId>, shape: Shape) -> Self {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::from_image(&simulation, image);
        let store = simulation.run_until(open(&disk, boot, &forgotten, shape));
        let acknowledged = BTreeMap::new();
        Self {
            simulation,
            disk,
            store,
            acknowledged,
            forgotten,
            random: Random::new(seed),
            number: boot,
            segment_bytes: 700_000,
            compaction: None,
            shape,
        }
    }

    /// Deletes a topic and forgets its tombstone.
    pub fn delete(&mut self, id: TopicPartition) {
        let removed = async {
            self.store.delete_topic(id.topic).await?;
            recovery::remove_topic(&self.disk, &Paths::new("/data"), id.topic).await
        };
        self.simulation.run_until(removed).unwrap();
        self.acknowledged.remove(&id);
        self.forgotten.insert(id.topic);
    }

    pub fn log(&self, id: TopicPartition) -> LogRef<MemoryDisk, EpochsOnly> {
        let log = self.store.log(id);
        let settings = Rc::new(LogSettings {
            segment_bytes: self.segment_bytes,
            compaction: self.compaction,
            ..LogSettings::default()
        });
        self.simulation.run_until(self.store.load(&log, &settings)).unwrap();
        log
    }

    /// Appends a batch of about `len` bytes, every byte of it the low byte of its offset, and waits until it is durable, but not
    /// for ever: on a full disk the journal may have no room.
    pub fn append(&mut self, id: TopicPartition, len: usize) -> Result<(), StoreError> {
        let placed = self.begin(id, len)?;
        let durable = async {
            self.store.durable(placed.ticket).await;
            true
        };
        let late = async {
            self.disk.sleep(Duration::from_secs(3)).await;
            false
        };
        if self.simulation.run_until(futures_lite::future::or(durable, late)) {
            self.acknowledged.insert(id, placed.end);
        }
        Ok(())
    }

    /// Appends a batch like that and waits for nothing.
    pub fn begin(&mut self, id: TopicPartition, len: usize) -> Result<storage::Placed, StoreError> {
        let batch = self.batch(id, len);
        self.store.append(&self.log(id), batch, LeaderEpoch(1), 1)
    }

    /// Appends a batch like that whatever its size, and waits until it is durable.
    pub fn append_large(&mut self, id: TopicPartition, len: usize) -> Result<(), StoreError> {
        let (log, batch) = (self.log(id), self.batch(id, len));
        let placed = self.simulation.run_until(self.store.append_large(&log, batch, LeaderEpoch(1), 1))?;
        self.simulation.run_until(self.store.durable(placed.ticket));
        self.acknowledged.insert(id, placed.end);
        Ok(())
    }

    /// What comes next in this log.
    pub fn batch(&self, id: TopicPartition, len: usize) -> Bytes {
        let value = vec![self.log(id).end().0.to_le_bytes()[0]; len];
        Bytes::from(BatchBuilder::new().value(TimestampMs(1), &value).build())
    }

    pub fn append_all(&mut self, id: TopicPartition, batches: usize) {
        for _ in 0..batches {
            let len = usize::try_from(self.random.between(1, 30_000)).unwrap();
            self.append(id, len).unwrap();
        }
    }

    /// Everything acknowledged is there, byte for byte.
    pub fn check(&self, acknowledged: &BTreeMap<TopicPartition, Offset>) {
        for (id, end) in acknowledged {
            let log = self.log(*id);
            assert!(
                log.durable_end() >= *end,
                "{id} ends at {}, acknowledged up to {end}",
                log.durable_end()
            );
            let mut at = log.log_start();
            while at < *end {
                let read = self.store.read(&log, at, storage::ReadLimits::bytes(1));
                let pieces = self.simulation.run_until(read).unwrap();
                let bytes = pieces.iter().map(storage::Piece::bytes).collect::<Vec<_>>().concat();
                let (batch, rest) = model::batch::RecordBatch::parse(&bytes).unwrap();
                assert_eq!((batch.base_offset(), rest.len()), (at, 0));
                let value = batch.records().next().unwrap().unwrap().value.unwrap().to_vec();
                assert!(value.iter().all(|byte| *byte == at.0.to_le_bytes()[0]), "{id}: record {at}");
                at = Offset(at.0 + 1);
            }
        }
    }

    pub fn wait(&self, time: Duration) {
        self.simulation.run_until(self.disk.sleep(time));
    }

    /// The process or the power dies; the next boot, on a disk that is well again, has everything.
    pub fn die_and_check(mut self) {
        let image = match self.random.one_in(2) {
            true => self.disk.kill(),
            false => self.disk.power_cut(&mut self.random),
        };
        self.simulation.crash();
        Self::boot_with(7, self.number + 1, image, self.forgotten, self.shape).check(&self.acknowledged);
    }
}

async fn open(disk: &MemoryDisk, boot: u8, forgotten: &BTreeSet<TopicId>, shape: Shape) -> Rc<TestStore> {
    let paths = Paths::new("/data");
    let state = |id: TopicId| if forgotten.contains(&id) { TopicState::Unknown } else { TopicState::Live };
    let recovered = recovery::recover::<_, EpochsOnly>(disk, &paths, state).await.unwrap();
    let plan = MemoryPlan {
        io_memory: 2 << 20,
        ring: RING,
        cache: shape.cache,
        requests: 8 << 20,
        responses: 1 << 20,
        groups: 0,
        own: 0,
    };
    let options = StoreOptions {
        paths: paths.clone(),
        plan,
        boot: u32::from(boot),
        journal: JournalId([boot; 16]),
        open_files_max: 4,
        free_bytes_min: 0,
        extent_bytes_min: shape.extent_bytes_min,
        extent_bytes_unsettled_max: RING / 2,
        snapshot_bytes: SNAPSHOT_BYTES,
    };
    let store = Store::open(disk.clone(), options, recovered.logs).await.unwrap();
    store.adopt(recovery::retire(disk, &paths, &recovered.journals).await.unwrap());
    store.start(None);
    store
}
