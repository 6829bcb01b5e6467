//! What has to be written of a share partition goes to its share coordinator, one question at a time and in order: all that
//! came meanwhile goes with the next.

use std::rc::Rc;

use coordination::share::store::{Ask, Write};
use coordination::share::{StateWrite, refused};
use model::ErrorCode;
use storage::disk::Disk;

use super::Slot;
use super::opening::{RETRIES, RETRY_AFTER};
use crate::answers::Deliver;
use crate::shard::Shard;

impl<D: Disk> Shard<D> {
    /// Has it written, and whoever waits told.
    pub(super) fn write_share(
        self: &Rc<Self>,
        slot: &Rc<Slot>,
        write: StateWrite,
        told: Option<Deliver<ErrorCode>>,
    ) {
        if let Some(told) = told {
            slot.waiting.borrow_mut().insert(write.id, told);
        }
        slot.queue.borrow_mut().push_back(write);
        if slot.writing.replace(true) {
            return;
        }
        let (shard, slot) = (Rc::clone(self), Rc::clone(slot));
        self.disk.spawn(async move {
            loop {
                let writes: Vec<StateWrite> = slot.queue.borrow_mut().drain(..).collect();
                if writes.is_empty() {
                    break;
                }
                shard.write_shares(&slot, &writes).await;
            }
            slot.writing.set(false);
            shard.close_idle_shares(&slot.key.group);
        });
    }

    async fn write_shares(self: &Rc<Self>, slot: &Slot, writes: &[StateWrite]) {
        let ask = |write: &StateWrite| {
            Ask::Write(Write {
                state_epoch: write.state_epoch,
                leader_epoch: write.leader_epoch,
                start: write.start,
                delivery_complete_count: write.delivery_complete_count,
                batches: write.batches.clone(),
            })
        };
        let mut tries = 0;
        let mut answers = loop {
            let answers = self.ask_share_state(slot.key.clone(), writes.iter().map(ask).collect()).await;
            let loading =
                answers.first().map(|answer| answer.code()) == Some(ErrorCode::CoordinatorLoadInProgress);
            if !loading || tries == RETRIES || self.is_stopping() {
                break answers.into_iter();
            }
            tries += 1;
            self.disk.sleep(RETRY_AFTER).await;
        };
        let mut lost = None;
        for write in writes {
            let error = answers.next().map_or(ErrorCode::UnknownServerError, |answer| answer.code());
            let result = if error.is_ok() { Ok(()) } else { Err(error) };
            slot.with(|partition| partition.landed(write.id, result));
            let fenced =
                [ErrorCode::FencedLeaderEpoch, ErrorCode::FencedStateEpoch, ErrorCode::InvalidRequest];
            if fenced.contains(&error) {
                lost = Some(refused(error));
            }
            if let Some(told) = slot.waiting.borrow_mut().remove(&write.id) {
                told.put(if error.is_ok() { error } else { refused(error) });
            }
        }
        // It was begun anew, or is no more: what is known here is worth nothing.
        if let Some(error) = lost {
            slot.fail(error);
        }
        // What could not be written is held again, by a lock that may have ended meanwhile.
        if slot.with(|partition| partition.next_deadline()).flatten().is_some() {
            self.time_shares();
        }
        self.share_news(slot);
    }
}
