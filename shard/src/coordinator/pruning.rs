//! Records of a coordinator's log that it needs no longer: the log begins behind them from then on, as after DeleteRecords.

use std::rc::Rc;

use model::{ErrorCode, Offset, TopicPartition};
use storage::disk::Disk;

use crate::ops::DeleteRecords;
use crate::shard::Shard;

impl<D: Disk> Shard<D> {
    /// Deletes what is before `below`, if that is not done. Should it fail, the next round tries again.
    pub(super) fn prune(self: &Rc<Self>, partition: TopicPartition, below: Offset) {
        if self.store.existing(partition).is_none_or(|log| log.log_start() >= below) {
            return;
        }
        let shard = Rc::clone(self);
        self.disk.spawn_behind(async move {
            let request = DeleteRecords { partition, before: below };
            for deleted in shard.delete_records(vec![request]).await {
                if deleted.error.is_ok() {
                    tracing::debug!(%partition, below = below.0, "records that no start needs are deleted");
                } else if !shard.is_stopping() && deleted.error != ErrorCode::UnknownTopicOrPartition {
                    let error = deleted.error.name();
                    tracing::warn!(%partition, error, "records that no start needs cannot be deleted; the next round tries again");
                }
            }
        });
    }
}
