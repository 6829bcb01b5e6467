//! Work that may block, on the helper thread of this thread's executor.
//!
//! glommio's helper panics when an executor is gone before the answer it waits for. So each call has a task of its own, which
//! stays when whoever asked does not, and an executor ends with [`finish`].

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

/// How often [`finish`] looks.
const LOOK: Duration = Duration::from_millis(1);

thread_local! {
    static AT_WORK: Cell<usize> = const { Cell::new(0) };
    static HURRIED: Cell<bool> = const { Cell::new(false) };
    static FINISHED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on the helper thread. After [`finish`] it does not run, and this never ends.
///
/// # Panics
/// When `work` does.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if FINISHED.get() {
        return pending().await;
    }
    let call = Call::begin();
    let answer = glommio::spawn_local(async move {
        let _call = call;
        glommio::executor().spawn_blocking(work).await
    });
    answer.detach().await.expect("nobody cancels it, so it ends with an answer or a panic")
}

/// From now on nothing takes longer than it must to be easy on others: the executor is about to end.
pub fn hurry() {
    HURRIED.set(true);
}

/// Whether [`hurry`] was called.
pub(super) fn is_hurried() -> bool {
    HURRIED.get()
}

/// Starts no more work and waits until what was started has ended: the last that an executor does.
pub async fn finish() {
    FINISHED.set(true);
    while AT_WORK.get() > 0 {
        glommio::timer::sleep(LOOK).await;
    }
}

/// One piece of work from its start to its answer.
struct Call;

impl Call {
    fn begin() -> Self {
        AT_WORK.set(AT_WORK.get() + 1);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        AT_WORK.set(AT_WORK.get() - 1);
    }
}
