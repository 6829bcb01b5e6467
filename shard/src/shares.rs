//! The share partitions of one core: who holds which records of its partitions, for each share group that reads them.
//!
//! One is opened when a member first asks: its state is read from the share coordinator, and until then there is nothing to
//! hand out. What members say goes back there in order, and holds once it is durable. When the last member's session ends
//! the share partitions of the group are closed; whoever comes then reads the state anew.

mod acknowledging;
mod budget;
mod fetching;
mod found;
mod opening;
mod writing;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coordination::metadata::image::Image;
use coordination::share::record::ShareKey;
use coordination::share::{SharePartition, ShareSettings, StateWrite};
use model::limits::SHARE_PARTITIONS_MAX;
use model::{ErrorCode, TopicPartition};
use storage::disk::Disk;

use self::budget::{Budget, Part};
use self::found::Sizes;
use crate::answers::Deliver;
use crate::shard::Shard;

/// Locks that ran out are looked for this often while there are any.
const LOCK_STEP: Duration = Duration::from_millis(50);

/// The share partitions of one core, by group.
pub(crate) struct Shares {
    groups: RefCell<BTreeMap<Arc<str>, Group>>,
    /// All of them together.
    count: Cell<usize>,
    budget: Rc<Budget>,
    /// Somebody looks for locks that ran out.
    timed: Cell<bool>,
}

impl Shares {
    /// None yet. All of them may take so much memory, if anything bounds them.
    pub fn new(bytes_max: Option<u64>) -> Self {
        Self {
            groups: RefCell::default(),
            count: Cell::new(0),
            budget: Budget::new(bytes_max.unwrap_or(u64::MAX)),
            timed: Cell::new(false),
        }
    }

    /// Bytes that what is in flight takes.
    pub fn bytes(&self) -> u64 {
        self.budget.bytes()
    }
}

#[derive(Default)]
struct Group {
    /// Those who have asked and whose session did not end, and in which session they did last.
    members: BTreeMap<Arc<str>, u64>,
    slots: HashMap<TopicPartition, Rc<Slot>>,
}

enum Phase {
    /// Its state is being read.
    Opening,
    Open(Box<SharePartition>),
    /// It could not be opened, or its state is somebody else's by now: whoever comes next opens another.
    Failed(ErrorCode),
}

/// One share partition.
struct Slot {
    key: ShareKey,
    id: TopicPartition,
    phase: RefCell<Phase>,
    part: Part,
    /// Counts what a waiting member should hear of.
    news: Cell<u64>,
    /// Somebody reads the log for it.
    reading: Cell<bool>,
    /// Others came meanwhile: the fewest bytes that one of them waits for.
    turned_away: Cell<Option<u32>>,
    /// Counts the reads that others waited for.
    reads: Cell<u64>,
    /// How large what was read last is.
    sizes: Cell<Sizes>,
    queue: RefCell<VecDeque<StateWrite>>,
    /// Somebody sees to the queue.
    writing: Cell<bool>,
    /// Who waits for writes, by number.
    waiting: RefCell<HashMap<u64, Deliver<ErrorCode>>>,
}

impl Slot {
    fn new(key: ShareKey, id: TopicPartition, part: Part) -> Self {
        Self {
            key,
            id,
            phase: RefCell::new(Phase::Opening),
            part,
            news: Cell::new(0),
            reading: Cell::new(false),
            turned_away: Cell::new(None),
            reads: Cell::new(0),
            sizes: Cell::default(),
            queue: RefCell::default(),
            writing: Cell::new(false),
            waiting: RefCell::default(),
        }
    }

    /// Looks at it while it is open. Only here does it change, so here it is counted.
    fn with<T>(&self, look: impl FnOnce(&mut SharePartition) -> T) -> Option<T> {
        match &mut *self.phase.borrow_mut() {
            Phase::Open(partition) => {
                partition.set_short(self.part.is_short());
                let seen = look(partition);
                self.part.count(partition.memory_bytes());
                Some(seen)
            }
            Phase::Opening | Phase::Failed(_) => None,
        }
    }

    fn open(&self, partition: SharePartition) {
        self.part.count(partition.memory_bytes());
        *self.phase.borrow_mut() = Phase::Open(Box::new(partition));
    }

    /// What was known of it is worth nothing.
    fn fail(&self, error: ErrorCode) {
        *self.phase.borrow_mut() = Phase::Failed(error);
        self.part.count(0);
    }

    fn failed(&self) -> Option<ErrorCode> {
        match &*self.phase.borrow() {
            Phase::Failed(error) => Some(*error),
            Phase::Opening | Phase::Open(_) => None,
        }
    }
}

impl<D: Disk> Shard<D> {
    /// A member fetches in a session: until [`share_release`](Self::share_release) it may hold records. Whoever asks has it
    /// released once more when the session ended meanwhile.
    fn share_member(&self, group: &Arc<str>, member: &Arc<str>, session: u64) {
        let mut groups = self.shares.groups.borrow_mut();
        let members = &mut groups.entry(Arc::clone(group)).or_default().members;
        let known = members.entry(Arc::clone(member)).or_insert(session);
        *known = session.max(*known);
    }

    /// Whether this session of the member goes on.
    fn is_share_member(&self, group: &str, member: &str, session: u64) -> bool {
        let groups = self.shares.groups.borrow();
        groups.get(group).and_then(|known| known.members.get(member)) == Some(&session)
    }

    /// The share partition, for this session of a member; it is opened if it is not there.
    fn share_slot(
        self: &Rc<Self>,
        group: &Arc<str>,
        member: &Arc<str>,
        session: u64,
        id: TopicPartition,
    ) -> Result<Rc<Slot>, ErrorCode> {
        if self.is_stopping() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.known(id).map_err(|fault| fault.code)?;
        let mut groups = self.shares.groups.borrow_mut();
        let known = groups.get_mut(group).filter(|known| known.members.get(member) == Some(&session));
        let known = known.ok_or(ErrorCode::ShareSessionNotFound)?;
        if let Some(slot) = known.slots.get(&id) {
            let Some(error) = slot.failed() else { return Ok(Rc::clone(slot)) };
            // Told once to each who waited; the next one tries again.
            known.slots.remove(&id);
            self.shares.count.set(self.shares.count.get() - 1);
            return Err(error);
        }
        let part = self.shares.budget.part().filter(|_| self.shares.count.get() < SHARE_PARTITIONS_MAX);
        let part = part.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let partition = i32::try_from(id.partition).unwrap_or(i32::MAX);
        let key = ShareKey { group: Arc::clone(group), topic: id.topic, partition };
        let slot = Rc::new(Slot::new(key, id, part));
        known.slots.insert(id, Rc::clone(&slot));
        self.shares.count.set(self.shares.count.get() + 1);
        drop(groups);
        self.open_share(Rc::clone(&slot));
        Ok(slot)
    }

    /// The share partition, if there is one.
    fn existing_share(&self, group: &str, id: TopicPartition) -> Option<Rc<Slot>> {
        self.shares.groups.borrow().get(group)?.slots.get(&id).cloned()
    }

    /// Whoever waits for something to hand out here looks again.
    fn share_news(&self, slot: &Slot) {
        slot.news.set(slot.news.get() + 1);
        self.disturb(slot.id);
    }

    /// A member's session ended: what it holds is free, unless a later one goes on.
    pub(crate) fn share_release(self: &Rc<Self>, group: &Arc<str>, member: &Arc<str>, session: u64) {
        let slots: Vec<Rc<Slot>> = {
            let mut groups = self.shares.groups.borrow_mut();
            let Some(known) = groups.get_mut(group) else { return };
            if known.members.get(member).is_some_and(|later| *later > session) {
                return;
            }
            known.members.remove(member);
            known.slots.values().cloned().collect()
        };
        for slot in slots {
            if let Some(write) = slot.with(|partition| partition.release(member)).flatten() {
                self.write_share(&slot, write, None);
            }
        }
        self.close_idle_shares(group);
    }

    /// Closes what nobody uses, once all of it is written.
    fn close_idle_shares(&self, group: &str) {
        let mut groups = self.shares.groups.borrow_mut();
        let Some(known) = groups.get_mut(group).filter(|known| known.members.is_empty()) else { return };
        let before = known.slots.len();
        known.slots.retain(|_, slot| slot.writing.get() || slot.reading.get());
        self.shares.count.set(self.shares.count.get() - (before - known.slots.len()));
        if known.slots.is_empty() {
            groups.remove(group);
        }
    }

    /// The share partitions of a group are about to be others: what is known of them here is worth nothing.
    pub(crate) fn share_forget(&self, group: &str) {
        let slots: Vec<Rc<Slot>> = {
            let mut groups = self.shares.groups.borrow_mut();
            let Some(known) = groups.get_mut(group) else { return };
            known.slots.drain().map(|(_, slot)| slot).collect()
        };
        self.shares.count.set(self.shares.count.get() - slots.len());
        for slot in slots {
            slot.fail(ErrorCode::NotLeaderOrFollower);
            self.share_news(&slot);
        }
    }

    /// New metadata: settings may be others, and topics gone.
    pub(crate) fn tell_shares(&self, image: &Image) {
        let mut gone = 0;
        for (group, known) in self.shares.groups.borrow_mut().iter_mut() {
            let settings = ShareSettings::of(image, group);
            known.slots.retain(|id, slot| {
                slot.with(|partition| partition.set_settings(settings));
                let there = image.topic_by_id(id.topic).is_some_and(|topic| id.partition < topic.partitions);
                if !there {
                    slot.fail(ErrorCode::UnknownTopicOrPartition);
                    gone += 1;
                }
                there
            });
        }
        self.shares.count.set(self.shares.count.get() - gone);
    }

    /// Frees what is locked no longer, for as long as there are locks.
    fn time_shares(self: &Rc<Self>) {
        if self.shares.timed.replace(true) {
            return;
        }
        let shard = Rc::clone(self);
        self.disk.spawn(async move {
            while !shard.is_stopping() && shard.expire_shares() {
                shard.disk.sleep(LOCK_STEP).await;
            }
            shard.shares.timed.set(false);
        });
    }

    /// Says whether there are locks left.
    fn expire_shares(self: &Rc<Self>) -> bool {
        let now = self.tick();
        let groups = self.shares.groups.borrow();
        let slots: Vec<Rc<Slot>> =
            groups.values().flat_map(|known| known.slots.values()).map(Rc::clone).collect();
        drop(groups);
        let eased = self.shares.budget.eased();
        let mut locked = false;
        for slot in slots {
            let due = slot.with(|partition| partition.next_deadline()).flatten();
            if due.is_some_and(|due| due <= now) {
                if let Some(write) = slot.with(|partition| partition.expire(now)).flatten() {
                    self.write_share(&slot, write, None);
                }
                self.share_news(&slot);
            } else if eased {
                self.share_news(&slot);
            }
            locked |= due.is_some();
        }
        locked
    }
}
