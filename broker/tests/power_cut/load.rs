//! The load that is recorded: producers, a committing group, and somebody who makes and deletes topics and records.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::batch::BatchBuilder;
use model::{ProducerEpoch, ProducerId, TimestampMs};
use protocol::control::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::message;
use storage::disk::random::Random;

use super::ledger::{Batch, Identity, Ledger, LogName, key, value};
use super::wire::Wire;

/// Batches of one producer without an answer.
const IN_FLIGHT_MAX: usize = 5;
/// How long a client waits before it tries again to reach a broker that is away.
const RECONNECT: Duration = Duration::from_millis(3);

/// What all clients share.
#[derive(Debug)]
pub struct Stage {
    pub ledger: Ledger,
    /// Where the broker listens now.
    pub address: Mutex<String>,
    pub over: AtomicBool,
    /// Bytes of records sent.
    pub bytes: AtomicU64,
}

impl Stage {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A connection, once the broker takes one; none when the load is over.
    pub fn connect(&self) -> Option<Wire> {
        while !self.is_over() {
            let address = self.address.lock().expect("held for a moment").clone();
            if let Ok(wire) = Wire::connect(&address) {
                return Some(wire);
            }
            thread::sleep(RECONNECT);
        }
        None
    }

    pub fn complain(&self, what: String) {
        self.ledger.book().complaints.push(what);
    }
}

/// One producer.
pub struct Producer {
    pub number: u32,
    pub idempotent: bool,
    pub logs: Vec<LogName>,
    pub random: Random,
    pub stage: Arc<Stage>,
    pub next: BTreeMap<LogName, u64>,
    /// Pause after each round of sending.
    pub pause: Duration,
}

impl Producer {
    /// Sends until the load is over, then waits for what is in flight, if it can.
    pub fn run(mut self) {
        let stage = Arc::clone(&self.stage);
        let id = if self.idempotent { self.producer_id() } else { None };
        let mut in_flight: VecDeque<usize> = VecDeque::new();
        while let Some(mut wire) = stage.connect() {
            if !self.idempotent {
                in_flight.clear();
            }
            // Whoever loses their broker in the middle finds it again above.
            let _ = self.converse(&mut wire, id, &mut in_flight);
        }
    }

    fn producer_id(&self) -> Option<(ProducerId, ProducerEpoch)> {
        let request = message!(InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1
        });
        loop {
            let mut wire = self.stage.connect()?;
            let Ok(response) = wire.ask::<_, InitProducerIdResponse>(3, &request) else { continue };
            if response.error_code == 0 {
                return Some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
            }
            thread::sleep(RECONNECT);
        }
    }

    fn converse(
        &mut self,
        wire: &mut Wire,
        id: Option<(ProducerId, ProducerEpoch)>,
        in_flight: &mut VecDeque<usize>,
    ) -> io::Result<()> {
        for index in in_flight.iter() {
            let batch = self.stage.ledger.book().batches[*index].clone();
            wire.send_batch(&batch.log.0, batch.log.1, &batch.bytes.unwrap_or_default())?;
        }
        loop {
            let over = self.stage.is_over();
            while !over && in_flight.len() < IN_FLIGHT_MAX {
                self.send_one(wire, id, in_flight)?;
            }
            let Some(index) = in_flight.front().copied() else { return Ok(()) };
            let log = self.stage.ledger.book().batches[index].log.clone();
            let (error, base_offset) = wire.batch_answer(&log.0)?;
            in_flight.pop_front();
            if error == 0 {
                let answer = self.stage.ledger.answer(base_offset);
                self.stage.ledger.book().batches[index].asked.answered = answer;
            } else {
                self.stage.complain(format!("producer {}: error {error} in {log:?}", self.number));
            }
            if !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
        }
    }

    fn send_one(
        &mut self,
        wire: &mut Wire,
        id: Option<(ProducerId, ProducerEpoch)>,
        in_flight: &mut VecDeque<usize>,
    ) -> io::Result<()> {
        let log = self.logs[self.random.index(self.logs.len())].clone();
        let first = *self.next.entry(log.clone()).or_default();
        let (bytes, count) = batch(self.number, first, id, &mut self.random);
        self.next.insert(log.clone(), first + count);
        self.stage.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let asked = self.stage.ledger.ask();
        let kept = id.map(|_| bytes.clone());
        let sent = Batch { producer: self.number, log, first, count, bytes: kept, asked };
        let (topic, partition) = sent.log.clone();
        {
            let mut book = self.stage.ledger.book();
            in_flight.push_back(book.batches.len());
            book.batches.push(sent);
        }
        wire.send_batch(&topic, partition, &bytes)
    }
}

/// A batch of records from `first` on: mostly small, some of a journal frame's size, a few that take several.
pub fn batch(
    producer: u32,
    first: u64,
    id: Option<(ProducerId, ProducerEpoch)>,
    random: &mut Random,
) -> (Vec<u8>, u64) {
    let (count, len) = match random.below(100) {
        0 => (random.between(1, 2), 300_000),
        1..=4 => (random.between(1, 3), 60_000),
        5..=30 => (random.between(1, 8), 3000),
        _ => (random.between(1, 12), 150),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now = TimestampMs(i64::try_from(since.as_millis()).expect("this age"));
    let mut builder = BatchBuilder::new();
    if let Some((id, epoch)) = id {
        builder = builder.producer(id, epoch, i32::try_from(first).expect("a short load"));
    }
    for number in first..first + count {
        let len = usize::try_from(random.between(12, len)).expect("small");
        let whose = Identity { producer, number };
        builder = builder.record(now, Some(&key(whose)), Some(&value(whose, len)));
    }
    (builder.build(), count)
}
