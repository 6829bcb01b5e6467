//! Waits of a request at the cores that own what it waits for.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::cluster::Asked;
use crate::service::Broker;

/// A name for a wait that no other core gives.
pub(super) fn token(broker: &Broker) -> u64 {
    let number = broker.waits.get();
    broker.waits.set(number + 1);
    number * broker.cluster.cores() as u64 + broker.cluster.core() as u64
}

/// The place of the first that is answered.
pub(super) async fn first_of(all: &mut [Asked]) -> usize {
    poll_fn(|context| {
        for (at, asked) in all.iter_mut().enumerate() {
            if asked.as_mut().poll(context).is_ready() {
                return Poll::Ready(at);
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits at owners; those that are left are cancelled when it is dropped, as the connection may be at any time.
pub(super) struct Waits {
    broker: Rc<Broker>,
    /// Where, and its name.
    pub waits: Vec<(usize, u64)>,
}

impl Waits {
    pub fn new(broker: &Rc<Broker>) -> Self {
        Self { broker: Rc::clone(broker), waits: Vec::new() }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        for (owner, token) in &self.waits {
            self.broker.cluster.cancel(*owner, *token);
        }
    }
}
