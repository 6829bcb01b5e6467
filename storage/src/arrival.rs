//! What a commit brings: bytes that may be read, logs that advanced, work for the flusher.

use std::io;
use std::rc::Rc;

use model::Offset;

use crate::derived::Derived;
use crate::disk::Disk;
use crate::journal::commit::{CommitFacts, Sink};
use crate::journal::extent::Target;
use crate::journal::{Committed, Group};
use crate::log::Log;
use crate::store::{LogRef, Store};

impl<D: Disk, S: Derived> Sink<D, LogRef<D, S>> for Rc<Store<D, S>> {
    async fn direct(&self, group: &Group<LogRef<D, S>>) -> Option<Target<D>> {
        self.let_direct(group).await
    }

    fn journaled(&self, group: &Group<LogRef<D, S>>, error: Option<&io::Error>) {
        self.end_direct(group, error);
    }

    fn written(&self, entries: &mut [Committed<D, LogRef<D, S>>]) {
        let mut advanced = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.log.acknowledges_written()) {
            self.show(entry, &mut advanced);
        }
        self.tell_advanced(&advanced);
    }

    fn committed(&self, entries: Vec<Committed<D, LogRef<D, S>>>, facts: CommitFacts) {
        let mut advanced = Vec::new();
        for mut entry in entries {
            self.needed_from.borrow_mut().entry(entry.file).or_insert(entry.lsn.sequence);
            entry.log.under_way.set(entry.log.under_way.get() - entry.finished);
            self.arrive_direct(&entry);
            if entry.log.is_deleted() {
                continue;
            }
            self.show(&mut entry, &mut advanced);
            entry.log.take_committed(&entry);
            let mut touched = self.touched.borrow_mut();
            let logs = touched.entry(entry.file).or_default();
            logs.entry(entry.log.id).or_insert_with(|| Rc::clone(&entry.log));
            drop(touched);
            self.offer(&entry.log);
        }
        self.count(|counters| {
            counters.commits += 1;
            counters.entries += u64::from(facts.entries);
            counters.journal_bytes += facts.bytes;
        });
        self.shrink_cache();
        if let Some(listener) = self.listener.borrow().as_ref() {
            listener.commit(facts);
        }
        self.tell_advanced(&advanced);
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// Its bytes may be read from now on. Nothing of it goes to a segment before it is durable: a block that is written
    /// again rests on its prefix in the journal.
    fn show(&self, entry: &mut Committed<D, LogRef<D, S>>, advanced: &mut Vec<LogRef<D, S>>) {
        if entry.shown || entry.log.is_deleted() {
            return;
        }
        entry.shown = true;
        self.remember(entry);
        if entry.log.show(entry) && advanced.last().is_none_or(|last| !Rc::ptr_eq(last, &entry.log)) {
            advanced.push(Rc::clone(&entry.log));
        }
    }

    fn tell_advanced(&self, advanced: &[LogRef<D, S>]) {
        if let Some(listener) = self.listener.borrow().as_ref().filter(|_| !advanced.is_empty()) {
            listener.advanced(advanced);
        }
    }
}

impl<D: Disk, S: Derived> Log<D, S> {
    /// Whether the journal holds nothing of this log that is not at rest.
    pub(crate) fn settled(&self) -> bool {
        self.under_way.get() == 0
            && self.loaded.borrow().as_ref().is_none_or(|loaded| loaded.pending.is_empty())
    }

    pub(crate) fn writes_done(&self) -> bool {
        self.loaded.borrow().as_ref().is_none_or(|loaded| loaded.is_quiet())
    }

    /// Whether its appends are acknowledged, and shown, when they are written ([`LogSettings::acknowledge_written`]).
    ///
    /// [`LogSettings::acknowledge_written`]: crate::LogSettings::acknowledge_written
    pub fn acknowledges_written(&self) -> bool {
        self.loaded.borrow().as_ref().is_some_and(|loaded| loaded.settings.acknowledge_written)
    }

    /// An entry may be read. True when that moved the log's end.
    fn show(&self, entry: &Committed<D, LogRef<D, S>>) -> bool {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut().expect("a log with entries under way stays loaded");
        self.durable_bytes.set(self.durable_bytes.get() + entry.len as u64);
        loaded.show(entry).is_some_and(|end: Offset| {
            self.durable_end.set(end);
            true
        })
    }

    /// An entry is durable.
    fn take_committed(&self, committed: &Committed<D, LogRef<D, S>>) {
        let mut loaded = self.loaded.borrow_mut();
        let loaded = loaded.as_mut().expect("a log with entries under way stays loaded");
        if let Some(pending) = crate::log::Pending::of(committed) {
            loaded.pending.push_back(pending);
        }
        loaded.take_committed(committed);
    }
}
