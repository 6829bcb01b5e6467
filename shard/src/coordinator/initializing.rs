//! The way from a core to share coordinators; and the states that group coordinators want begun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coordination::group::{Coordinator, Input};
use coordination::share::membership::Assignment;
use coordination::share::record::ShareKey;
use coordination::share::store::{Answer as ShareAnswer, Ask, coordinator_of};
use futures_lite::future::or;
use model::{ErrorCode, Offset, TopicId, TopicPartition};
use storage::disk::Disk;

use super::Phase;
use super::seated::Seated;
use crate::answers;
use crate::ops::{Answer, Question};
use crate::route::owner_of;
use crate::shard::Shard;

/// States of one group that are being begun at a time: a share coordinator has room for some of several groups.
const STATES_BEGUN_TOGETHER: usize = 128;

impl<D: Disk> Shard<D> {
    /// Asks the share coordinator of a share partition, on whichever core it is; answers in the order of `asks`. Whoever waits
    /// longer than the setting says is told that there is no coordinator: without an end to it, cores that wait for each
    /// other's answers might do so for ever.
    pub(crate) async fn ask_share_state(self: &Rc<Self>, key: ShareKey, asks: Vec<Ask>) -> Vec<ShareAnswer> {
        let refused =
            |error| -> Vec<ShareAnswer> { asks.iter().map(|ask| ShareAnswer::refused(ask, error)).collect() };
        let Some(partition) = coordinator_of(&self.image(), &key) else {
            return refused(ErrorCode::CoordinatorNotAvailable);
        };
        let late = refused(ErrorCode::CoordinatorNotAvailable);
        let asked = self.ask(owner_of(partition, self.cores), Question::ShareState { partition, key, asks });
        let answered = async move {
            match asked.await {
                Answer::ShareState(answers) => Some(answers),
                _ => None,
            }
        };
        let disk = self.disk.clone();
        let wait = Duration::from_millis(u64::from(self.share_states.settings.write_timeout_ms));
        let ended = async move {
            disk.sleep(wait).await;
            None
        };
        match or(answered, ended).await {
            Some(answers) if answers.len() == late.len() => answers,
            _ => late,
        }
    }

    /// Begins states, and tells the group coordinator that wanted it. Without the topic it makes no sense: the member asks
    /// again with a later heartbeat.
    pub(super) fn initialize_shares(
        self: &Rc<Self>,
        seat: TopicPartition,
        group: Arc<str>,
        epoch: i32,
        partitions: Assignment,
    ) {
        let shard = Rc::clone(self);
        self.disk.spawn(async move {
            let mut sorted: BTreeMap<bool, BTreeMap<TopicId, BTreeSet<i32>>> = BTreeMap::new();
            let mut why = None;
            for (topic, partition, error) in shard.begin_shares(&group, epoch, &partitions).await {
                if !error.is_ok() {
                    why = Some(error);
                }
                let list = sorted.entry(error.is_ok()).or_default();
                list.entry(topic).or_default().insert(partition);
            }
            if let Some(error) = why {
                tracing::debug!(
                    group = &*group,
                    error = error.name(),
                    "states of share partitions could not be begun; a later heartbeat tries again"
                );
            }
            let found = Coordinator::seats(&shard).seats.borrow().get(&seat).cloned();
            let Some(seat) = found.filter(|seat| seat.phase.get() == Phase::Serving) else { return };
            for (done, partitions) in sorted {
                let (wall, group) = (shard.wall(), Arc::clone(&group));
                let partitions = Assignment(partitions);
                shard.step(&seat, Input::SharesInitialized { wall, group, partitions, done });
            }
        });
    }

    /// Begins states, many at a time: the appends of a core gather, and one that is slow holds up few others.
    async fn begin_shares(
        self: &Rc<Self>,
        group: &Arc<str>,
        epoch: i32,
        partitions: &Assignment,
    ) -> Vec<(TopicId, i32, ErrorCode)> {
        let mut begun = Vec::new();
        let mut asked: VecDeque<(TopicId, i32, answers::Answer<ErrorCode>)> = VecDeque::new();
        for (topic, partition) in partitions.partitions() {
            if asked.len() >= STATES_BEGUN_TOGETHER
                && let Some((topic, partition, answer)) = asked.pop_front()
            {
                begun.push((topic, partition, answer.await));
            }
            let (deliver, answer) = answers::Answer::later();
            let key = ShareKey { group: Arc::clone(group), topic, partition };
            let shard = Rc::clone(self);
            self.disk.spawn(async move {
                let ask = Ask::Initialize { state_epoch: epoch, start: Offset::NONE };
                let answer = shard.ask_share_state(key, vec![ask]).await.pop();
                deliver.put(answer.map_or(ErrorCode::UnknownServerError, |answer| answer.code()));
            });
            asked.push_back((topic, partition, answer));
        }
        for (topic, partition, answer) in asked {
            begun.push((topic, partition, answer.await));
        }
        begun
    }
}
