//! One pinned executor per core: its task queues, its heartbeat, and what a panic in it means.
//!
//! An executor on a contended core can go to sleep with runnable tasks (seen with preempt timers of 1 ms and less). A
//! heartbeat of 5 ms in each bounds such gaps to 4-10 ms, and [`crate::pulse`] helps where the heartbeat itself is stuck.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_lite::future::poll_fn;
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};
use storage::disk::helper;

use crate::pulse::Pulse;

/// Called with what broke when a core cannot go on. Half-changed state does not: it ends the process.
pub type Fatal = fn(reason: &str) -> !;

/// How long a task may hold the core against its siblings and the disk.
const PREEMPT_TIMER: Duration = Duration::from_millis(1);
/// How long a new executor may take to run its first task, which takes about 10 ms.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How often one that does not is replaced.
const START_ATTEMPTS: usize = 5;
/// Bounds the gap after a missed wake-up; costs about 2 % of an idle core.
const HEARTBEAT: Duration = Duration::from_millis(5);

/// Kinds of work on one core. A busy queue gets the core in proportion to its shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    /// Connections, produce, fetch, the mesh and the journal.
    Serve,
    /// From the journal to segments, so that the journal can recycle.
    Flush,
    /// Retention, deletion.
    Maintain,
    /// Compaction.
    Compact,
}

impl Queue {
    const ALL: [(Self, usize, &'static str); 4] = [
        (Self::Serve, 1000, "serve"),
        (Self::Flush, 400, "flush"),
        (Self::Maintain, 50, "maintain"),
        (Self::Compact, 30, "compact"),
    ];
}

thread_local! {
    static QUEUES: Cell<Option<[TaskQueueHandle; Queue::ALL.len()]>> = const { Cell::new(None) };
}

/// What the executors are made of.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// The CPU of each core, in order; there are as many executors as entries.
    pub cpus: Vec<usize>,
    /// Bytes of direct I/O memory of each, from `MemoryPlan::io_memory`.
    pub io_memory: usize,
    /// How long an idle executor looks for work before it sleeps. Zero but for dedicated cores.
    pub spin: Duration,
    /// What ends the process.
    pub fatal: Fatal,
}

/// Why an executor did not start.
#[derive(Debug)]
pub struct StartError {
    /// Index of the core.
    pub core: usize,
    /// What the system said.
    pub error: io::Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "could not start the executor of core {}: {}", self.core, self.error)
    }
}

impl std::error::Error for StartError {}

/// The running executors.
#[derive(Debug)]
pub struct Executors<T> {
    threads: Vec<JoinHandle<Option<T>>>,
}

impl<T> Executors<T> {
    /// Waits until every core's task has ended; their results in the order of cores.
    pub fn join(self) -> Vec<T> {
        self.threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    }
}

/// Starts one executor per entry of `settings.cpus` and runs `core(index, part)` on each, in [`Queue::Serve`], where `part`
/// is its entry of `parts`. Returns once all run; when one cannot, the error names it and the others end by themselves.
///
/// # Errors
/// [`StartError`]: too little locked memory, no io_uring, no such CPU.
///
/// # Panics
/// When there is not one part for each core.
pub fn start<P, T, F, G>(
    settings: &ExecutorSettings,
    parts: Vec<P>,
    core: G,
) -> Result<Executors<T>, StartError>
where
    P: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    G: Fn(usize, P) -> F + Clone + Send + 'static,
{
    assert_eq!(parts.len(), settings.cpus.len(), "one part for each core");
    let pulse = Pulse::start().map_err(|error| StartError { core: 0, error })?;
    let waiting = (0..parts.len())
        .map(|index| start_core(settings, &pulse, index, &core))
        .collect::<Result<Vec<_>, _>>()?;
    let threads = waiting.into_iter().zip(parts).map(|((thread, go), part)| {
        // It waits for this and nothing else.
        let _ = go.send(part);
        thread
    });
    Ok(Executors { threads: threads.collect() })
}

/// A core's thread, and the way to give it its part: nothing runs before everything can.
type Waiting<P, T> = (JoinHandle<Option<T>>, Sender<P>);

/// Starts one core and waits until its executor runs. One that fell asleep over its very first task is left behind,
/// since nothing can wake it yet, and another takes its place.
fn start_core<P, T, F, G>(
    settings: &ExecutorSettings,
    pulse: &Pulse,
    index: usize,
    core: &G,
) -> Result<Waiting<P, T>, StartError>
where
    P: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    G: Fn(usize, P) -> F + Clone + Send + 'static,
{
    let failed = |error| StartError { core: index, error };
    for _ in 0..START_ATTEMPTS {
        let (ready, is_ready) = mpsc::channel();
        let (go, may_go) = mpsc::channel();
        let (settings, pulse, core) = (settings.clone(), pulse.clone(), core.clone());
        let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
            let executor = match make(&settings, index) {
                Ok(executor) => executor,
                Err(error) => {
                    // The starter waits for this; when it is gone nobody is interested.
                    let _ = ready.send(Err(error));
                    return None;
                }
            };
            guard(settings.fatal, || {
                executor.run(async {
                    pulse.add(index, poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
                    let _ = ready.send(Ok(()));
                    let part = may_go.recv().ok();
                    let ended = match part {
                        Some(part) => Some(run_core(async move { core(index, part).await }).await),
                        None => None,
                    };
                    pulse.remove(index);
                    ended
                })
            })
        });
        let thread = thread.map_err(failed)?;
        match is_ready.recv_timeout(START_PATIENCE) {
            Ok(Ok(())) => return Ok((thread, go)),
            Ok(Err(error)) => return Err(failed(error)),
            Err(RecvTimeoutError::Disconnected) => return Err(failed(io::Error::other("its thread ended"))),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(failed(io::Error::other("its executor does not run")))
}

fn make(settings: &ExecutorSettings, index: usize) -> io::Result<glommio::LocalExecutor> {
    let cpu = *settings.cpus.get(index).ok_or(io::ErrorKind::InvalidInput)?;
    let made = catch_unwind(|| {
        LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&format!("core-{index}"))
            .io_memory(settings.io_memory)
            .preempt_timer(PREEMPT_TIMER)
            .spin_before_park(settings.spin)
            .make()
    });
    // The library panics on some of what a system may refuse.
    made.unwrap_or_else(|panic| Err(io::Error::other(panic_text(panic.as_ref())).into()))
        .map_err(io::Error::from)
}

/// What every executor runs: its queues, the heartbeat, and the core's own task until that ends.
async fn run_core<T: 'static>(core: impl Future<Output = T> + 'static) -> T {
    let handles = Queue::ALL.map(|(_, shares, name)| {
        glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
    });
    QUEUES.set(Some(handles));
    let heartbeat = glommio::spawn_local(async {
        loop {
            glommio::timer::sleep(HEARTBEAT).await;
        }
    });
    let ended = spawn_task(Queue::Serve, core).await;
    helper::finish().await;
    // It never ends by itself, so there is no result.
    let _ = heartbeat.cancel().await;
    ended
}

fn spawn_task<T: 'static>(queue: Queue, task: impl Future<Output = T> + 'static) -> glommio::Task<T> {
    let index = Queue::ALL.iter().position(|(known, ..)| *known == queue).unwrap_or(0);
    match QUEUES.get().and_then(|handles| handles.get(index).copied()) {
        Some(handle) => glommio::spawn_local_into(task, handle)
            .expect("a core's task queues live as long as its executor"),
        None => glommio::spawn_local(task),
    }
}

/// Runs a task on this core until it ends. On an executor that [`start`] did not make (tests) the queue is ignored.
pub fn spawn(queue: Queue, task: impl Future<Output = ()> + 'static) {
    spawn_task(queue, task).detach();
}

/// Waits.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Lets others run when this task has used up its slice.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// Runs `work` on a thread where it may block.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    helper::run(work).await
}

/// This core is about to end: what takes its time to be easy on others takes it no longer.
pub fn hurry() {
    helper::hurry();
}

/// Runs `work`; a panic in it ends the process. For work on partitions inside of tasks that would survive a panic.
pub fn guard<T>(fatal: Fatal, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| fatal(&panic_text(panic.as_ref())))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The CPUs this process may run on, in order; none where the system does not say.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map(|list| parse_cpu_list(list.trim())).unwrap_or_default()
}

/// Reads a list as in `0-3,8`.
fn parse_cpu_list(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::{allowed_cpus, parse_cpu_list};

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(parse_cpu_list("0-3,8,10-11"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_cpu_list(""), [] as [usize; 0]);
        assert!(!allowed_cpus().is_empty());
    }
}
