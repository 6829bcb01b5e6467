//! The executors: one per core, started once, given one step after the other. The only file that names glommio.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::poll_fn;
use glommio::{LocalExecutorBuilder, Placement};

use crate::core;
use crate::plan::Step;
use crate::report::Interval;

/// A task that does not yield delays all I/O of its core by about twice this.
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// Bounds the gap after a wake-up that an executor on a contended core missed.
const HEARTBEAT: Duration = Duration::from_millis(5);
/// How often executors are woken from outside: one can sleep with something to do, heartbeat and all.
const PULSE: Duration = Duration::from_millis(20);
/// How often an executor without a step looks for one.
const IDLE: Duration = Duration::from_millis(2);
/// How long starting may take.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How often a start is tried.
const START_ATTEMPTS: usize = 5;
/// Direct I/O is not done here, so little memory for it will do.
const IO_MEMORY: usize = 64 << 10;

/// What a core tells.
#[derive(Debug)]
pub enum News {
    /// What it measured since it last told, and whether that is all of this step.
    Measured {
        /// Which core.
        core: usize,
        /// What.
        interval: Box<Interval>,
        /// Whether the step has ended on it.
        ended: bool,
    },
    /// It cannot go on.
    Broken(String),
}

/// The executors. They run until the process ends: an executor that ends leaks, one that waits costs nothing.
#[derive(Debug)]
pub struct Cores {
    doors: Vec<Sender<Arc<Step>>>,
    wakers: Vec<Waker>,
    news: Receiver<News>,
    pulse_at: Instant,
}

impl Cores {
    /// Starts `count` of them, pinned to `cpus` if there are any.
    ///
    /// # Errors
    /// Too little locked memory, no io_uring, no such CPU.
    pub fn start(count: usize, cpus: Option<&[usize]>, spin: Duration) -> Result<Self, String> {
        let (tell, news) = mpsc::channel();
        let mut cores = Self { doors: Vec::new(), wakers: Vec::new(), news, pulse_at: Instant::now() };
        for index in 0..count {
            let cpu = cpus.map(|cpus| cpus.get(index).copied().unwrap_or(index));
            let (door, waker) = start_one(index, cpu, spin, &tell)?;
            cores.doors.push(door);
            cores.wakers.push(waker);
        }
        Ok(cores)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.doors.len()
    }

    /// Gives every core the same step.
    pub fn begin(&self, step: &Arc<Step>) {
        for door in &self.doors {
            // One that is gone has said so.
            let _ = door.send(Arc::clone(step));
        }
    }

    /// The next news; none until `deadline`.
    pub fn news(&mut self, deadline: Instant) -> Option<News> {
        loop {
            let now = Instant::now();
            if now >= self.pulse_at {
                self.wakers.iter().for_each(Waker::wake_by_ref);
                self.pulse_at = now + PULSE;
            }
            let wait = self.pulse_at.min(deadline).saturating_duration_since(now);
            match self.news.recv_timeout(wait) {
                Ok(news) => return Some(news),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => return None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(News::Broken("all executors have ended".to_owned()));
                }
            }
        }
    }
}

/// Starts one and waits until it runs. One that fell asleep over its first task is left behind, and another takes its place.
fn start_one(
    index: usize,
    cpu: Option<usize>,
    spin: Duration,
    tell: &Sender<News>,
) -> Result<(Sender<Arc<Step>>, Waker), String> {
    let failed = |error: String| format!("cannot start the executor of core {index}: {error}");
    for _ in 0..START_ATTEMPTS {
        let (ready, is_ready) = mpsc::channel();
        let (door, steps) = mpsc::channel();
        let tell = tell.clone();
        let thread = thread::Builder::new().name(format!("load-{index}"));
        let spawned = thread.spawn(move || {
            let executor = match make(index, cpu, spin) {
                Ok(executor) => executor,
                Err(error) => {
                    // Whoever started this waits for it.
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let ran = catch_unwind(AssertUnwindSafe(|| {
                executor.run(async {
                    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                    let _ = ready.send(Ok(waker));
                    serve(index, &steps, &tell).await;
                });
            }));
            if ran.is_err() {
                let _ = tell.send(News::Broken(format!("core {index} has panicked")));
            }
        });
        spawned.map_err(|error| failed(error.to_string()))?;
        match is_ready.recv_timeout(START_PATIENCE) {
            Ok(Ok(waker)) => return Ok((door, waker)),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(RecvTimeoutError::Disconnected) => return Err(failed("its thread ended".to_owned())),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(failed("it does not run".to_owned()))
}

fn make(index: usize, cpu: Option<usize>, spin: Duration) -> io::Result<glommio::LocalExecutor> {
    let made = catch_unwind(|| {
        let spin = if cpu.is_some() { spin } else { Duration::ZERO };
        LocalExecutorBuilder::new(cpu.map_or(Placement::Unbound, Placement::Fixed))
            .name(&format!("load-{index}"))
            .io_memory(IO_MEMORY)
            .preempt_timer(PREEMPT_TIMER)
            .spin_before_park(spin)
            .make()
    });
    // The library panics on some of what a system may refuse.
    made.unwrap_or_else(|_| Err(io::Error::other("the system refuses io_uring, memory or CPU").into()))
        .map_err(io::Error::from)
}

async fn serve(index: usize, steps: &Receiver<Arc<Step>>, tell: &Sender<News>) {
    spawn(async {
        loop {
            sleep(HEARTBEAT).await;
        }
    });
    loop {
        match steps.try_recv() {
            Ok(step) => core::work(index, step, tell.clone()).await,
            Err(TryRecvError::Empty) => sleep(IDLE).await,
            Err(TryRecvError::Disconnected) => std::future::pending().await,
        }
    }
}

/// Runs a task beside the caller until it ends.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Lets others run when this task has used up its slice.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}
