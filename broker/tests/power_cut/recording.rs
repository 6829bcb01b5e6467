//! One recording: the real binary under load, killed and started again, with everything it asked of its disk on tape.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use storage::disk::random::Random;

use super::errands;
use super::ledger::{Kind, Ledger, LogName};
use super::load::{Producer, Stage};

/// After a kill the kernel may still be busy with what the process had under way.
const AFTERMATH: Duration = Duration::from_millis(200);
/// A load ends at the latest now.
const LOAD_MAX: Duration = Duration::from_secs(20);

/// A broker under test; killed when dropped.
pub struct Broker {
    pub process: Child,
    /// Where clients connect.
    pub address: String,
    log: PathBuf,
}

impl Broker {
    /// Starts it and does not wait.
    pub fn launch(binary: &Path, data_dir: &Path, log: &Path, more: &[String]) -> Self {
        let mut command = Command::new(binary);
        command.args(["server", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"]);
        command.arg(data_dir).args(more).env_remove("RUST_LOG").env("NO_COLOR", "1");
        let log_file = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let process = command.spawn().expect("the binary starts");
        Self { process, address: String::new(), log: log.to_owned() }
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// How it ended instead, with its log.
    pub fn ready(mut self) -> Result<Self, String> {
        let stdout = self.process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        match line.split_whitespace().find_map(|word| word.strip_prefix("kafka=")) {
            Some(address) => {
                self.address = address.to_owned();
                Ok(self)
            }
            None => {
                let status = self.process.wait().map_err(|error| error.to_string())?;
                Err(format!("it did not start: {status}\n{}", self.log()))
            }
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn stop(&mut self) {
        let pid = libc::pid_t::try_from(self.process.id()).expect("a process id");
        // SAFETY: no memory is involved; the child is ours and not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let _ = self.process.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What is left of a recording.
pub struct Recording {
    /// Where its tapes are.
    pub tapes: PathBuf,
    /// A copy of the data directory behind each tape.
    pub after: Vec<PathBuf>,
    pub ledger: Ledger,
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

const TOPICS: [(&str, Kind, u32); 4] = [
    ("whole", Kind::Whole, 3),
    ("relaxed", Kind::Relaxed, 2),
    ("retained", Kind::Retained, 2),
    ("trimmed", Kind::Trimmed, 2),
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
    stage.over.store(true, Ordering::SeqCst);
    if scenario.clean_end {
        clients.into_iter().for_each(|client| client.join().expect("no client panics"));
        broker.stop();
    } else {
        broker.kill();
        clients.into_iter().for_each(|client| client.join().expect("no client panics"));
    }
    copy(starts);
    fs::remove_dir_all(&data_dir).expect("copied");
    let ledger = Arc::into_inner(stage).expect("the clients are gone").ledger;
    Recording { tapes, after, ledger }
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

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("a readable directory");
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).expect("a copy");
        }
    }
}
