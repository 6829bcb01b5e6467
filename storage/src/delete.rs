//! Deleting a topic: its logs are forgotten, the journal disowns their entries, then their directories go.

use std::io;

use bytes::Bytes;
use model::{TopicId, TopicPartition};

use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::{Entry, EntryKind};
use crate::log::Phase;
use crate::store::{LogRef, Store};

impl<D: Disk, S: Derived> Store<D, S> {
    /// Forgets this shard's logs of a topic and removes their directories; the topic's own one is the caller's, once every shard
    /// is done. The tombstone must be durable; it may go after that.
    pub async fn delete_topic(&self, topic: TopicId) -> io::Result<()> {
        let doomed: Vec<LogRef<D, S>> = {
            let mut logs = self.logs.borrow_mut();
            let ids: Vec<TopicPartition> = logs.keys().filter(|id| id.topic == topic).copied().collect();
            ids.iter().filter_map(|id| logs.remove(id)).collect()
        };
        for log in &doomed {
            self.moved.until(|| matches!(log.phase.get(), Phase::AtRest | Phase::Loaded).then_some(())).await;
            log.phase.set(Phase::Deleted);
        }
        self.moved.notify();
        for log in &doomed {
            self.moved.until(|| (log.writes_done() && !log.compacting.get()).then_some(())).await;
        }
        // Whoever was settling one of them stored its snapshot before its directory goes, not after.
        self.settling.enter().await;
        for log in &doomed {
            self.files.close_partition(log.id).await;
            *log.loaded.borrow_mut() = None;
            self.partition_dirs.borrow_mut().remove(&log.id);
            self.tidied.borrow_mut().remove(&log.id);
        }
        self.settling.leave();
        // First, since the journal may be waiting for space: as long as there is a tombstone, nobody misses them.
        for log in &doomed {
            self.disk.remove_dir(&self.paths.partition(log.id)).await?;
        }
        match self.disk.sync_dir(&self.paths.topic(topic)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.started.get() {
            self.disown(&doomed).await;
        }
        // The last checkpoint still lists them: one without them comes before the tombstone goes.
        self.checkpoint(None).await
    }

    /// Says in the journal that the entries of these logs before are nobody's: replay meets them when the tombstone is gone.
    pub(crate) async fn disown(&self, logs: &[LogRef<D, S>]) {
        let (mut ordinary, mut ahead) = (None, None);
        for log in logs {
            let entry = Entry::of(EntryKind::Delete, log.id, self.ownership());
            // On a full disk the journal may have no room for what waits before it. It may go ahead where none of that is the
            // log's own, which would be somebody's again.
            if self.is_stalled() && log.under_way.get() == 0 && self.take_reserve() {
                ahead = Some(self.queue_ahead(log, entry));
            } else {
                ordinary = Some(self.queue(log, entry, Bytes::new()));
            }
        }
        if let Some(ticket) = ahead {
            self.journal.durable_forward(ticket).await;
        }
        if let Some(ticket) = ordinary {
            self.durable(ticket).await;
        }
    }
}
