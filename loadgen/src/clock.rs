//! Time of one run: nanoseconds since its start, the same on every core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the run began.
pub type Ns = u64;

/// Goes forward only, whatever happens to the wall clock meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// What the wall clock said at the start, in nanoseconds since 1970.
    unix_ns: u64,
}

impl Clock {
    /// A run that begins in `lead`: time is 0 until then.
    pub fn starting_in(lead: Duration) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + lead;
        Self { start: Instant::now() + lead, unix_ns: u64::try_from(wall.as_nanos()).unwrap_or(0) }
    }

    /// Now.
    pub fn now(&self) -> Ns {
        Self::since(self.start)
    }

    fn since(start: Instant) -> Ns {
        u64::try_from(Instant::now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long until `at`; zero when it is past.
    pub fn until(&self, at: Ns) -> Duration {
        (self.start + Duration::from_nanos(at)).saturating_duration_since(Instant::now())
    }

    /// `at` as nanoseconds since 1970: what records carry, so that another process may read it.
    pub const fn unix_ns(&self, at: Ns) -> u64 {
        self.unix_ns + at
    }

    /// `at` as a record's timestamp.
    pub fn unix_ms(&self, at: Ns) -> i64 {
        i64::try_from(self.unix_ns(at) / 1_000_000).unwrap_or(i64::MAX)
    }
}
