//! Boots on one disk: recovery, work, and an end of each that is a kill, a power cut or a clean close.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use model::limits::MemoryPlan;
use model::{LeaderEpoch, Offset, TopicId, TopicPartition};
use storage::disk::Disk;
use storage::disk::memory::{Image, MemoryDisk};
use storage::disk::random::Random;
use storage::disk::simulation::Simulation;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::recovery::{self, TopicState};
use storage::{Store, StoreOptions};

use crate::derived::Tally;
use crate::drawn;
use crate::oracle::{Oracle, Topic};
use crate::worker::{self, Boot};

/// What happened, over all runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub runs: u64,
    pub boots: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub closes: u64,
    pub recoveries_interrupted: u64,
    pub entries_replayed: u64,
    pub appended: u64,
    pub recycled: u64,
    pub forwarded_bytes: u64,
    pub extent_bytes: u64,
    pub deleted_topics: u64,
    pub cut_logs: u64,
    /// Logs that lost what was acknowledged when it was written, in a power cut.
    pub shortened: u64,
    /// Segments that compaction replaced.
    pub replaced: u64,
    pub digest: u64,
}

impl Totals {
    pub fn add(&mut self, run: &Self) {
        self.runs += 1;
        self.boots += run.boots;
        self.kills += run.kills;
        self.power_cuts += run.power_cuts;
        self.closes += run.closes;
        self.recoveries_interrupted += run.recoveries_interrupted;
        self.entries_replayed += run.entries_replayed;
        self.appended += run.appended;
        self.recycled += run.recycled;
        self.forwarded_bytes += run.forwarded_bytes;
        self.extent_bytes += run.extent_bytes;
        self.deleted_topics += run.deleted_topics;
        self.cut_logs += run.cut_logs;
        self.shortened += run.shortened;
        self.replaced += run.replaced;
        self.digest ^= run.digest;
    }

    /// A test that no longer reaches what it is about must fail.
    pub fn assert_everything_happened(&self) {
        let counts = [
            self.kills,
            self.power_cuts,
            self.closes,
            self.recoveries_interrupted,
            self.deleted_topics,
            self.cut_logs,
            self.recycled / 10,
            self.forwarded_bytes / 1000,
            self.extent_bytes / 100_000,
            self.entries_replayed / 10,
            self.shortened * 40,
            self.replaced,
        ];
        assert!(counts.iter().all(|count| *count >= self.runs / 10), "{self:?}");
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    extent_bytes_min: u64,
    snapshot_bytes: u64,
}

struct World {
    simulation: Simulation,
    random: Random,
    paths: Paths,
    plan: MemoryPlan,
    sizes: Sizes,
    image: Image,
    oracle: Rc<RefCell<Oracle>>,
    boot: u32,
    /// The last boot closed in order: nothing may be left to replay.
    closed: bool,
    /// The power went since the last recovery that came to its end.
    power_lost: bool,
    totals: Totals,
    loud: bool,
}

/// One whole history.
pub fn run(seed: u64, loud: bool) -> Totals {
    let simulation = Simulation::new(seed);
    let mut random = Random::new(seed ^ 0x5eed);
    let ring = match seed % 64 {
        7 => 16 << 20,
        _ => 1 << random.between(20, 22),
    };
    let cache = if random.one_in(2) { 0 } else { 1 << 20 };
    let plan = MemoryPlan {
        io_memory: 2 << 20,
        ring,
        cache,
        requests: 8 << 20,
        responses: 1 << 20,
        groups: 0,
        own: 0,
    };
    let extent_bytes_min = match random.below(8) {
        0 => model::limits::EXTENT_BYTES_MIN,
        1 => u64::MAX,
        _ => random.between(8_000, 40_000),
    };
    let snapshot_bytes =
        if random.one_in(2) { model::limits::SNAPSHOT_BYTES } else { random.between(20_000, 400_000) };
    let mut world = World {
        simulation,
        random,
        paths: Paths::new("/data"),
        plan,
        sizes: Sizes { extent_bytes_min, snapshot_bytes },
        image: Image::default(),
        oracle: Rc::default(),
        boot: 0,
        closed: false,
        power_lost: false,
        totals: Totals::default(),
        loud,
    };
    for _ in 0..world.random.between(2, 7) {
        let boot = world.start();
        world.live(boot);
    }
    let boot = world.start();
    world.check_all(&boot);
    world.simulation.crash();
    world.totals.digest = world.simulation.digest();
    world.totals
}

impl World {
    fn say(&self, what: impl FnOnce() -> String) {
        if self.loud {
            eprintln!("[boot {} step {}] {}", self.boot, self.simulation.steps(), what());
        }
    }

    /// Recovers and opens, crashing on the way as often as it likes.
    fn start(&mut self) -> Rc<Boot> {
        let cores = usize::try_from(self.random.between(1, 3)).expect("small");
        loop {
            self.boot += 1;
            self.totals.boots += 1;
            let disk = MemoryDisk::from_image(&self.simulation, self.image.clone());
            let journals: Vec<JournalId> = (0..cores).map(|_| self.journal_id()).collect();
            let steps = if self.random.one_in(3) { self.random.between(1, 600) } else { u64::MAX };
            let opening =
                open(&disk, &self.paths, (self.plan, self.sizes), &self.oracle, self.boot, &journals);
            if let Some((stores, entries)) = self.simulation.run_steps(steps, opening) {
                assert!(
                    !self.closed || entries == 0,
                    "{entries} entries are left to replay after a clean close"
                );
                self.closed = false;
                self.totals.entries_replayed += entries;
                self.say(|| format!("opened on {cores} cores, {entries} entries replayed"));
                let epoch = LeaderEpoch(i32::try_from(self.boot).expect("small"));
                let append_max = self.plan.append_bytes_max().min(1500 << 10);
                let oracle = Rc::clone(&self.oracle);
                let (loud, replaced) = (self.loud, Cell::new(0));
                let boot = Rc::new(Boot { disk, stores, oracle, epoch, append_max, loud, replaced });
                self.compare(&boot);
                self.power_lost = false;
                return boot;
            }
            self.totals.recoveries_interrupted += 1;
            self.say(|| "recovery is interrupted".into());
            self.end_process(&disk);
        }
    }

    fn journal_id(&mut self) -> JournalId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        id[8..].copy_from_slice(&self.random.bits().to_le_bytes());
        JournalId(id)
    }

    fn end_process(&mut self, disk: &MemoryDisk) {
        self.image = if self.random.one_in(2) {
            self.say(|| "kill".into());
            self.totals.kills += 1;
            disk.kill()
        } else {
            self.say(|| "power cut".into());
            self.totals.power_cuts += 1;
            self.power_lost = true;
            disk.power_cut(&mut self.random)
        };
        self.simulation.crash();
    }

    /// Where the logs begin and end now is what they go on from.
    fn compare(&mut self, boot: &Rc<Boot>) {
        let mut oracle = boot.oracle.borrow_mut();
        let oracle = &mut *oracle;
        for (id, line) in &mut oracle.lines {
            if oracle.topics.get(&id.topic) != Some(&Topic::Live) {
                continue;
            }
            let log = boot.store(*id).existing(*id);
            let (start, end) = log.map_or((Offset::ZERO, Offset::ZERO), |log| (log.log_start(), log.end()));
            if line.was_cut_to(end) {
                self.totals.cut_logs += 1;
            }
            let kept = if self.power_lost { line.synced } else { line.acked };
            if end < line.acked && !line.was_cut_to(end) {
                self.totals.shortened += 1;
            }
            line.recovered(*id, start, end, kept);
        }
        for store in &boot.stores {
            for log in store.all_logs() {
                assert_eq!(oracle.topics.get(&log.id.topic), Some(&Topic::Live), "{} is back", log.id);
            }
        }
    }

    /// Works until done or dead.
    fn live(&mut self, boot: Rc<Boot>) {
        let steps = if self.random.one_in(4) { u64::MAX } else { self.random.between(20, 8000) };
        let random = self.random.fork();
        let closes = self.random.one_in(2);
        let working = work_and_close(Rc::clone(&boot), self.paths.clone(), random, closes);
        let ended = self.simulation.run_steps(steps, working);
        for store in &boot.stores {
            let counters = store.counters();
            self.totals.recycled += counters.recycled;
            self.totals.forwarded_bytes += counters.forwarded_bytes;
            self.totals.extent_bytes += counters.extent_bytes;
            self.totals.appended += counters.entries;
        }
        self.totals.replaced += boot.replaced.get();
        if ended.is_some() && closes {
            self.say(|| "closed".into());
            self.totals.closes += 1;
            self.closed = true;
            for (id, line) in &mut boot.oracle.borrow_mut().lines {
                let _ = id;
                (line.acked, line.synced) = (line.end(), line.end());
            }
        }
        let topics = boot.oracle.borrow().topics.values().filter(|state| **state == Topic::Forgotten).count();
        self.totals.deleted_topics = topics as u64;
        let disk = boot.disk.clone();
        drop(boot);
        self.end_process(&disk);
    }

    fn check_all(&mut self, boot: &Rc<Boot>) {
        let ids: Vec<TopicPartition> = boot.oracle.borrow().lines.keys().copied().collect();
        let mut random = self.random.fork();
        self.simulation.run_until(async {
            for id in ids {
                if boot.oracle.borrow().is_live(id) {
                    check(boot, id, &mut random).await;
                }
            }
        });
    }
}

async fn check(boot: &Rc<Boot>, id: TopicPartition, random: &mut Random) {
    let store = boot.store(id);
    let log = store.log(id);
    let checked = match store.load(&log, &drawn::settings(id, random)).await {
        Ok(()) => worker::check_whole(boot, store, &log).await,
        Err(error) => Err(error),
    };
    assert!(checked.is_ok() || !boot.oracle.borrow().is_live(id), "{id}: {checked:?}");
}

/// What a broker does at its start, up to being ready. Returns the stores and how many entries were replayed.
async fn open(
    disk: &MemoryDisk,
    paths: &Paths,
    (plan, sizes): (MemoryPlan, Sizes),
    oracle: &Rc<RefCell<Oracle>>,
    boot: u32,
    journals: &[JournalId],
) -> (Vec<Rc<worker::TestStore>>, u64) {
    let topics = oracle.borrow().topics.clone();
    let state = |id: TopicId| match topics.get(&id) {
        Some(Topic::Live) => TopicState::Live,
        Some(Topic::Deleted) => TopicState::Deleted,
        Some(Topic::Forgotten) | None => TopicState::Unknown,
    };
    let recovered =
        recovery::recover::<_, Tally>(disk, paths, state).await.unwrap_or_else(|error| panic!("{error}"));
    let mut stores = Vec::new();
    for (core, journal) in journals.iter().enumerate() {
        let mine = |id: &TopicPartition| {
            (usize::from(id.topic.0[0]) + id.partition as usize) % journals.len() == core
        };
        let logs = recovered.logs.iter().filter(|(id, _)| mine(id)).copied().collect();
        let options = StoreOptions {
            paths: paths.clone(),
            plan,
            boot,
            journal: *journal,
            open_files_max: 4,
            free_bytes_min: 0,
            extent_bytes_min: sizes.extent_bytes_min,
            extent_bytes_unsettled_max: plan.ring / 2,
            snapshot_bytes: sizes.snapshot_bytes,
        };
        stores.push(Store::open(disk.clone(), options, logs).await.expect("the disk is well"));
    }
    let adoptable =
        recovery::retire(disk, paths, &recovered.journals).await.unwrap_or_else(|error| panic!("{error}"));
    for (index, file) in adoptable.into_iter().enumerate() {
        stores[index % journals.len()].adopt(vec![file]);
    }
    for store in &stores {
        store.start(None);
    }
    let doomed: Vec<TopicId> =
        topics.iter().filter(|(_, state)| **state == Topic::Deleted).map(|(id, _)| *id).collect();
    for topic in doomed {
        forget(&stores, disk, paths, oracle, topic).await;
    }
    (stores, recovered.entries)
}

/// Removes a topic whose tombstone is durable, and forgets it.
async fn forget(
    stores: &[Rc<worker::TestStore>],
    disk: &MemoryDisk,
    paths: &Paths,
    oracle: &Rc<RefCell<Oracle>>,
    topic: TopicId,
) {
    for store in stores {
        store.delete_topic(topic).await.expect("the disk is well");
    }
    recovery::remove_topic(disk, paths, topic).await.expect("the disk is well");
    oracle.borrow_mut().topics.insert(topic, Topic::Forgotten);
}

/// The busy part of a boot.
async fn work_and_close(boot: Rc<Boot>, paths: Paths, mut random: Random, closes: bool) {
    let ids = choose_logs(&boot, &mut random);
    let running = Rc::new(std::cell::Cell::new(ids.len()));
    let done = Rc::new(storage::signal::Signal::default());
    for id in ids {
        let (boot, random) = (Rc::clone(&boot), random.fork());
        let (running, done) = (Rc::clone(&running), Rc::clone(&done));
        let ops = 5 + id.partition.is_multiple_of(2) as u64 * 40;
        boot.disk.clone().spawn(async move {
            let mut random = random;
            if random.one_in(2)
                && boot.oracle.borrow().lines.contains_key(&id)
                && boot.oracle.borrow().is_live(id)
            {
                check(&boot, id, &mut random).await;
            }
            worker::work(boot, id, random, ops).await;
            running.set(running.get() - 1);
            done.notify();
        });
    }
    if random.one_in(3) {
        boot.disk.sleep(std::time::Duration::from_micros(random.below(200_000))).await;
        let live: Vec<TopicId> = {
            let oracle = boot.oracle.borrow();
            oracle.topics.iter().filter(|(_, state)| **state == Topic::Live).map(|(id, _)| *id).collect()
        };
        let doomed = live[random.index(live.len())];
        if boot.loud {
            eprintln!("[step {}] delete {doomed}", boot.disk.simulation().steps());
        }
        boot.oracle.borrow_mut().topics.insert(doomed, Topic::Deleted);
        forget(&boot.stores, &boot.disk, &paths, &boot.oracle, doomed).await;
    }
    done.until(|| (running.get() == 0).then_some(())).await;
    if closes {
        for store in &boot.stores {
            store.close().await.expect("the disk is well");
        }
    }
}

/// Some partitions of some topics, old and new ones.
fn choose_logs(boot: &Boot, random: &mut Random) -> Vec<TopicPartition> {
    let mut oracle = boot.oracle.borrow_mut();
    let live = oracle.topics.values().filter(|state| **state == Topic::Live).count();
    for _ in live..2 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&random.bits().to_le_bytes());
        id[15] = 1;
        oracle.topics.insert(TopicId(id), Topic::Live);
    }
    let partitions = u32::try_from(random.between(1, 5)).expect("small");
    let live: Vec<TopicId> =
        oracle.topics.iter().filter(|(_, state)| **state == Topic::Live).map(|(id, _)| *id).collect();
    live.iter()
        .flat_map(|topic| (0..partitions).map(|partition| TopicPartition { topic: *topic, partition }))
        .collect()
}
