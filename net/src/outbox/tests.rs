//! What counts as held by the peer, and what requests are charged with while they wait.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Called, Outbox, PROGRESS_BYTES_MIN, PROGRESS_WINDOW_PRESSED, Permit, Reply};
use crate::budget::{Budget, Waiting, Want};
use crate::control::Control;
use crate::traffic::Traffic;

const LONG: Duration = Duration::from_hours(1);

fn waits_for(wait: Duration, permit: Permit) -> Called {
    Called::InTurn { reply: Box::pin(std::future::pending()), wait, permit }
}

/// Whether what a second request came to counts as held by the peer behind what the first did.
fn held_behind(front: Called, behind: Called) -> bool {
    let control = Rc::new(Control::new(Rc::new(Traffic::new(u64::MAX))));
    let mut outbox = Outbox::new(control, 2);
    let (first, second) = (outbox.open(), outbox.open());
    outbox.called(first, front);
    outbox.called(second, behind);
    let mut cx = Context::from_waker(Waker::noop());
    outbox.drive(&mut cx);
    outbox.enqueue();
    outbox.drive_in_turn(&mut cx);
    outbox.held_until().is_some_and(|until| Instant::now() < until)
}

#[test]
fn answers_are_held_by_the_peer_only_behind_a_wait_it_asked_for() {
    let large = usize::try_from(PROGRESS_BYTES_MIN).unwrap();
    let budget = Budget::new(1 << 20, 1 << 19);
    let answer = |bytes| Called::Now(Reply::bytes(vec![0; bytes].into()));
    let waits = |wait| waits_for(wait, budget.empty());
    assert!(held_behind(waits(LONG), answer(large)));
    assert!(!held_behind(waits(LONG), answer(large - 1)), "small ones are in nobody's way");
    assert!(!held_behind(waits(Duration::ZERO), answer(large)), "it waits for our memory or disk");
    assert!(!held_behind(Called::Later(Box::pin(std::future::pending())), answer(large)), "so may this");
}

#[test]
fn a_request_that_takes_much_is_charged_until_it_is_answered_and_no_other_is_read() {
    let large = usize::try_from(PROGRESS_BYTES_MIN).unwrap();
    let budget = Budget::new(1 << 20, 1 << 19);
    for (bytes, begun) in [(large, large), (large - 1, 0)] {
        let mut outbox = Outbox::new(Rc::new(Control::new(Rc::new(Traffic::new(u64::MAX)))), 4);
        let ticket = outbox.open();
        let permit = budget.try_admit(bytes).unwrap();
        let answer = Rc::new(Cell::new(false));
        let known = Rc::clone(&answer);
        let reply =
            Box::pin(poll_fn(move |_| if known.get() { Poll::Ready(Reply::Silent) } else { Poll::Pending }));
        outbox.called(ticket, Called::InTurn { reply, wait: LONG, permit });
        assert_eq!((budget.used(), outbox.has_room()), (bytes, bytes < large));
        let mut cx = Context::from_waker(Waker::noop());
        outbox.drive_in_turn(&mut cx);
        assert_eq!((budget.used(), outbox.has_room()), (begun, bytes < large));
        answer.set(true);
        outbox.drive_in_turn(&mut cx);
        assert_eq!((budget.used(), outbox.has_room()), (0, true));
    }
}

#[test]
fn a_request_that_takes_much_is_held_by_a_peer_that_lets_it_wait() {
    let large = usize::try_from(PROGRESS_BYTES_MIN).unwrap();
    let budget = Budget::new(1 << 20, 1 << 19);
    let held = |wait, first, second| {
        let admit = |bytes| budget.try_admit(bytes).unwrap();
        held_behind(waits_for(wait, admit(first)), waits_for(LONG, admit(second)))
    };
    assert!(held(LONG, 0, large), "it is not begun");
    assert!(!held(LONG, large - 1, large - 1), "what has begun and is little counts no more");
    assert!(held(LONG, large, 0), "it has begun");
    assert!(held(PROGRESS_WINDOW_PRESSED, 0, large));
    assert!(!held(PROGRESS_WINDOW_PRESSED, large, 0), "it makes room in time");
    assert_eq!(budget.used(), 0);
}

#[test]
fn whoever_keeps_the_reserve_holds_up_others_however_little_it_is() {
    let budget = Budget::with_reserve(100, 100);
    let _all = budget.try_admit(100).unwrap();
    let mut permit = budget.empty();
    let mut waiting = Waiting::new(budget.clone());
    let cx = Context::from_waker(Waker::noop());
    assert!(waiting.poll_grow(&cx, &mut permit, 1, Want::Small).is_ready());
    assert!(held_behind(waits_for(LONG, budget.empty()), waits_for(LONG, permit)));
}
