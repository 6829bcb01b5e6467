//! One recording: the real binary under load, killed and started again, with everything it asked of its disk on tape.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use storage::disk::random::Random;

use super::broker::{Broker, copy_tree};
use super::errands;
use super::ledger::{Kind, Ledger, LogName};
use super::load::{Producer, Stage};

/// After a kill the kernel may still be busy with what the process had under way.
const AFTERMATH: Duration = Duration::from_millis(200);
/// A load ends at the latest now.
const LOAD_MAX: Duration = Duration::from_secs(20);

/// What is left of a recording.
pub struct Recording {
    /// Where its tapes are.
    pub tapes: PathBuf,
    /// A copy of the data directory behind each tape.
    pub after: Vec<PathBuf>,
    pub ledger: Ledger,
    /// Bytes that compaction wrote since the last start.
    pub compacted: u64,
}

/// How one recording goes; all of it follows from a seed.
struct Scenario {
    random: Random,
    producers: u32,
    pause: Duration,
    bytes: u64,
    kills: u64,
    clean_end: bool,
    metadata: String,
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let slow = random.one_in(3);
        let large_commits = random.one_in(3);
        Self {
            producers: if slow { 2 } else { 4 },
            pause: Duration::from_micros(if slow { 1500 } else { random.between(0, 300) }),
            bytes: if slow { 6 << 20 } else { random.between(14, 28) << 20 },
            kills: random.below(3),
            clean_end: random.one_in(2),
            metadata: "m".repeat(if large_commits { 3000 } else { 8 }),
            random,
        }
    }

    /// Settings of the next start: nothing on disk may depend on the number of cores.
    fn arguments(&mut self, tapes: &Path) -> Vec<String> {
        let cores = self.random.between(1, 2);
        let mut arguments: Vec<String> =
            vec!["--cores".into(), cores.to_string(), "--memory".into(), format!("{}MiB", 64 * cores)];
        for set in [
            "log.retention.check.interval.ms=150",
            "log.cleaner.backoff.ms=40",
            "offsets.topic.num.partitions=3",
            "offsets.topic.segment.bytes=1048576",
            "auto.create.topics.enable=false",
        ] {
            arguments.extend(["--set".into(), set.into()]);
        }
        arguments.extend(["--set".into(), format!("millrace.disk.record={}", tapes.display())]);
        arguments
    }
}

const TOPICS: [(&str, Kind, u32); 5] = [
    ("whole", Kind::Whole, 3),
    ("relaxed", Kind::Relaxed, 2),
    ("retained", Kind::Retained, 2),
    ("trimmed", Kind::Trimmed, 2),
    ("compacted", Kind::Compacted, 2),
];

/// Makes a recording in `directory`.
pub fn record(binary: &Path, directory: &Path, seed: u64) -> Recording {
    let mut scenario = Scenario::new(seed);
    let (tapes, data_dir) = (directory.join("tapes"), directory.join("data"));
    fs::create_dir_all(&tapes).expect("a directory for tapes");
    let stage = Arc::new(Stage {
        ledger: Ledger::new(&tapes),
        address: Mutex::new(String::new()),
        over: AtomicBool::new(false),
        bytes: AtomicU64::new(0),
    });
    let log = directory.join("broker.log");
    let launch = |scenario: &mut Scenario| {
        let arguments = scenario.arguments(&tapes);
        Broker::launch(binary, &data_dir, &log, &arguments)
    };
    let serve = |broker: Broker| {
        let broker = broker.ready().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        *stage.address.lock().expect("held for a moment") = broker.address.clone();
        broker
    };
    let mut after = Vec::new();
    let mut copy = |count: usize| {
        thread::sleep(AFTERMATH);
        let path = directory.join(format!("after-{count}"));
        copy_tree(&data_dir, &path);
        after.push(path);
    };
    let mut broker = serve(launch(&mut scenario));
    let clients = clients(&stage, &mut scenario);
    let began = Instant::now();
    let mut starts = 0;
    for kill in 1..=scenario.kills {
        load_until(&stage, scenario.bytes * kill / (scenario.kills + 1), began);
        broker.kill();
        copy(starts);
        starts += 1;
        while scenario.random.one_in(3) {
            // A recovery that is killed too.
            stage.ledger.clock.next_tape();
            let mut short = launch(&mut scenario);
            thread::sleep(Duration::from_millis(scenario.random.between(5, 60)));
            short.kill();
            if fs::metadata(tapes.join(format!("{starts:06}.tape"))).is_err() {
                // Killed before it began to record: as if it had not been started.
                fs::write(tapes.join(format!("{starts:06}.tape")), []).expect("an empty tape");
            }
            copy(starts);
            starts += 1;
        }
        stage.ledger.clock.next_tape();
        broker = serve(launch(&mut scenario));
    }
    load_until(&stage, scenario.bytes, began);
    let compacted = broker.metric("millrace_compaction_written_bytes_total");
    stage.over.store(true, Ordering::SeqCst);
    if scenario.clean_end {
        clients.into_iter().for_each(|client| client.join().expect("no client panics"));
        assert_eq!(broker.stop(), Some(0), "seed {seed}: {}", broker.log());
    } else {
        broker.kill();
        clients.into_iter().for_each(|client| client.join().expect("no client panics"));
    }
    copy(starts);
    fs::remove_dir_all(&data_dir).expect("copied");
    let ledger = Arc::into_inner(stage).expect("the clients are gone").ledger;
    Recording { tapes, after, ledger, compacted }
}

fn load_until(stage: &Stage, bytes: u64, began: Instant) {
    while stage.bytes.load(Ordering::Relaxed) < bytes && began.elapsed() < LOAD_MAX {
        thread::sleep(Duration::from_millis(2));
    }
}

fn clients(stage: &Arc<Stage>, scenario: &mut Scenario) -> Vec<thread::JoinHandle<()>> {
    for (name, kind, partitions) in TOPICS {
        let small = |bytes: u64| ("internal.segment.bytes", bytes.to_string());
        let settings = match kind {
            Kind::Whole => vec![small(256 << 10)],
            Kind::Relaxed => vec![small(512 << 10), ("flush.messages", "100000".into())],
            Kind::Retained => vec![small(128 << 10), ("retention.bytes", (384 << 10).to_string())],
            Kind::Trimmed => vec![small(96 << 10)],
            Kind::Compacted => vec![
                small(64 << 10),
                ("cleanup.policy", "compact".into()),
                ("min.cleanable.dirty.ratio", "0.1".into()),
            ],
        };
        errands::create_topic(stage, name, kind, partitions, &settings);
    }
    let logs: Vec<LogName> = TOPICS
        .iter()
        .flat_map(|(name, _, partitions)| (0..*partitions).map(|partition| ((*name).to_owned(), partition)))
        .collect();
    let mut clients = Vec::new();
    for number in 0..scenario.producers {
        let producer = Producer {
            number,
            idempotent: number % 3 != 2,
            logs: logs.clone(),
            random: scenario.random.fork(),
            stage: Arc::clone(stage),
            next: std::collections::BTreeMap::new(),
            pause: scenario.pause,
        };
        clients.push(thread::spawn(move || producer.run()));
    }
    let random = scenario.random.fork();
    let (of, stage_of) = (logs.clone(), Arc::clone(stage));
    clients.push(thread::spawn(move || {
        let trimmed: Vec<LogName> = of.into_iter().filter(|log| log.0 == "trimmed").collect();
        errands::trim(&stage_of, &trimmed, random);
    }));
    let (random, stage_of) = (scenario.random.fork(), Arc::clone(stage));
    clients.push(thread::spawn(move || errands::come_and_go(&stage_of, random)));
    let (random, stage_of, metadata) = (scenario.random.fork(), Arc::clone(stage), scenario.metadata.clone());
    clients.push(thread::spawn(move || {
        let durable: Vec<LogName> = logs.into_iter().filter(|log| log.0 == "whole").collect();
        errands::commit(&stage_of, &durable, &metadata, random);
    }));
    clients
}
