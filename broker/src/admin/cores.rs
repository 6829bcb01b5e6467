//! Asking the cores for their counters, over channels that belong to no runtime.

use std::time::Duration;

use model::limits::SCRAPES_WAITING_MAX;
use shard::counters::Snapshot;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Where one core puts its answer.
pub type Answer = oneshot::Sender<Snapshot>;
/// One core's end: it receives whom to answer, between two of its tasks.
pub type Asked = mpsc::Receiver<Answer>;
/// The other end.
pub type Ask = mpsc::Sender<Answer>;

/// A channel for each of `cores` cores.
#[must_use]
pub fn channels(cores: usize) -> (Vec<Ask>, Vec<Asked>) {
    (0..cores).map(|_| mpsc::channel(SCRAPES_WAITING_MAX)).unzip()
}

/// The cores as the admin thread sees them.
#[derive(Debug)]
pub struct Cores {
    ask: Vec<Ask>,
    patience: Duration,
}

impl Cores {
    /// Cores that have `patience` to answer.
    #[must_use]
    pub const fn new(ask: Vec<Ask>, patience: Duration) -> Self {
        Self { ask, patience }
    }

    /// What every core counted, by core; `None` for one that did not answer in time.
    pub async fn snapshots(&self) -> Vec<Option<Snapshot>> {
        let asked: Vec<_> = self.ask.iter().map(ask_one).collect();
        let deadline = Instant::now() + self.patience;
        let mut snapshots = Vec::with_capacity(asked.len());
        for answer in asked {
            let snapshot = match answer {
                Some(answer) => timeout_at(deadline, answer).await.ok().and_then(Result::ok),
                None => None,
            };
            snapshots.push(snapshot);
        }
        snapshots
    }
}

fn ask_one(core: &Ask) -> Option<oneshot::Receiver<Snapshot>> {
    let (answer, answered) = oneshot::channel();
    core.try_send(answer).ok().map(|()| answered)
}
