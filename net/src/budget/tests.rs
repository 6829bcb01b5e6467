//! What fits is admitted in order, and what has begun can finish.

use std::task::{Context, Poll, Waker};

use super::{Budget, Waiting, Want};

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn permits_split_merge_and_come_back() {
    let budget = Budget::new(1000, 400);
    let mut permit = budget.try_admit(600).unwrap();
    assert!(budget.try_admit(1).is_none());
    let part = permit.split(100);
    permit.give_back(200);
    assert_eq!((permit.bytes(), part.bytes(), budget.used()), (300, 100, 400));
    permit.merge(part);
    assert_eq!((permit.bytes(), budget.used()), (400, 400));
    drop(permit);
    assert_eq!(budget.used(), 0);
}

#[test]
fn waiters_are_served_in_order() {
    let budget = Budget::new(1000, 400);
    let cx = context();
    let held = budget.try_admit(600).unwrap();
    let (mut first, mut second) = (Waiting::new(budget.clone()), Waiting::new(budget.clone()));
    assert!(first.poll_admit(&cx, 500).is_pending());
    assert!(second.poll_admit(&cx, 10).is_pending());
    drop(held);
    assert!(second.poll_admit(&cx, 10).is_pending(), "a small one must not pass a large one for ever");
    assert!(budget.try_admit(1).is_none());
    let Poll::Ready(permit) = first.poll_admit(&cx, 500) else { panic!("the first is admitted") };
    assert!(second.poll_admit(&cx, 10).is_ready());
    drop(permit);
    assert_eq!(budget.used(), 0);
}

#[test]
fn large_requests_leave_room_for_those_that_have_not_begun() {
    let budget = Budget::new(1000, 200);
    let cx = context();
    let (mut large, mut larger) = (budget.empty(), budget.empty());
    assert!(Waiting::new(budget.clone()).poll_grow(&cx, &mut large, 700, Want::Large).is_ready());
    assert!(
        Waiting::new(budget.clone()).poll_grow(&cx, &mut larger, 150, Want::Large).is_ready(),
        "by the reserve"
    );
    let (mut waiting, mut third) = (Waiting::new(budget.clone()), budget.empty());
    assert!(waiting.poll_grow(&cx, &mut third, 10, Want::Large).is_pending());
    let Poll::Ready(small) = Waiting::new(budget.clone()).poll_admit(&cx, 100) else {
        panic!("there is room, and whoever waits could not use it")
    };
    assert!(Waiting::new(budget.clone()).poll_admit(&cx, 1).is_pending());
    assert!(budget.large_ones_wait());
    drop(small);
    let mut small = budget.empty();
    assert!(
        Waiting::new(budget.clone()).poll_grow(&cx, &mut small, 100, Want::Small).is_ready(),
        "nor does one that has begun and is small wait for large ones"
    );
    drop(large);
    assert!(waiting.poll_grow(&cx, &mut third, 600, Want::Large).is_ready());
    drop((small, larger, third));
    assert_eq!((budget.used(), budget.is_waited_for()), (0, false));
}

#[test]
fn one_that_gives_up_does_not_block_the_queue() {
    let budget = Budget::new(1000, 400);
    let cx = context();
    let held = budget.try_admit(500).unwrap();
    let (mut first, mut second) = (Waiting::new(budget.clone()), Waiting::new(budget.clone()));
    assert!(first.poll_admit(&cx, 200).is_pending());
    assert!(second.poll_admit(&cx, 50).is_pending());
    drop(first);
    assert!(second.poll_admit(&cx, 50).is_ready());
    drop(held);
}

#[test]
fn half_requests_that_hold_everything_still_finish_one_by_one() {
    let budget = Budget::new(1000, 500);
    let cx = context();
    // Five requests of 300 bytes have 100 each: nothing is left, and none is complete.
    let mut permits: Vec<_> = (0..5).map(|_| budget.try_admit(100).unwrap()).collect();
    let mut waiting: Vec<_> = (0..5).map(|_| Waiting::new(budget.clone())).collect();
    let mut finished = 0;
    for _round in 0..100 {
        for (permit, waiting) in permits.iter_mut().zip(&mut waiting) {
            if permit.bytes() > 0
                && waiting.poll_grow(&cx, permit, 50, Want::Large).is_ready()
                && permit.bytes() == 300
            {
                *permit = budget.empty();
                finished += 1;
            }
        }
    }
    assert_eq!((finished, budget.used(), budget.reserve_taken()), (5, 0, false));
}

#[test]
fn the_reserve_is_free_when_nothing_of_it_is_used() {
    let budget = Budget::new(1000, 500);
    let cx = context();
    let mut permit = budget.try_admit(500).unwrap();
    let mut waiting = Waiting::new(budget.clone());
    assert!(waiting.poll_grow(&cx, &mut permit, 200, Want::Large).is_ready());
    assert!(budget.reserve_taken());
    permit.give_back(200);
    assert!(!budget.reserve_taken());
    assert_eq!((permit.bytes(), budget.used()), (500, 500));
}

#[test]
fn settling_gives_back_or_charges_more_than_there_is() {
    let budget = Budget::with_reserve(1000, 500);
    let cx = context();
    let mut permit = budget.try_admit(300).unwrap();
    permit.settle(100);
    assert_eq!((permit.bytes(), budget.used()), (100, 100));
    permit.settle(1200);
    assert_eq!((permit.bytes(), budget.used()), (1200, 1200));
    assert!(budget.try_admit(1).is_none(), "more is in use than there is");
    let mut by_reserve = budget.empty();
    assert!(Waiting::new(budget.clone()).poll_grow(&cx, &mut by_reserve, 400, Want::Large).is_ready());
    by_reserve.settle(300);
    assert_eq!((by_reserve.bytes(), budget.used(), budget.reserve_taken()), (300, 1500, true));
    by_reserve.settle(700);
    assert_eq!((by_reserve.bytes(), by_reserve.has_reserve()), (700, true), "one at a time, however large");
    assert!(Waiting::new(budget.clone()).poll_grow(&cx, &mut budget.empty(), 1, Want::Large).is_pending());
    assert!(budget.is_overdrawn());
    drop(permit);
    assert!(!budget.is_overdrawn());
    by_reserve.settle(200);
    assert_eq!((by_reserve.bytes(), budget.used(), budget.reserve_taken()), (200, 200, false));
    drop(by_reserve);
    assert_eq!(budget.used(), 0);
}
