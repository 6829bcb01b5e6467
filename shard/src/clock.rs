//! The only clock of a core: decisions get its readings as values.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Tick, TimestampMs};

/// Reads both kinds of time. Copies made on other cores read the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose ticks begin now: one per process, copied to its cores.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Logical time: milliseconds since [`Self::start`], never going back.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Time since [`Self::start`], to measure with.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Wall time for records. Goes back when the machine's clock does.
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Waits until `tick`; at once when it has passed.
    pub async fn wait_until(&self, tick: Tick) {
        let wait = tick.0.saturating_sub(self.tick().0);
        if wait > 0 {
            glommio::timer::sleep(Duration::from_millis(wait)).await;
        }
    }
}
