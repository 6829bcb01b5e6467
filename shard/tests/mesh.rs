//! The mesh across real executors: order, bounds, and cores that ask each other all they can.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shard::executor::{ExecutorSettings, Queue, allowed_cpus, sleep, spawn, start};
use shard::mesh::{Link, Mesh, links};

fn fatal(reason: &str) -> ! {
    eprintln!("fatal: {reason}");
    std::process::abort()
}

fn settings(cores: usize) -> ExecutorSettings {
    let allowed = allowed_cpus();
    let cpus = (0..cores).map(|core| allowed[core % allowed.len()]).collect();
    ExecutorSettings { cpus, io_memory: 1 << 20, spin: Duration::ZERO, fatal }
}

/// Runs `core` on every core of a mesh.
fn on_mesh<Q, A, T, F>(
    cores: usize,
    depth: usize,
    core: impl Fn(Link<Q, A>) -> F + Clone + Send + 'static,
) -> Vec<T>
where
    Q: Send + 'static,
    A: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    start(&settings(cores), links(cores, depth), move |_, link| core(link)).unwrap().join()
}

/// Waits until `count` reaches `all`: no core may end while others still ask it.
async fn meet(count: &AtomicUsize, all: usize) {
    count.fetch_add(1, Ordering::SeqCst);
    while count.load(Ordering::SeqCst) < all {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn questions_are_begun_in_the_order_in_which_they_were_asked() {
    const CORES: usize = 3;
    const QUESTIONS: u64 = 3000;
    let done = Arc::new(AtomicUsize::new(0));
    let orders = on_mesh(CORES, 16, move |link: Link<u64, u64>| {
        let done = done.clone();
        async move {
            let mesh = link.join(fatal).await;
            let begun: Rc<RefCell<Vec<Vec<u64>>>> = Rc::new(RefCell::new(vec![Vec::new(); CORES]));
            let seen = begun.clone();
            mesh.serve(move |from, question| {
                let seen = seen.clone();
                async move {
                    seen.borrow_mut()[from].push(question);
                    // Some are answered at once, some late and out of order.
                    if question % 7 == 0 {
                        sleep(Duration::from_micros(question % 5 * 300)).await;
                    }
                    question * 2
                }
            });
            for to in 0..CORES {
                let mut waiting = VecDeque::new();
                for question in 0..QUESTIONS {
                    waiting.push_back((question, mesh.call(to, question).await));
                    if question % 3 == 0
                        && let Some((asked, answer)) = waiting.pop_front()
                    {
                        assert_eq!(answer.await, asked * 2);
                    }
                    while waiting.len() > 40 {
                        let (asked, answer) = waiting.pop_front().unwrap();
                        if asked % 2 == 0 {
                            assert_eq!(answer.await, asked * 2);
                        }
                    }
                }
                for (asked, answer) in waiting {
                    assert_eq!(answer.await, asked * 2);
                }
            }
            meet(&done, CORES).await;
            begun.take()
        }
    });
    for of_core in orders {
        for from in of_core {
            assert_eq!(from, (0..QUESTIONS).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_peer_that_does_not_answer_stops_who_asks_and_holds_no_more_than_the_depth() {
    const DEPTH: usize = 8;
    let open = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let queued = on_mesh(2, DEPTH, move |link: Link<u32, u32>| {
        let (open, done) = (open.clone(), done.clone());
        async move {
            let mesh = link.join(fatal).await;
            let gate = open.clone();
            mesh.serve(move |_, question| {
                let gate = gate.clone();
                async move {
                    while gate.load(Ordering::SeqCst) == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    question
                }
            });
            let queued = Rc::new(Cell::new(0));
            let answered = Rc::new(Cell::new(0));
            if mesh.core() == 0 {
                for task in 0..4 {
                    spawn(Queue::Serve, ask_many(mesh.clone(), task, queued.clone(), answered.clone()));
                }
                // All that can be queued is: nobody answers before the gate opens.
                while queued.get() < DEPTH {
                    sleep(Duration::from_millis(1)).await;
                }
                sleep(Duration::from_millis(50)).await;
            }
            let before = queued.get();
            if mesh.core() == 0 {
                open.store(1, Ordering::SeqCst);
                while answered.get() < 400 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            meet(&done, 2).await;
            before
        }
    });
    assert_eq!(queued, [DEPTH, 0]);
}

async fn ask_many(mesh: Rc<Mesh<u32, u32>>, task: u32, queued: Rc<Cell<usize>>, answered: Rc<Cell<usize>>) {
    let mut answers = Vec::new();
    for question in 0..100 {
        answers.push((question, mesh.call(1, 1000 * task + question).await));
        queued.set(queued.get() + 1);
        if answers.len() > 1 {
            let (asked, answer) = answers.remove(0);
            assert_eq!(answer.await, 1000 * task + asked);
            answered.set(answered.get() + 1);
        }
    }
    for (asked, answer) in answers {
        assert_eq!(answer.await, 1000 * task + asked);
        answered.set(answered.get() + 1);
    }
}

#[test]
fn two_cores_that_ask_each_other_all_they_can_both_get_on() {
    const ASKERS: usize = 64;
    let done = Arc::new(AtomicUsize::new(0));
    let sums = on_mesh(2, 4, move |link: Link<u64, u64>| {
        let done = done.clone();
        async move {
            let mesh = link.join(fatal).await;
            mesh.serve(|_, question| async move { question + 1 });
            let other = 1 - mesh.core();
            let sum = Rc::new(Cell::new(0));
            let left = Rc::new(Cell::new(ASKERS));
            for _ in 0..ASKERS {
                let (mesh, sum, left) = (mesh.clone(), sum.clone(), left.clone());
                spawn(Queue::Serve, async move {
                    for question in 0..200 {
                        let answer = mesh.call(other, question).await.await;
                        sum.set(sum.get() + answer - question);
                    }
                    left.set(left.get() - 1);
                });
            }
            while left.get() > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            meet(&done, 2).await;
            sum.get()
        }
    });
    assert_eq!(sums, [200 * ASKERS as u64; 2]);
}

#[test]
fn questions_that_wait_for_long_keep_nobody_from_asking() {
    // More than a queue has room for: their answers, all at once in the end, have to wait beside it.
    const WAITING: u64 = 5000;
    let open = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let sums = on_mesh(2, model::limits::QUESTIONS_MAX, move |link: Link<u64, u64>| {
        let (open, done) = (open.clone(), done.clone());
        async move {
            let mesh = link.join(fatal).await;
            let gate = open.clone();
            mesh.serve(move |_, question| {
                let gate = gate.clone();
                async move {
                    while question < WAITING && gate.load(Ordering::SeqCst) == 0 {
                        sleep(Duration::from_millis(20)).await;
                    }
                    question
                }
            });
            let mut sum = 0;
            if mesh.core() == 0 {
                let mut waiting = Vec::new();
                for question in 0..WAITING {
                    waiting.push(mesh.call(1, question).await);
                }
                assert_eq!(mesh.call(1, WAITING).await.await, WAITING, "it overtakes those that wait");
                open.store(1, Ordering::SeqCst);
                for answer in waiting {
                    sum += answer.await;
                }
            }
            meet(&done, 2).await;
            sum
        }
    });
    assert_eq!(sums, [WAITING * (WAITING - 1) / 2, 0]);
}
