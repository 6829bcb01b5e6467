//! What connections may take, and how many of them there may be on all cores together.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use model::limits::REQUESTS_IN_FLIGHT_MAX;

/// Within this time...
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(30);
/// ...a request that has begun must grow by this many bytes, or be complete; and so must what is taken of an answer, when
/// others wait for its memory.
pub const PROGRESS_BYTES_MIN: u64 = 16 << 10;
/// While others wait for memory this is the window.
pub const PROGRESS_WINDOW_PRESSED: Duration = Duration::from_secs(2);

/// What the settings say about connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// `socket.request.max.bytes`, already cut to what the budget can serve.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`: a connection with nothing in flight closes after this; `None` keeps it.
    pub idle: Option<Duration>,
    /// `max.connections`: more wait in the kernel's queue.
    pub connections_max: usize,
    /// `max.connections.per.ip`: more are closed at once.
    pub connections_per_ip_max: u32,
    /// Requests of one connection that are read and not answered.
    pub in_flight_max: usize,
    /// Bytes of answers that wait for their peers, but for those accounted for elsewhere: above this they are too many.
    pub answer_bytes_max: u64,
}

impl Default for ConnectionLimits {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            request_bytes_max: 100 << 20,
            idle: Some(Duration::from_secs(600)),
            connections_max: usize::MAX,
            connections_per_ip_max: u32::MAX,
            in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            answer_bytes_max: u64::MAX,
        }
    }
}

/// Addresses are counted in this many counters; two that share one share the limit.
const ADDRESS_COUNTERS: usize = 1 << 16;

/// How many connections there are. One for all cores; touched when a connection begins and ends.
#[derive(Debug)]
pub struct Crowd {
    open: AtomicUsize,
    /// What there are handles for.
    ceiling: usize,
    open_max: AtomicUsize,
    per_ip: PerAddress,
}

#[derive(Debug)]
struct PerAddress {
    max: AtomicU32,
    hasher: RandomState,
    counters: Box<[AtomicU32]>,
}

impl PerAddress {
    fn counter(&self, address: IpAddr) -> &AtomicU32 {
        let index = self.hasher.hash_one(address) % self.counters.len() as u64;
        // The remainder is below the length, and both fit.
        &self.counters[usize::try_from(index).unwrap_or(0)]
    }
}

impl Crowd {
    /// Counts for these limits.
    #[must_use]
    pub fn new(limits: &ConnectionLimits) -> Arc<Self> {
        let per_ip = PerAddress {
            max: AtomicU32::new(limits.connections_per_ip_max),
            hasher: RandomState::new(),
            counters: (0..ADDRESS_COUNTERS).map(|_| AtomicU32::new(0)).collect(),
        };
        Arc::new(Self {
            open: AtomicUsize::new(0),
            ceiling: limits.connections_max,
            open_max: AtomicUsize::new(limits.connections_max),
            per_ip,
        })
    }

    /// From now on there may be `open_max` connections, within what it was made for, and `per_ip_max` from one address.
    /// Those there are stay.
    pub fn limit(&self, open_max: usize, per_ip_max: u32) {
        self.open_max.store(open_max.min(self.ceiling), Ordering::Relaxed);
        self.per_ip.max.store(per_ip_max, Ordering::Relaxed);
    }

    /// Connections there are.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether an eighth of the places is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open() <= self.open_max.load(Ordering::Relaxed) / 8 * 7
    }

    /// A place for one more, or none now.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let max = self.open_max.load(Ordering::Relaxed);
        let entered =
            self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then(|| n + 1));
        entered.ok().map(|_| Place { crowd: self.clone(), address: None })
    }
}

/// One connection's place in the crowd; free when dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

impl Place {
    /// Says whose place it is; false when that address has its share already.
    #[must_use]
    pub fn claim(&mut self, address: IpAddr) -> bool {
        let per_ip = &self.crowd.per_ip;
        let max = per_ip.max.load(Ordering::Relaxed);
        let counted = per_ip
            .counter(address)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then(|| n + 1));
        self.address = counted.ok().map(|_| address);
        self.address.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.crowd.per_ip.counter(address).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionLimits, Crowd};

    #[test]
    fn places_are_counted_and_given_back() {
        let crowd = Crowd::new(&ConnectionLimits { connections_max: 2, ..ConnectionLimits::default() });
        let (first, _second) = (crowd.enter().unwrap(), crowd.enter().unwrap());
        assert!(crowd.enter().is_none());
        drop(first);
        assert_eq!(crowd.open(), 1);
        assert!(crowd.enter().is_some());
    }

    #[test]
    fn one_address_has_its_own_limit() {
        let crowd =
            Crowd::new(&ConnectionLimits { connections_per_ip_max: 1, ..ConnectionLimits::default() });
        let one = [127, 0, 0, 1].into();
        let mut first = crowd.enter().unwrap();
        assert!(first.claim(one));
        let mut second = crowd.enter().unwrap();
        assert!(!second.claim(one));
        drop(second);
        drop(first);
        let mut third = crowd.enter().unwrap();
        assert!(third.claim(one), "a refused place must not stay counted");
    }

    #[test]
    fn limits_may_change_while_there_are_connections() {
        let crowd = Crowd::new(&ConnectionLimits::default());
        let one = [127, 0, 0, 1].into();
        let (mut first, mut second) = (crowd.enter().unwrap(), crowd.enter().unwrap());
        assert!(first.claim(one) && second.claim(one));
        crowd.limit(3, 1);
        let small = Crowd::new(&ConnectionLimits { connections_max: 1, ..ConnectionLimits::default() });
        small.limit(usize::MAX, 1);
        let _one = small.enter().unwrap();
        assert!(small.enter().is_none(), "not beyond what it was made for");
        let mut third = crowd.enter().unwrap();
        assert!(!third.claim(one) && third.claim([127, 0, 0, 2].into()));
        assert!(crowd.enter().is_none());
        drop((first, second));
        let mut again = crowd.enter().unwrap();
        assert!(again.claim(one), "those from before the limit were counted too");
    }
}
