//! Memory for what requests become on one core: structures while a request is handled, then its answer until the socket
//! took it. For the control plane, whose structures are many times their bytes and whose answers can be larger than any
//! request; produce and fetch have limits of their own.
//!
//! Nothing can block for ever, although whoever waits here holds the permit of its request's bytes:
//! * Bytes come first and this comes second, never the other way round; nobody who holds a permit of this budget waits
//!   for another one, of either kind. [`Answers::charge`] does not wait: an answer that is there takes its memory whether or
//!   not it is charged, so it is charged beyond the capacity and the next request waits instead.
//! * What is held is given back when the handler ends or the connection does, and a connection whose peer takes nothing
//!   is closed for being idle, unless that is switched off.
//! * A request larger than the capacity, or one that finds none left because peers are slow to take their answers, goes by
//!   the reserve: one at a time, and as large as the largest there can be.
//!
//! An answer whose turn has not come, because an earlier request of its connection waits for something, is charged
//! meanwhile: as long as that request may wait. Beyond capacity and reserve there is at most one answer of a handler that did not wait between being admitted and
//! answering. The answers of those that do wait are in proportion to their requests, which were admitted for more.

use futures_lite::future::poll_fn;

use crate::budget::{Budget, Permit, Waiting, Want};
use crate::service::Reply;

/// One core's memory for control-plane requests and their answers.
#[derive(Clone, Debug)]
pub struct Answers {
    budget: Budget,
}

impl Answers {
    /// `capacity` bytes, and `largest` for one at a time beside them: no request and no answer may take more.
    #[must_use]
    pub fn new(capacity: usize, largest: usize) -> Self {
        Self { budget: Budget::with_reserve(capacity, largest) }
    }

    /// Bytes that requests and answers are charged with now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.budget.used()
    }

    /// Whether a request waits for memory.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.budget.is_waited_for()
    }

    /// Waits until a request that may become this many bytes can be handled.
    ///
    /// # Panics
    /// When that is more than the largest.
    pub async fn admit(&self, bytes: usize) -> Permit {
        let mut waiting = Waiting::new(self.budget.clone());
        let mut permit = self.budget.empty();
        poll_fn(|cx| waiting.poll_grow(cx, &mut permit, bytes, Want::Large)).await;
        permit
    }

    /// Charges a reply with what it takes until it is sent, instead of what its request was admitted for.
    #[must_use]
    pub fn charge(&self, reply: Reply, mut permit: Permit) -> Reply {
        let Reply::Send(mut response) = reply else { return reply };
        let (bytes, largest) = (response.len(), self.budget.reserve());
        if bytes > largest {
            let why =
                format!("its answer takes {bytes} bytes and may take {largest}: it has to ask for less");
            return Reply::Close(why.into());
        }
        permit.settle(bytes);
        response.permit = Some(permit);
        Reply::Send(response)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::{Answers, Reply};
    use crate::budget::Permit;

    fn admitted(answers: &Answers, bytes: usize) -> Option<Permit> {
        match pin!(answers.admit(bytes)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn answer(answers: &Answers, permit: Permit, bytes: usize) -> Reply {
        answers.charge(Reply::bytes(Bytes::from(vec![0; bytes])), permit)
    }

    #[test]
    fn an_answer_is_charged_until_it_is_gone() {
        let answers = Answers::new(1000, 5000);
        let permit = admitted(&answers, 900).unwrap();
        let reply = answer(&answers, permit, 300);
        assert_eq!(answers.used(), 300, "what was admitted and is not needed comes back");
        drop(reply);
        assert_eq!(answers.used(), 0);
        assert!(matches!(answers.charge(Reply::Silent, admitted(&answers, 900).unwrap()), Reply::Silent));
        assert_eq!(answers.used(), 0);
    }

    #[test]
    fn an_answer_beyond_the_capacity_makes_others_wait_but_not_all_of_them() {
        let answers = Answers::new(1000, 5000);
        let permit = admitted(&answers, 10).unwrap();
        let large = answer(&answers, permit, 4000);
        assert_eq!(answers.used(), 4000);
        let by_reserve = admitted(&answers, 10).unwrap();
        assert!(admitted(&answers, 10).is_none(), "nothing is left");
        let second = answer(&answers, by_reserve, 20);
        assert!(admitted(&answers, 10).is_none(), "an answer that finds no room elsewhere keeps the reserve");
        drop(second);
        let by_reserve = admitted(&answers, 10).unwrap();
        drop(large);
        let third = answer(&answers, by_reserve, 20);
        let by_capacity = admitted(&answers, 900).unwrap();
        let by_reserve = admitted(&answers, 900).unwrap();
        assert_eq!(answers.used(), 1820, "the third answer left the reserve");
        drop((third, by_capacity, by_reserve));
        assert_eq!(answers.used(), 0);
    }

    #[test]
    fn the_largest_go_one_at_a_time() {
        let answers = Answers::new(1000, 5000);
        let one = admitted(&answers, 5000).unwrap();
        assert!(admitted(&answers, 5000).is_none());
        let small = admitted(&answers, 600).unwrap();
        drop(one);
        assert!(admitted(&answers, 5000).is_some());
        drop(small);
        assert_eq!(answers.used(), 0);
    }

    #[test]
    fn an_answer_that_can_never_fit_closes_the_connection_and_says_why() {
        let answers = Answers::new(1000, 5000);
        let permit = admitted(&answers, 10).unwrap();
        let Reply::Close(why) = answer(&answers, permit, 5001) else { panic!("it cannot be sent") };
        assert!(why.contains("5001") && why.contains("5000"), "{why}");
        assert_eq!(answers.used(), 0);
    }
}
