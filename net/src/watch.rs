//! When a connection has been quiet for too long. Pure: looked at now and then instead of with a timer per read.

use std::time::Duration;

use crate::limits::{PROGRESS_BYTES_MIN, PROGRESS_WINDOW, PROGRESS_WINDOW_PRESSED};

/// What a connection is doing at the moment of a look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// Bytes received so far.
    pub received: u64,
    /// Bytes sent so far.
    pub sent: u64,
    /// Complete requests received so far.
    pub frames: u64,
    /// Whether the peer owes us the rest of a request.
    pub partial: bool,
    /// Whether requests wait for their answers.
    pub busy: bool,
    /// Whether answers wait for the peer to take them.
    pub unsent: bool,
    /// Whether requests or answers of some size wait because the peer asked for it: behind an earlier request, or with it.
    pub held: bool,
}

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing happened for the idle time.
    Idle,
    /// A request has begun and does not get on, holding memory that others need.
    Slow,
    /// Others wait for memory, and the peer does not take the answers that hold it, cannot before an earlier one, or lets a
    /// request wait that takes much.
    Deaf,
}

impl Verdict {
    /// For the log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Slow => "its request does not get on",
            Self::Deaf => "it does not take its answers, and others wait for their memory",
        }
    }
}

/// Memory of earlier looks at one connection.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    active_at: Duration,
    last: Sample,
    window_at: Duration,
    window: Sample,
    /// When the peer had last taken enough, or had nothing to take; and all it had taken by then.
    taken_at: Duration,
    taken: u64,
    /// Since when others wait for memory at every look.
    pressed_at: Option<Duration>,
}

impl Watch {
    /// A connection that began at `now`, on any clock that does not go back.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            active_at: now,
            last: Sample::default(),
            window_at: now,
            window: Sample::default(),
            taken_at: now,
            taken: 0,
            pressed_at: None,
        }
    }

    /// Another look; says when the connection should go. `pressed`: others wait for memory, so whoever holds some has to
    /// get on.
    pub fn look(
        &mut self,
        now: Duration,
        sample: Sample,
        idle: Option<Duration>,
        pressed: bool,
    ) -> Option<Verdict> {
        let moved = sample.received != self.last.received || sample.sent != self.last.sent;
        // While only we owe something, the time is ours and not the peer's.
        if moved || (sample.busy && !sample.unsent) {
            self.active_at = now;
        }
        let has_none = !sample.unsent && !sample.held;
        if has_none || sample.sent - self.taken >= PROGRESS_BYTES_MIN {
            (self.taken_at, self.taken) = (now, sample.sent);
        }
        self.last = sample;
        self.pressed_at = pressed.then_some(self.pressed_at.unwrap_or(now));
        if self.is_slow(now, sample) {
            return Some(Verdict::Slow);
        }
        if self.is_overdue(now, self.taken_at) {
            return Some(Verdict::Deaf);
        }
        let quiet = now.saturating_sub(self.active_at);
        idle.is_some_and(|idle| quiet >= idle).then_some(Verdict::Idle)
    }

    /// Whether others wait for memory for the whole window, as what began at `since` does. One look would not tell: now and
    /// then somebody waits for a moment, and before that nobody was in the way.
    fn is_overdue(&self, now: Duration, since: Duration) -> bool {
        let began = self.pressed_at.map(|pressed_at| pressed_at.max(since));
        began.is_some_and(|began| now.saturating_sub(began) >= PROGRESS_WINDOW_PRESSED)
    }

    fn is_slow(&mut self, now: Duration, sample: Sample) -> bool {
        let same_frame = sample.partial && self.window.partial && sample.frames == self.window.frames;
        let over =
            now.saturating_sub(self.window_at) >= PROGRESS_WINDOW || self.is_overdue(now, self.window_at);
        if same_frame && !over {
            return false;
        }
        let slow = same_frame && sample.received - self.window.received < PROGRESS_BYTES_MIN;
        self.window_at = now;
        self.window = sample;
        slow
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PROGRESS_BYTES_MIN, Sample, Verdict, Watch};

    const IDLE: Option<Duration> = Some(Duration::from_secs(60));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_quiet_connection_goes_and_a_waiting_one_stays() {
        let mut watch = Watch::new(at(0));
        let busy = Sample { received: 10, frames: 1, busy: true, ..Sample::default() };
        assert_eq!(watch.look(at(500), busy, IDLE, false), None);
        let answered = Sample { sent: 20, busy: false, ..busy };
        assert_eq!(watch.look(at(510), answered, IDLE, false), None);
        assert_eq!(watch.look(at(569), answered, IDLE, false), None);
        assert_eq!(watch.look(at(570), answered, IDLE, false), Some(Verdict::Idle));
        assert_eq!(Watch::new(at(0)).look(at(9999), Sample::default(), None, false), None);
    }

    #[test]
    fn a_peer_that_does_not_take_its_answer_goes() {
        let mut watch = Watch::new(at(0));
        let stuck = Sample { received: 10, frames: 1, busy: true, unsent: true, ..Sample::default() };
        assert_eq!(watch.look(at(1), stuck, IDLE, false), None);
        assert_eq!(watch.look(at(61), stuck, IDLE, false), Some(Verdict::Idle));
    }

    #[test]
    fn a_request_that_trickles_in_goes() {
        let mut watch = Watch::new(at(0));
        let mut sample = Sample { partial: true, ..Sample::default() };
        for second in 1..31 {
            sample.received += 100;
            assert_eq!(watch.look(at(second), sample, IDLE, false), None, "{second}");
        }
        sample.received += 100;
        assert_eq!(watch.look(at(31), sample, IDLE, false), Some(Verdict::Slow));
    }

    #[test]
    fn while_others_wait_for_memory_whoever_holds_some_has_to_get_on() {
        let unfinished = Sample { received: 1 << 20, partial: true, ..Sample::default() };
        let deaf = Sample { busy: true, unsent: true, sent: PROGRESS_BYTES_MIN, ..Sample::default() };
        let behind = Sample { unsent: false, held: true, ..deaf };
        for (sample, verdict) in [(unfinished, Verdict::Slow), (deaf, Verdict::Deaf), (behind, Verdict::Deaf)]
        {
            let (mut calm, mut watch) = (Watch::new(at(0)), Watch::new(at(0)));
            assert_eq!(watch.look(at(1), sample, IDLE, true), None);
            assert_eq!(watch.look(at(2), sample, IDLE, true), None);
            assert_eq!(watch.look(at(3), sample, IDLE, true), Some(verdict));
            assert!((1..=20).all(|second| calm.look(at(second), sample, IDLE, false).is_none()));
            for (second, pressed) in [(21, true), (22, false), (23, true), (24, true)] {
                assert_eq!(
                    calm.look(at(second), sample, IDLE, pressed),
                    None,
                    "{second}: nobody waited for long"
                );
            }
            assert_eq!(calm.look(at(25), sample, IDLE, true), Some(verdict));
        }
        let (mut taking, mut sending) = (deaf, unfinished);
        let mut watch = Watch::new(at(0));
        for second in 1..20 {
            taking.sent += PROGRESS_BYTES_MIN;
            assert_eq!(watch.look(at(second), taking, IDLE, true), None);
        }
        taking.sent += 1;
        assert_eq!(watch.look(at(21), taking, IDLE, true), Some(Verdict::Deaf), "a trickle is not enough");
        let mut watch = Watch::new(at(0));
        for second in 1..20 {
            sending.received += 16 << 10;
            assert_eq!(watch.look(at(second), sending, IDLE, true), None);
        }
    }

    #[test]
    fn a_slow_but_steady_request_and_many_small_ones_stay() {
        let mut watch = Watch::new(at(0));
        let mut sample = Sample { partial: true, ..Sample::default() };
        for second in 0..300 {
            sample.received += 1024;
            assert_eq!(watch.look(at(second), sample, IDLE, false), None);
        }
        let mut watch = Watch::new(at(0));
        for second in 0..300 {
            sample.received += 10;
            sample.frames += 1;
            assert_eq!(watch.look(at(second), sample, IDLE, false), None);
        }
    }
}
