//! A thread that wakes every executor now and then, from outside.
//!
//! glommio looks at its preempt timer before it runs the first task. When the timer has fired by then, because the
//! thread lost its CPU for a moment, the executor takes "ran nothing" for "nothing to do" and sleeps. A timer of its own
//! wakes it, unless the task that keeps that timer is itself among those that did not get to run: then nothing is
//! left to fire (seen in 1 of 40 starts on a contended machine). Only somebody else can help.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::Waker;
use std::thread;
use std::time::Duration;

/// Longest sleep of an executor that has something to do. The heartbeat inside of it is faster, this one is certain.
const INTERVAL: Duration = Duration::from_millis(20);

enum Message {
    Add(usize, Waker),
    /// The waker comes back, because tasks die best on their own executor.
    Remove(usize, Sender<Waker>),
}

/// The way to the thread, which ends when all are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Sender<Message>);

impl Pulse {
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        thread::Builder::new().name("pulse".to_owned()).spawn(move || {
            let mut wakers = BTreeMap::new();
            loop {
                match messages.recv_timeout(INTERVAL) {
                    Ok(Message::Add(core, waker)) => drop(wakers.insert(core, waker)),
                    Ok(Message::Remove(core, back)) => {
                        // It asked and waits.
                        let _ = wakers.remove(&core).map(|waker| back.send(waker));
                    }
                    Err(RecvTimeoutError::Timeout) => wakers.values().for_each(Waker::wake_by_ref),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Wakes the task of `waker` from now on.
    pub(crate) fn add(&self, core: usize, waker: Waker) {
        // The thread lives as long as we do.
        let _ = self.0.send(Message::Add(core, waker));
    }

    /// Forgets it again, before its executor ends.
    pub(crate) fn remove(&self, core: usize) {
        let (back, returned) = mpsc::channel();
        if self.0.send(Message::Remove(core, back)).is_ok() {
            drop(returned.recv());
        }
    }
}
