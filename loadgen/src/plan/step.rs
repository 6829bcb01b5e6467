//! One run on all cores: what each of them knows, and the little that they tell each other.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};

use super::Plan;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::mode::consume::Progress;
use crate::mode::share::Tally;
use crate::setup::Seat;
use crate::verify::Ledger;

/// One run on all cores: what each of them knows, and the little that they tell each other.
#[derive(Debug)]
pub struct Step {
    /// What to do.
    pub plan: Plan,
    /// The time.
    pub clock: Clock,
    /// This run's number in stamps.
    pub run: u32,
    /// The cluster at the beginning.
    pub cluster: Cluster,
    /// Where consumers begin, by partition.
    pub starts: Vec<i64>,
    /// Where the logs ended at the beginning, if that ends the run.
    pub log_ends: Option<Vec<i64>>,
    /// Of each producer, if idempotent.
    pub producer_ids: Vec<(i64, i16)>,
    /// Members of share groups, group by group.
    pub seats: Vec<Seat>,
    /// What cores tell each other.
    pub shared: Shared,
}

/// What cores tell each other. Nothing of it is on the way of a record but two counters per request, and what share groups are
/// through with, once per partition of an answer.
#[derive(Debug, Default)]
pub struct Shared {
    /// Cores whose producers are not done.
    pub senders: AtomicUsize,
    /// Records that nobody took yet, where a number of records is to be sent.
    pub to_send: AtomicU64,
    /// Records received.
    pub received: AtomicU64,
    /// The ends of what was acknowledged, by partition: once senders are done.
    pub ends: Vec<AtomicI64>,
    /// What was sent: once senders are done.
    pub ledger: Mutex<Ledger>,
    /// The groups that consume, by set.
    pub groups: Vec<Progress>,
    /// What share groups are through with.
    pub shares: Vec<Tally>,
}

impl Shared {
    /// For so many partitions and sending cores.
    pub fn new(partitions: usize, senders: usize, to_send: u64) -> Self {
        Self {
            senders: senders.into(),
            to_send: to_send.into(),
            received: 0.into(),
            ends: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            ledger: Mutex::new(HashMap::new()),
            groups: Vec::new(),
            shares: Vec::new(),
        }
    }
}
