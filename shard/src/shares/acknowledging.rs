//! ShareAcknowledge, on the core that owns the partitions.

use std::rc::Rc;

use coordination::share::AckBatch;
use model::{ErrorCode, TopicPartition};
use storage::disk::Disk;

use crate::answers::Answer;
use crate::ops::ShareAcknowledge;
use crate::shard::Shard;

impl<D: Disk> Shard<D> {
    /// Takes what a member says of records: a verdict for each partition, when it is durable.
    pub(crate) async fn share_acknowledge(self: &Rc<Self>, said: ShareAcknowledge) -> Vec<ErrorCode> {
        let ShareAcknowledge { group, member, partitions } = said;
        let mut verdicts = Vec::with_capacity(partitions.len());
        for (id, batches) in &partitions {
            verdicts.push(self.acknowledge_one(&group, &member, *id, batches));
        }
        let mut told = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            told.push(match verdict {
                Ok(written) => written.await,
                Err(now) => now,
            });
        }
        told
    }

    /// Either what is known now, or who tells it.
    fn acknowledge_one(
        self: &Rc<Self>,
        group: &str,
        member: &str,
        id: TopicPartition,
        batches: &[AckBatch],
    ) -> Result<Answer<ErrorCode>, ErrorCode> {
        let slot = self.existing_share(group, id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let now = self.tick();
        let taken = slot.with(|partition| partition.acknowledge(now, member, batches));
        match taken {
            // It is being opened: nobody holds anything of it.
            None => Err(ErrorCode::InvalidRecordState),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) => Err(ErrorCode::None),
            Some(Ok(Some(write))) => {
                let (deliver, answer) = Answer::later();
                self.write_share(&slot, write, Some(deliver));
                Ok(answer)
            }
        }
    }
}
