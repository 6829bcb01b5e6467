//! Opening a share partition: its state from the share coordinator, and where it begins when nobody read it yet.

use std::rc::Rc;
use std::time::Duration;

use coordination::share::reset::{AutoOffsetReset, Begin};
use coordination::share::store::{Answer, Ask};
use coordination::share::{SharePartition, ShareSettings, refused};
use model::{ErrorCode, LeaderEpoch, Offset};
use storage::disk::Disk;

use super::Slot;
use crate::ops::{ListOffset, OffsetQuery};
use crate::shard::Shard;

/// Between two questions to a share coordinator that is loading.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Questions before it is given up: some five seconds, and longer if each has to be waited for.
pub(super) const RETRIES: u32 = 100;

impl<D: Disk> Shard<D> {
    pub(super) fn open_share(self: &Rc<Self>, slot: Rc<Slot>) {
        let shard = Rc::clone(self);
        self.disk.spawn(async move {
            let opened = shard.read_share(&slot).await;
            // Its topic may be gone meanwhile.
            match opened {
                Ok(partition) if slot.failed().is_none() => slot.open(partition),
                Err(error) if slot.failed().is_none() => {
                    tracing::debug!(share = %slot.key, error = error.name(), "a share partition cannot be opened");
                    slot.fail(error);
                }
                _ => {}
            }
            shard.share_news(&slot);
        });
    }

    async fn read_share(self: &Rc<Self>, slot: &Slot) -> Result<SharePartition, ErrorCode> {
        let leader_epoch = self.image().leader_epoch();
        let mut tries = 0;
        let state = loop {
            let answer = self.ask_share_state(slot.key.clone(), vec![Ask::Read { leader_epoch }]).await.pop();
            match answer {
                Some(Answer::State(Ok(state))) => break state,
                Some(Answer::State(Err(ErrorCode::CoordinatorLoadInProgress)))
                    if tries < RETRIES && !self.is_stopping() =>
                {
                    tries += 1;
                    self.disk.sleep(RETRY_AFTER).await;
                }
                Some(answer) => return Err(refused(answer.code())),
                None => return Err(ErrorCode::UnknownServerError),
            }
        };
        let image = self.image();
        let log = self.loaded(slot.id).await.map_err(|fault| fault.code)?;
        let start = self.share_start(slot, state.start).await?.max(log.log_start());
        let settings = ShareSettings::of(&image, &slot.key.group);
        Ok(SharePartition::new(settings, leader_epoch, &state, start))
    }

    /// Where it begins or goes on.
    async fn share_start(self: &Rc<Self>, slot: &Slot, known: Offset) -> Result<Offset, ErrorCode> {
        let reset = AutoOffsetReset::of(&self.image(), &slot.key.group);
        let query = match reset.begin(known, self.wall()) {
            Begin::At(offset) => return Ok(offset),
            Begin::LogEnd => OffsetQuery::Latest,
            Begin::LogStart => OffsetQuery::Earliest,
            Begin::Time(time) => OffsetQuery::At(time),
        };
        let found = self.share_offset(slot, query).await?;
        // Nothing is as young as that.
        if found == Offset::NONE { self.share_offset(slot, OffsetQuery::Latest).await } else { Ok(found) }
    }

    async fn share_offset(self: &Rc<Self>, slot: &Slot, query: OffsetQuery) -> Result<Offset, ErrorCode> {
        let current_leader_epoch = LeaderEpoch::NONE;
        let one = ListOffset { partition: slot.id, query, current_leader_epoch, read_committed: false };
        let listed = self.list_offsets(vec![one]).await.pop();
        let listed = listed.ok_or(ErrorCode::UnknownServerError)?;
        if listed.error.is_ok() { Ok(listed.offset) } else { Err(listed.error) }
    }
}
