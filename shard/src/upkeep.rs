//! What happens on a core without being asked: retention, expiry of producers, letting go of idle logs, and gauges.

use std::rc::Rc;
use std::time::Duration;

use storage::disk::Disk;

use crate::counters::{Counted, Gauge, Snapshot};
use crate::executor::{self, Queue};
use crate::shard::{PartitionLog, Shard};

/// How often idle logs are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(5);

impl<D: Disk> Shard<D> {
    pub(crate) fn start_upkeep(self: Rc<Self>) {
        let shard = Rc::clone(&self);
        executor::spawn(Queue::Maintain, async move {
            let mut due = 0;
            while !shard.stopping.get() {
                shard
                    .disk
                    .sleep(IDLE_CHECK.min(Duration::from_millis(shard.upkeep.retention_check_ms.max(1))))
                    .await;
                shard.rest_idle().await;
                let now = shard.tick().0;
                if now >= due {
                    due = now + shard.upkeep.retention_check_ms;
                    shard.retain_all().await;
                }
            }
        });
    }

    /// Applies retention to every log that may have something to give up.
    async fn retain_all(self: &Rc<Self>) {
        for log in self.store.all_logs() {
            let Ok((_, settings)) = self.known(log.id) else { continue };
            let now = self.disk.now_ms();
            if self.stopping.get() || !log.may_retire(&settings, now) {
                continue;
            }
            let retained = match self.store.load(&log, &settings).await {
                Ok(()) => self.store.retain(&log, now).await,
                Err(error) => Err(error),
            };
            match retained {
                Ok(0) => {}
                Ok(_) => self.disturb(log.id),
                Err(error) => tracing::warn!(partition = %log.id, %error, "retention of a partition failed"),
            }
            executor::yield_if_needed().await;
        }
        let now = model::TimestampMs(self.disk.now_ms());
        for log in self.store.all_logs().iter().filter(|log| log.is_loaded()) {
            log.with_derived_mut(|state| {
                state.producers.expire(now, self.image().settings().producer_expiration_ms)
            });
        }
    }

    /// Logs that nobody touched for a while give up their memory.
    async fn rest_idle(self: &Rc<Self>) {
        let now = self.disk.now_ms();
        let idle = |log: &PartitionLog<D>| log.idle_ms(now).is_some_and(|idle| idle > self.upkeep.idle_ms);
        for log in self.store.all_logs() {
            if self.stopping.get() {
                return;
            }
            if idle(&log) && !self.deferred.borrow().contains_key(&log.id) {
                if let Err(error) = self.store.put_to_rest(&log).await {
                    tracing::warn!(partition = %log.id, %error, "writing an idle partition failed");
                }
                executor::yield_if_needed().await;
            }
        }
    }

    /// The counters with what storage knows.
    pub fn count_all(&self) -> Snapshot {
        let stored = self.store.counters();
        let counters = &self.counters;
        counters.set_count(Counted::FlushBytes, stored.segment_bytes);
        counters.set_count(Counted::ExtentBytes, stored.extent_bytes);
        counters.set_count(Counted::SegmentWriteErrors, stored.segment_write_errors);
        counters.set_count(Counted::DamagedReads, stored.damaged_reads);
        counters.set_count(Counted::FetchDiskBytes, stored.read_bytes);
        counters.set_count(Counted::CompactionReadBytes, stored.compaction_read_bytes);
        counters.set_count(Counted::CompactionWrittenBytes, stored.compaction_written_bytes);
        counters.set_count(Counted::CompactionErrors, stored.compaction_errors);
        let all_logs = self.store.all_logs();
        let logs = all_logs.len() as u64;
        counters.set(Gauge::Partitions, logs);
        counters.set(Gauge::PartitionsReadOnly, if self.store.disk_is_full() { logs } else { 0 });
        let producers =
            all_logs.iter().filter_map(|log| log.with_derived(|state| state.producers.memory_bytes()));
        counters.set(Gauge::MemoryProducers, producers.sum::<usize>() as u64);
        let groups = self.coordinators.bytes() + self.share_states.bytes() + self.shares.bytes();
        counters.set(Gauge::MemoryGroups, groups);
        let unflushed = stored.frame_bytes.min(self.store.ring_bytes());
        counters.set(Gauge::MemoryRing, unflushed);
        counters.set(Gauge::MemoryCache, stored.frame_bytes - unflushed + stored.ahead_bytes);
        counters.set(Gauge::MemoryCompaction, stored.compaction_bytes);
        counters.snapshot()
    }
}
