//! The client that behaves well, and the memory of the broker that it shares with those who do not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use model::batch::RecordBatch;

use super::harness::{Broker, Client, Scratch};
use super::wire::{Fetch, Wish, fetched};

/// `--memory` of the brokers here.
pub const MEMORY: u64 = 128 << 20;
/// What a process takes beside its `--memory`: a debug build's code and read-only data in pages of its file, stacks,
/// the runtime's tables, and what the allocator keeps between allocations.
pub const BESIDE_MEMORY: u64 = 64 << 20;
/// The records of these tests are from 1970, and none may go for that.
const KEEP: &[&str] = &["--set", "log.retention.ms=-1"];
/// Nothing takes this long.
const HANG: Duration = Duration::from_secs(110);

/// Produces and reads back, one after the other, all the time; every request must succeed.
pub struct Bystander {
    turns: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Begins; the topic must be there.
    pub fn start(broker: &Broker) -> Self {
        let (turns, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut client = Client::connect(&broker.ready);
        let thread = thread::spawn({
            let (turns, stop) = (Arc::clone(&turns), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let value = format!("turn {}", turns.load(Ordering::Relaxed));
                    let offset = client.produce(value.as_bytes()).unwrap();
                    assert_eq!(read_back(&mut client, offset).unwrap(), value.as_bytes());
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let bystander = Self { turns, stop, thread: Some(thread) };
        bystander.goes_on();
        bystander
    }

    /// Waits until it did two whole turns from now: neither began before.
    pub fn goes_on(&self) {
        let (before, asked) = (self.turns.load(Ordering::Relaxed), Instant::now());
        while self.turns.load(Ordering::Relaxed) < before + 3 {
            let alive = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
            assert!(alive, "a request of the client that behaves well failed");
            assert!(asked.elapsed() < HANG, "the client that behaves well is stuck");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it; all of its requests succeeded.
    pub fn end(mut self) {
        self.goes_on();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The value of the record at this offset.
///
/// # Errors
/// When the broker went away instead.
pub fn read_back(client: &mut Client, offset: i64) -> io::Result<Vec<u8>> {
    let fetch = Fetch { wishes: vec![Wish { offset, ..Wish::default() }], ..Fetch::default() };
    client.send(&fetch.frame())?;
    let answer = fetched(client.receive()?);
    assert_eq!(answer.error, 0);
    let (_, error, _, records) = &answer.partitions[0];
    assert_eq!(*error, 0);
    let mut rest = &records[..];
    while let Ok((batch, behind)) = RecordBatch::parse(rest) {
        if batch.last_offset().0 >= offset {
            let record = batch.records().next().unwrap().unwrap();
            return Ok(record.value.unwrap().to_vec());
        }
        rest = behind;
    }
    panic!("nothing at {offset}");
}

/// A broker with the topic, and the client beside.
pub struct Scene {
    pub bystander: Bystander,
    pub broker: Broker,
    scratch: Scratch,
}

impl Scene {
    pub fn new(more: &[&str]) -> Self {
        let scratch = Scratch::new();
        let broker = Broker::start(&scratch.data_dir(), &[KEEP, more].concat());
        Self::with(scratch, broker)
    }

    /// With a broker that is allowed so many open files.
    pub fn with_handles(handles: u32) -> Self {
        let scratch = Scratch::new();
        let broker = Broker::start_with_handles(&scratch.data_dir(), KEEP, handles);
        Self::with(scratch, broker)
    }

    fn with(scratch: Scratch, broker: Broker) -> Self {
        Client::connect(&broker.ready).create_topic();
        Self { bystander: Bystander::start(&broker), broker, scratch }
    }

    pub fn data_dir(&self) -> String {
        self.scratch.data_dir()
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.broker.ready)
    }

    /// Memory was in its budget all the time, and is by the broker's own account.
    pub fn check_memory(&self) {
        check_memory(&self.broker);
    }

    /// The client beside felt nothing, memory was in its budget, and nothing in the log wakes anybody up; the log.
    pub fn end(self) -> String {
        let Self { bystander, broker, scratch } = self;
        bystander.end();
        check_memory(&broker);
        broker.signal(libc::SIGTERM);
        let (code, _, log) = broker.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("ERROR"), "{log}");
        drop(scratch);
        log
    }
}

fn check_memory(broker: &Broker) {
    let most = broker.memory_bytes("VmHWM");
    eprintln!("most memory: {} MiB", most >> 20);
    assert!(most < MEMORY + BESIDE_MEMORY, "{} MiB of memory", most >> 20);
    let metrics = broker.metrics();
    let uses = metrics.lines().filter(|line| line.starts_with("millrace_memory_bytes{"));
    let bytes = uses.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    let (count, sum) = bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
    assert!(count >= 6 && sum > 0 && sum <= MEMORY, "{sum} bytes in {count} uses: {metrics}");
}
