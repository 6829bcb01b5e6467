//! A deterministic executor with virtual time, for tests of everything that is generic over [`super::Disk`].
//!
//! One thread; ready tasks run in an order shuffled by the seed; when none is ready the clock jumps to the next timer. Equal
//! seeds give equal runs, and [`Simulation::digest`] says so. A crash is [`Simulation::run_steps`] with a budget that runs
//! out, then [`Simulation::crash`]: every task is dropped where it stood, and new ones may start on what the disk kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::random::Random;

/// Wall clock at virtual time zero, in milliseconds since the Unix epoch.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Virtual time one poll takes at most, so that a loop which only yields still reaches its deadline.
const STEP_NS_MAX: u64 = 2_000;
/// Number of the future given to [`Simulation::run_until`]; spawned tasks count up from the next.
const MAIN: u64 = 0;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The executor and its clock. Clones are the same executor.
#[derive(Clone)]
pub struct Simulation {
    shared: Rc<RefCell<Shared>>,
    woken: Arc<Mutex<Vec<u64>>>,
}

struct Shared {
    random: Random,
    now_ns: u64,
    steps: u64,
    digest: u64,
    task_next: u64,
    /// `None` while the task is being polled.
    tasks: BTreeMap<u64, Option<Task>>,
    timer_next: u64,
    timers: BTreeMap<(u64, u64), Waker>,
}

struct TaskWaker {
    task: u64,
    woken: Arc<Mutex<Vec<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().expect("no panic happens under this lock");
        if !woken.contains(&self.task) {
            woken.push(self.task);
        }
    }
}

impl Simulation {
    /// An executor at time zero without tasks.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            random: Random::new(seed),
            now_ns: 0,
            steps: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            task_next: MAIN + 1,
            tasks: BTreeMap::new(),
            timer_next: 0,
            timers: BTreeMap::new(),
        };
        Self { shared: Rc::new(RefCell::new(shared)), woken: Arc::default() }
    }

    /// Runs `main` and everything spawned until `main` ends. Tasks that are not finished stay for the next run.
    ///
    /// # Panics
    /// When nothing can ever run again although `main` has not ended, and when a task panics.
    pub fn run_until<T>(&self, main: impl Future<Output = T>) -> T {
        self.run_steps(u64::MAX, main).expect("no test takes 2^64 steps")
    }

    /// As [`Self::run_until`], but stops after `steps` polls; `None` says that `main` was dropped unfinished.
    ///
    /// # Panics
    /// As [`Self::run_until`].
    pub fn run_steps<T>(&self, steps: u64, main: impl Future<Output = T>) -> Option<T> {
        let mut main = pin!(main);
        self.wake(MAIN);
        for _ in 0..steps {
            let task = self.next_ready();
            if task == MAIN {
                let waker = self.waker(MAIN);
                if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(output);
                }
            } else {
                self.poll_task(task);
            }
        }
        None
    }

    /// Drops every task and timer, as the death of the process does. Time goes on.
    pub fn crash(&self) {
        // Dropping a task may wake, spawn or cancel a timer: take them out first and repeat until nothing is left.
        loop {
            let (tasks, timers) = {
                let mut shared = self.shared.borrow_mut();
                (std::mem::take(&mut shared.tasks), std::mem::take(&mut shared.timers))
            };
            if tasks.is_empty() && timers.is_empty() {
                break;
            }
            drop((tasks, timers));
        }
        self.woken.lock().expect("no panic happens under this lock").clear();
    }

    /// Adds a task, which runs during the next or the current run.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let id = {
            let mut shared = self.shared.borrow_mut();
            let id = shared.task_next;
            shared.task_next += 1;
            shared.tasks.insert(id, Some(Box::pin(task)));
            id
        };
        self.wake(id);
    }

    /// Waits for virtual time to pass.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        let mut shared = self.shared.borrow_mut();
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let key = (shared.now_ns.saturating_add(nanos), shared.timer_next);
        shared.timer_next += 1;
        Sleep { shared: Rc::downgrade(&self.shared), key }
    }

    /// Lets any other ready task go first.
    pub async fn yield_now(&self) {
        futures_lite::future::yield_now().await;
    }

    /// Virtual nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.shared.borrow().now_ns
    }

    /// Virtual wall clock in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        EPOCH_MS + i64::try_from(self.now_ns() / 1_000_000).expect("292 years of virtual time")
    }

    /// Polls done so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.borrow().steps
    }

    /// A hash over which task ran when: equal in two runs only if they went the same way.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.shared.borrow().digest
    }

    /// Tasks that were spawned and have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.borrow().tasks.len()
    }

    /// A generator that follows from this simulation's seed.
    #[must_use]
    pub fn fork_random(&self) -> Random {
        self.shared.borrow_mut().random.fork()
    }

    fn waker(&self, task: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { task, woken: self.woken.clone() }))
    }

    fn wake(&self, task: u64) {
        Arc::new(TaskWaker { task, woken: self.woken.clone() }).wake();
    }

    /// Chooses a ready task, moving the clock when there is none.
    fn next_ready(&self) -> u64 {
        loop {
            let mut shared = self.shared.borrow_mut();
            let mut woken = self.woken.lock().expect("no panic happens under this lock");
            woken.retain(|task| *task == MAIN || shared.tasks.contains_key(task));
            if !woken.is_empty() {
                let at = shared.random.index(woken.len());
                let task = woken.swap_remove(at);
                shared.now_ns += shared.random.below(STEP_NS_MAX);
                shared.steps += 1;
                let (steps, now_ns) = (shared.steps, shared.now_ns);
                for word in [task, steps, now_ns] {
                    shared.digest = (shared.digest ^ word).wrapping_mul(0x100_0000_01b3);
                }
                drop(woken);
                let fired = shared.take_due();
                drop(shared);
                fired.into_iter().for_each(Waker::wake);
                return task;
            }
            drop(woken);
            let Some(&(due_ns, _)) = shared.timers.keys().next() else {
                panic!("deadlock: nothing is ready and no timer is set ({} tasks wait)", shared.tasks.len());
            };
            shared.now_ns = shared.now_ns.max(due_ns);
            let fired = shared.take_due();
            drop(shared);
            fired.into_iter().for_each(Waker::wake);
        }
    }

    fn poll_task(&self, id: u64) {
        let Some(mut task) = self.shared.borrow_mut().tasks.get_mut(&id).and_then(Option::take) else {
            return;
        };
        let waker = self.waker(id);
        let ended = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut shared = self.shared.borrow_mut();
        if ended {
            shared.tasks.remove(&id);
        } else if let Some(slot) = shared.tasks.get_mut(&id) {
            *slot = Some(task);
            return;
        }
        // The task's own drop may use the executor.
        drop(shared);
        drop(task);
    }
}

impl Shared {
    fn take_due(&mut self) -> Vec<Waker> {
        let later = self.timers.split_off(&(self.now_ns + 1, 0));
        std::mem::replace(&mut self.timers, later).into_values().collect()
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared.borrow();
        f.debug_struct("Simulation").field("now_ns", &shared.now_ns).field("steps", &shared.steps).finish()
    }
}

/// Waits for a moment of virtual time.
#[derive(Debug)]
pub struct Sleep {
    shared: Weak<RefCell<Shared>>,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.shared.upgrade() else { return Poll::Pending };
        let mut shared = shared.borrow_mut();
        if shared.now_ns >= self.key.0 {
            shared.timers.remove(&self.key);
            return Poll::Ready(());
        }
        shared.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.borrow_mut().timers.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn interleaving(seed: u64) -> (Vec<u32>, u64) {
        let simulation = Simulation::new(seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        for task in 0..4 {
            let (order, again) = (order.clone(), simulation.clone());
            simulation.spawn(async move {
                for _ in 0..4 {
                    order.borrow_mut().push(task);
                    again.yield_now().await;
                }
            });
        }
        simulation.run_until(simulation.sleep(Duration::from_secs(1)));
        let order = order.borrow().clone();
        (order, simulation.digest())
    }

    #[test]
    fn equal_seeds_give_equal_runs_and_others_differ() {
        assert_eq!(interleaving(1), interleaving(1));
        assert!((2..20).any(|seed| interleaving(seed).0 != interleaving(1).0));
        assert_ne!(interleaving(1).1, interleaving(2).1);
    }

    #[test]
    fn time_passes_only_in_sleep_and_in_small_steps() {
        let simulation = Simulation::new(3);
        simulation.run_until(simulation.sleep(Duration::from_hours(1)));
        let hour = 3_600_000_000_000;
        assert!((hour..hour + 1_000_000).contains(&simulation.now_ns()));
        assert_eq!(simulation.now_ms(), EPOCH_MS + 3_600_000);
    }

    #[test]
    fn timers_fire_in_order_of_time() {
        let simulation = Simulation::new(4);
        let order = Rc::new(RefCell::new(Vec::new()));
        for ms in [30_u64, 10, 20] {
            let (order, clock) = (order.clone(), simulation.clone());
            simulation.spawn(async move {
                clock.sleep(Duration::from_millis(ms)).await;
                order.borrow_mut().push(ms);
            });
        }
        simulation.run_until(simulation.sleep(Duration::from_millis(40)));
        assert_eq!(*order.borrow(), [10, 20, 30]);
    }

    #[test]
    fn a_crash_drops_everything_where_it_stood_and_new_work_can_start() {
        struct OnDrop(Rc<Cell<u32>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let simulation = Simulation::new(5);
        let dropped = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (guard, clock) = (OnDrop(dropped.clone()), simulation.clone());
            simulation.spawn(async move {
                clock.sleep(Duration::from_hours(1)).await;
                drop(guard);
            });
        }
        // Each task and the main future once: all tasks have begun to sleep.
        assert!(simulation.run_steps(4, std::future::pending::<()>()).is_none());
        assert_eq!((dropped.get(), simulation.tasks()), (0, 3));
        simulation.crash();
        assert_eq!((dropped.get(), simulation.tasks()), (3, 0));
        assert_eq!(simulation.run_until(async { 7 }), 7);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn a_deadlock_is_an_error_and_not_a_hang() {
        Simulation::new(6).run_until(std::future::pending::<()>());
    }
}
