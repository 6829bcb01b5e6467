//! Who holds records, and until when: one lock for all that a member has until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Offset, Tick};

/// Locks end at multiples of this, so that a member has at most some hundred of them: 30 seconds in so many steps.
const GRAIN_MS: u64 = 50;

#[derive(Debug)]
pub(super) struct Lock {
    pub member: Arc<str>,
    pub deadline: Tick,
    /// Where its records are; others may be among them.
    pub first: Offset,
    pub end: Offset,
    /// How many they are; a lock without any is gone.
    records: u64,
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    by_id: BTreeMap<u32, Lock>,
    by_holder: BTreeMap<(Arc<str>, Tick), u32>,
    /// Those whose deadline was not looked at yet.
    due: BTreeSet<(Tick, u32)>,
    last: u32,
}

impl Locks {
    /// A lock of `member` for some records, for `ms` from now on and up to [`GRAIN_MS`] longer.
    pub fn lock(&mut self, member: &Arc<str>, now: Tick, ms: u32, first: Offset, end: Offset) -> u32 {
        let deadline = Tick(now.after_ms(u64::from(ms)).0.div_ceil(GRAIN_MS).saturating_mul(GRAIN_MS));
        let id = *self.by_holder.entry((Arc::clone(member), deadline)).or_insert_with(|| {
            self.last = self.last.wrapping_add(1);
            while self.last == 0 || self.by_id.contains_key(&self.last) {
                self.last = self.last.wrapping_add(1);
            }
            self.last
        });
        let fresh = || Lock { member: Arc::clone(member), deadline, first, end, records: 0 };
        let lock = self.by_id.entry(id).or_insert_with(fresh);
        (lock.first, lock.end) = (lock.first.min(first), lock.end.max(end));
        lock.records += end.0.abs_diff(first.0);
        self.due.insert((deadline, id));
        id
    }

    /// So many records of a lock are no longer held.
    pub fn unlock(&mut self, id: u32, records: u64) {
        let Some(lock) = self.by_id.get_mut(&id) else { return };
        assert!(lock.records >= records, "lock {id} has {} records, not {records}", lock.records);
        lock.records -= records;
        if lock.records == 0 {
            self.due.remove(&(lock.deadline, id));
            if let Some(lock) = self.by_id.remove(&id) {
                self.by_holder.remove(&(lock.member, lock.deadline));
            }
        }
    }

    pub fn get(&self, id: u32) -> Option<&Lock> {
        self.by_id.get(&id)
    }

    pub fn is_of(&self, id: u32, member: &str) -> bool {
        self.by_id.get(&id).is_some_and(|lock| &*lock.member == member)
    }

    /// The locks of a member.
    pub fn of(&self, member: &str) -> Vec<u32> {
        let from = (Arc::from(member), Tick(0));
        let mine = self.by_holder.range(from..).take_while(|((holder, _), _)| &**holder == member);
        mine.map(|(_, id)| *id).collect()
    }

    /// The first lock whose deadline is reached; it is told once.
    pub fn pop_due(&mut self, now: Tick) -> Option<u32> {
        let (deadline, _) = self.due.first()?;
        if *deadline > now {
            return None;
        }
        self.due.pop_first().map(|(_, id)| id)
    }

    /// Has the deadline of a lock looked at again.
    pub fn look_again(&mut self, id: u32) {
        if let Some(lock) = self.by_id.get(&id) {
            self.due.insert((lock.deadline, id));
        }
    }

    pub fn next_deadline(&self) -> Option<Tick> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_until_then_is_one_lock() {
        let mut locks = Locks::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = locks.lock(&a, Tick(3), 1060, Offset(5), Offset(7));
        let second = locks.lock(&b, Tick(0), 1000, Offset(2), Offset(3));
        assert_eq!(locks.lock(&a, Tick(40), 1060, Offset(1), Offset(2)), first);
        assert_ne!(second, first);
        assert_eq!((locks.of("a"), locks.is_of(second, "b"), locks.len()), (vec![first], true, 2));
        assert_eq!(locks.next_deadline(), Some(Tick(1000)));
        assert_eq!((locks.pop_due(Tick(999)), locks.pop_due(Tick(1000))), (None, Some(second)));
        locks.look_again(second);
        assert_eq!(locks.next_deadline(), Some(Tick(1000)));
        locks.unlock(second, 1);
        assert_eq!((locks.len(), locks.pop_due(Tick(1100))), (1, Some(first)));
        let held = locks.get(first).map(|lock| (lock.first, lock.end));
        assert_eq!(held, Some((Offset(1), Offset(7))));
        locks.unlock(first, 2);
        locks.unlock(first, 1);
        assert_eq!((locks.len(), locks.of("a")), (0, Vec::new()));
    }
}
