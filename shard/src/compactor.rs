//! Compaction of a core's logs: one at a time, the one with the most to do first, in a queue of its own with few shares. It goes round: a log that
//! takes many passes gets one, then the others have their turn.
//!
//! A log that lies at rest with nothing new costs a look at a few numbers; one that has something new is loaded once to see how much
//! that is, and then not again before there is more, or time has made it enough.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use model::TopicPartition;
use storage::disk::Disk;
use storage::{CompactionLimits, StoreError};

use crate::executor::{self, Queue};
use crate::shard::{PartitionLog, Shard};

/// A log that could not be compacted is left alone for so long.
const AFTER_ERROR_MS: i64 = 600_000;
/// How often a core that is told not to compact looks whether it is still.
const OFF: Duration = Duration::from_secs(15);

/// What the rounds before have left.
#[derive(Default)]
struct Left {
    /// Logs that could not be compacted, and when that is tried again.
    failed: BTreeMap<TopicPartition, i64>,
    /// Logs with more that is new than one pass has memory for: the next round comes at once, and goes on with them.
    unfinished: BTreeSet<TopicPartition>,
}

impl<D: Disk> Shard<D> {
    pub(crate) fn start_compaction(self: Rc<Self>) {
        executor::spawn(Queue::Compact, async move {
            self.pace_compaction();
            let mut left = Left::default();
            while !self.stopping.get() {
                let settings = self.image().settings();
                if settings.compacts {
                    self.compact_all(&mut left).await;
                    if left.unfinished.is_empty() {
                        self.disk.sleep(Duration::from_millis(settings.compaction_rest_ms.max(1))).await;
                    }
                } else {
                    self.disk.sleep(OFF).await;
                }
            }
        });
    }

    /// Puts the speed that the metadata says in force.
    pub(crate) fn pace_compaction(&self) {
        let bytes_per_second = self.image().settings().compaction_bytes_per_second;
        self.store.set_compaction_speed(bytes_per_second / self.cores.max(1) as u64);
    }

    /// One pass over every log that has enough for it by now.
    async fn compact_all(self: &Rc<Self>, left: &mut Left) {
        let mut due = self.due_for_compaction(left).await;
        due.sort_by_key(|(part, log)| (Reverse(*part), log.id));
        for (_, log) in due {
            match self.compact_one(&log).await {
                Ok(true) => {
                    left.unfinished.insert(log.id);
                }
                Ok(false) => {}
                Err(error) => {
                    left.failed.insert(log.id, self.disk.now_ms() + AFTER_ERROR_MS);
                    // Of a full disk everybody hears elsewhere.
                    if !matches!(error, StoreError::DiskFull | StoreError::Deleted) {
                        tracing::error!(
                            partition = %log.id,
                            %error,
                            "a partition cannot be compacted, and grows; restore the file from a replica or a backup"
                        );
                    }
                }
            }
        }
    }

    /// Logs with enough that is new, and how much of them that is; and those that the last round did not finish, whatever is left.
    async fn due_for_compaction(self: &Rc<Self>, left: &mut Left) -> Vec<(u32, PartitionLog<D>)> {
        let now = self.disk.now_ms();
        let Left { failed, unfinished } = left;
        failed.retain(|_, until| now < *until);
        let unfinished = std::mem::take(unfinished);
        let mut due = Vec::new();
        for log in self.store.all_logs() {
            let Ok((_, settings)) = self.known(log.id) else { continue };
            let may_be_due = unfinished.contains(&log.id) || log.may_compact(&settings, now);
            if self.stopping.get() || failed.contains_key(&log.id) || !may_be_due {
                continue;
            }
            let was_loaded = log.is_loaded();
            let dated = match self.store.load(&log, &settings).await {
                Ok(()) => self.store.date_new(&log).await,
                Err(error) => Err(error),
            };
            if let Err(error) = dated {
                tracing::warn!(partition = %log.id, %error, "a partition cannot be read to be compacted");
                failed.insert(log.id, now + AFTER_ERROR_MS);
                continue;
            }
            match log.compaction_due(now) {
                Some(part) => due.push((part, log)),
                None if unfinished.contains(&log.id) => due.push((0, log)),
                None if !was_loaded => {
                    if let Err(error) = self.store.put_to_rest(&log).await {
                        tracing::warn!(partition = %log.id, %error, "writing an idle partition failed");
                    }
                }
                None => {}
            }
            executor::yield_if_needed().await;
        }
        due
    }

    /// Whether another pass has to go on.
    async fn compact_one(self: &Rc<Self>, log: &PartitionLog<D>) -> Result<bool, StoreError> {
        let Ok((_, settings)) = self.known(log.id) else { return Ok(false) };
        if self.stopping.get() {
            return Ok(false);
        }
        let limits = CompactionLimits::of(self.store.plan());
        self.store.load(log, &settings).await?;
        let done = self.store.compact(log, limits, self.disk.now_ms()).await?;
        if done.replaced > 0 {
            self.snapshot_soon(log.id);
        }
        Ok(done.unfinished && !done.abandoned)
    }
}
