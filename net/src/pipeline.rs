//! Responses leave in the order of their requests, whatever the order in which they become ready. Pure.

use std::collections::VecDeque;

/// The place of one request in the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

/// Answers of one connection, oldest first. `T` is what is sent.
#[derive(Debug)]
pub struct Pipeline<T> {
    /// One slot per request that was opened and not yet taken; the front one's number is `first`.
    slots: VecDeque<Option<T>>,
    first: u64,
    in_flight_max: usize,
}

impl<T> Pipeline<T> {
    /// At most `in_flight_max` requests are in here at a time.
    #[must_use]
    pub const fn new(in_flight_max: usize) -> Self {
        Self { slots: VecDeque::new(), first: 0, in_flight_max }
    }

    /// Requests opened whose answers were not yet taken.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.len()
    }

    /// Whether this request's answer is the next to be taken.
    #[must_use]
    pub fn is_next(&self, ticket: Ticket) -> bool {
        ticket.0 == self.first
    }

    /// Answers that are known and wait for an earlier one.
    pub fn held(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// Whether another request may be opened.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.slots.len() < self.in_flight_max
    }

    /// The next request takes its place behind all others.
    ///
    /// # Panics
    /// Without room.
    pub fn open(&mut self) -> Ticket {
        assert!(self.has_room(), "more than {} requests in flight", self.in_flight_max);
        self.slots.push_back(None);
        Ticket(self.first + self.slots.len() as u64 - 1)
    }

    /// The answer of one request is known.
    ///
    /// # Panics
    /// When it was known before.
    pub fn complete(&mut self, ticket: Ticket, answer: T) {
        let index = ticket.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get_mut(index));
        let slot = slot.expect("a request is answered once, while its place is held");
        assert!(slot.is_none(), "a request was answered twice");
        *slot = Some(answer);
    }

    /// The oldest request's answer, when it is known; its place is free then.
    pub fn take(&mut self) -> Option<T> {
        let answer = self.slots.front_mut()?.take()?;
        self.slots.pop_front();
        self.first += 1;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::Pipeline;

    #[test]
    fn answers_leave_in_request_order() {
        let mut pipeline = Pipeline::new(3);
        let (a, b, c) = (pipeline.open(), pipeline.open(), pipeline.open());
        assert!(!pipeline.has_room());
        pipeline.complete(c, "c");
        pipeline.complete(b, "b");
        assert_eq!(pipeline.take(), None);
        pipeline.complete(a, "a");
        assert_eq!(pipeline.take(), Some("a"));
        assert_eq!(pipeline.take(), Some("b"));
        assert!(pipeline.has_room());
        let d = pipeline.open();
        pipeline.complete(d, "d");
        assert_eq!([pipeline.take(), pipeline.take(), pipeline.take()], [Some("c"), Some("d"), None]);
        assert_eq!(pipeline.in_flight(), 0);
    }

    #[test]
    fn every_order_of_completion_comes_out_sorted() {
        for seed in 0u64..500 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut next = |bound: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from(random >> 33).unwrap() % bound
            };
            let mut pipeline = Pipeline::new(8);
            let (mut open, mut opened, mut taken) = (Vec::new(), 0, 0);
            while taken < 100 {
                if pipeline.has_room() && next(2) == 0 {
                    open.push((pipeline.open(), opened));
                    opened += 1;
                }
                if !open.is_empty() && next(2) == 0 {
                    let (ticket, number) = open.swap_remove(next(open.len()));
                    pipeline.complete(ticket, number);
                }
                while let Some(number) = pipeline.take() {
                    assert_eq!(number, taken, "seed {seed}");
                    taken += 1;
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "answered twice")]
    fn two_answers_are_refused() {
        let mut pipeline = Pipeline::new(2);
        let _first = pipeline.open();
        let second = pipeline.open();
        pipeline.complete(second, 1);
        pipeline.complete(second, 2);
    }
}
