//! The clients that were seen: what each is asked for, when it spoke last, and what it pushed last.

use std::collections::{BTreeMap, HashMap};

use model::{ErrorCode, Tick};

use super::Client;
use super::subscriptions::{Subscriptions, Wanted};
use crate::metadata::image::{Image, Named};

/// Clients that are remembered, as in Kafka; beyond, those that were silent for longest are forgotten.
pub const INSTANCES_MAX: usize = 16_384;
/// How long a silent client is remembered at least, as in Kafka...
const REMEMBERED_MS: u64 = 60_000;
/// ...or so many of its intervals.
const REMEMBERED_INTERVALS: u64 = 3;

/// What is remembered; `P` is what becomes of a push.
#[derive(Debug)]
pub struct Instances<P> {
    subscriptions: Subscriptions,
    /// As they were written...
    written: Named,
    /// ...in this image.
    image: u64,
    /// Counts what they became.
    version: u64,
    known: HashMap<[u8; 16], Instance<P>>,
    /// The longest silent first.
    by_use: BTreeMap<u64, [u8; 16]>,
    uses: u64,
    pushed_bytes: usize,
    pushed_bytes_max: usize,
}

#[derive(Debug)]
struct Instance<P> {
    wanted: Wanted,
    subscription: i32,
    version: u64,
    asked: Option<Tick>,
    pushed: Option<Tick>,
    terminating: bool,
    /// Where it is in `by_use`.
    used: u64,
    last: Tick,
    push: Option<(usize, P)>,
}

/// What a client that asks is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// What it is asked for.
    pub wanted: Wanted,
    /// The name of that for this client.
    pub subscription: i32,
}

/// What a push says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Push {
    /// [`Told::subscription`].
    pub subscription: i32,
    /// The last one of this client.
    pub terminating: bool,
    /// Kafka's number of a codec.
    pub codec: i8,
    /// Bytes of metrics, compressed.
    pub bytes: usize,
}

/// Kafka's codecs have numbers up to this one.
const CODEC_MAX: i8 = 4;

impl<P> Instances<P> {
    /// Nobody yet; what pushes become may take `pushed_bytes_max` together.
    #[must_use]
    pub fn new(pushed_bytes_max: usize) -> Self {
        Self {
            subscriptions: Subscriptions::default(),
            written: Named::new(),
            image: 0,
            version: 0,
            known: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            pushed_bytes: 0,
            pushed_bytes_max,
        }
    }

    /// Takes subscriptions from a newer image.
    pub fn follow(&mut self, image: &Image) {
        if image.applied() <= self.image {
            return;
        }
        self.image = image.applied();
        if *image.all_client_metrics() != self.written {
            self.written.clone_from(image.all_client_metrics());
            self.subscriptions = Subscriptions::of(&self.written);
            self.version += 1;
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Bytes of what they pushed.
    #[must_use]
    pub const fn pushed_bytes(&self) -> usize {
        self.pushed_bytes
    }

    /// What every client pushed last.
    pub fn pushed(&self) -> impl Iterator<Item = &P> {
        self.known.values().filter_map(|one| one.push.as_ref().map(|(_, push)| push))
    }

    /// A client asks what it is to push.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED` when it spoke less than an interval ago and is asked for the same as then.
    pub fn ask(&mut self, now: Tick, client: &Client) -> Result<Told, ErrorCode> {
        let one = self.seen(now, client);
        let spoke = one.asked.max(one.pushed);
        if spoke.is_some_and(|spoke| now.0 < spoke.0 + one.interval()) {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        one.asked = Some(now);
        Ok(Told { wanted: one.wanted.clone(), subscription: one.subscription })
    }

    /// Whether a push may be taken; [`Self::keep`] takes it.
    ///
    /// # Errors
    /// `INVALID_REQUEST` behind its last one, `THROTTLING_QUOTA_EXCEEDED` too early, `UNKNOWN_SUBSCRIPTION_ID` when it is
    /// asked for something else now, `UNSUPPORTED_COMPRESSION_TYPE`, `TELEMETRY_TOO_LARGE` above `bytes_max`.
    pub fn judge(
        &mut self,
        now: Tick,
        client: &Client,
        push: Push,
        bytes_max: usize,
    ) -> Result<(), ErrorCode> {
        let one = self.seen(now, client);
        let ended = std::mem::replace(&mut one.terminating, push.terminating);
        if ended {
            return Err(ErrorCode::InvalidRequest);
        }
        // The first one after it asked may come at once.
        let early =
            one.pushed >= one.asked && one.pushed.is_some_and(|pushed| now.0 < pushed.0 + one.interval());
        if early && !push.terminating {
            return Err(ErrorCode::ThrottlingQuotaExceeded);
        }
        if !early {
            one.pushed = Some(now);
        }
        if push.subscription != one.subscription {
            return Err(ErrorCode::UnknownSubscriptionId);
        }
        if !(0..=CODEC_MAX).contains(&push.codec) {
            return Err(ErrorCode::UnsupportedCompressionType);
        }
        if push.bytes > bytes_max {
            return Err(ErrorCode::TelemetryTooLarge);
        }
        Ok(())
    }

    /// Keeps what became of a client's push in place of the one before. What takes too much with it is let go, of those that
    /// were silent for longest first.
    pub fn keep(&mut self, instance: &[u8; 16], bytes: usize, push: P) {
        let Some(one) = self.known.get_mut(instance) else { return };
        let before = one.push.replace((bytes, push)).map_or(0, |(bytes, _)| bytes);
        self.pushed_bytes = self.pushed_bytes + bytes - before;
        if self.pushed_bytes <= self.pushed_bytes_max {
            return;
        }
        for id in self.by_use.values() {
            let Some(one) = self.known.get_mut(id) else { continue };
            self.pushed_bytes -= one.push.take().map_or(0, |(bytes, _)| bytes);
            if self.pushed_bytes <= self.pushed_bytes_max {
                return;
            }
        }
    }

    /// A client is gone.
    pub fn forget(&mut self, instance: &[u8; 16]) {
        if let Some(one) = self.known.remove(instance) {
            self.by_use.remove(&one.used);
            self.pushed_bytes -= one.push.map_or(0, |(bytes, _)| bytes);
        }
    }

    /// Forgets clients that were silent for long.
    pub fn expire(&mut self, now: Tick) {
        while let Some((_, id)) = self.by_use.first_key_value() {
            let id = *id;
            let kept = self.known.get(&id).is_some_and(|one| {
                let patience = REMEMBERED_MS.max(REMEMBERED_INTERVALS * one.interval());
                now.0 < one.last.0 + patience
            });
            if kept {
                return;
            }
            self.forget(&id);
        }
    }

    /// The client, as somebody new where it is unknown or is asked for other things than when it spoke last.
    fn seen(&mut self, now: Tick, client: &Client) -> &mut Instance<P> {
        self.expire(now);
        let known = self.known.remove(&client.instance);
        if let Some(one) = &known {
            self.by_use.remove(&one.used);
        }
        let mut one = match known {
            Some(one) if one.version == self.version => one,
            known => {
                let wanted = self.subscriptions.wanted(client);
                Instance {
                    subscription: subscription(&wanted, &client.instance),
                    wanted,
                    version: self.version,
                    asked: None,
                    pushed: None,
                    terminating: false,
                    used: 0,
                    last: now,
                    push: known.and_then(|one| one.push),
                }
            }
        };
        while self.known.len() >= INSTANCES_MAX {
            let Some((_, id)) = self.by_use.first_key_value() else { break };
            let id = *id;
            self.forget(&id);
        }
        self.uses += 1;
        (one.used, one.last) = (self.uses, now);
        self.by_use.insert(one.used, client.instance);
        self.known.entry(client.instance).insert_entry(one).into_mut()
    }
}

impl<P> Instance<P> {
    fn interval(&self) -> u64 {
        u64::try_from(self.wanted.interval_ms).unwrap_or(0)
    }
}

/// A number for what this client is asked for, the same on every broker and after every start (FNV-1a).
fn subscription(wanted: &Wanted, instance: &[u8; 16]) -> i32 {
    let interval = wanted.interval_ms.to_be_bytes();
    let names = wanted.metrics.iter().flat_map(|name| name.bytes().chain([0]));
    let hash = names
        .chain(interval)
        .chain(*instance)
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::super::subscriptions::tests::{client, image};
    use super::*;
    use crate::metadata::Record;

    const MINUTE: u64 = 60_000;

    fn some() -> Instances<&'static str> {
        let mut instances = Instances::new(100);
        instances.follow(&image(&[("s", "metrics", "*"), ("s", "interval.ms", "60000")]));
        instances
    }

    fn named(byte: u8) -> Client {
        Client { instance: [byte; 16], ..client("app") }
    }

    fn push(told: &Told) -> Push {
        Push { subscription: told.subscription, terminating: false, codec: 0, bytes: 10 }
    }

    #[test]
    fn a_client_asks_and_pushes_once_an_interval() {
        let (mut instances, client) = (some(), named(1));
        let told = instances.ask(Tick(0), &client).unwrap();
        assert_eq!(told.wanted.interval_ms, 60_000);
        assert_eq!(instances.ask(Tick(1), &client), Err(ErrorCode::ThrottlingQuotaExceeded));
        // The first push may come at once, the next in its time.
        assert_eq!(instances.judge(Tick(2), &client, push(&told), 10), Ok(()));
        let early = instances.judge(Tick(MINUTE), &client, push(&told), 10);
        assert_eq!(early, Err(ErrorCode::ThrottlingQuotaExceeded));
        assert_eq!(instances.judge(Tick(MINUTE + 2), &client, push(&told), 10), Ok(()));
        // Its last one is always in time, and the last one.
        let last = Push { terminating: true, ..push(&told) };
        assert_eq!(instances.judge(Tick(MINUTE + 3), &client, last, 10), Ok(()));
        let behind = instances.judge(Tick(2 * MINUTE), &client, last, 10);
        assert_eq!(behind, Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_push_that_is_wrong_is_told_why() {
        let (mut instances, client) = (some(), named(1));
        let told = instances.ask(Tick(0), &client).unwrap();
        let mut judge = |minute: u64, push| instances.judge(Tick(minute * MINUTE), &client, push, 10);
        let other = Push { subscription: told.subscription ^ 1, ..push(&told) };
        assert_eq!(judge(1, other), Err(ErrorCode::UnknownSubscriptionId));
        let codec = Push { codec: 5, ..push(&told) };
        assert_eq!(judge(2, codec), Err(ErrorCode::UnsupportedCompressionType));
        let large = Push { bytes: 11, ..push(&told) };
        assert_eq!(judge(3, large), Err(ErrorCode::TelemetryTooLarge));
        assert_eq!(judge(4, push(&told)), Ok(()));
    }

    #[test]
    fn a_change_of_subscriptions_reaches_clients_when_they_speak_next() {
        let (mut instances, client) = (some(), named(1));
        let mut all = vec![("s", "metrics", "*"), ("s", "interval.ms", "60000")];
        let told = instances.ask(Tick(0), &client).unwrap();
        let mut same = image(&all);
        same.apply(9, &Record::Boot { boot: 2 });
        instances.follow(&same);
        assert_eq!(instances.ask(Tick(1), &client), Err(ErrorCode::ThrottlingQuotaExceeded));
        all.push(("t", "interval.ms", "1000"));
        let mut after = image(&all);
        after.apply(10, &Record::Boot { boot: 3 });
        instances.follow(&after);
        assert_eq!(instances.judge(Tick(2), &client, push(&told), 10), Err(ErrorCode::UnknownSubscriptionId));
        assert_eq!(instances.ask(Tick(1002), &client).unwrap().wanted.interval_ms, 1000);
        let others = instances.ask(Tick(1002), &named(2)).unwrap();
        assert_ne!(others.subscription, told.subscription);
    }

    #[test]
    fn silent_clients_are_forgotten_and_what_they_pushed() {
        let mut instances = some();
        for byte in 1..=3 {
            instances.ask(Tick(u64::from(byte)), &named(byte)).unwrap();
            instances.keep(&[byte; 16], 40, "push");
        }
        // 120 bytes are too much: the first one's went.
        assert_eq!((instances.len(), instances.pushed_bytes(), instances.pushed().count()), (3, 80, 2));
        instances.keep(&[3; 16], 60, "larger");
        assert_eq!((instances.pushed_bytes(), instances.pushed().count()), (100, 2));
        instances.forget(&[3; 16]);
        assert_eq!((instances.len(), instances.pushed_bytes()), (2, 40));
        instances.expire(Tick(3 * MINUTE + 1));
        assert_eq!((instances.len(), instances.pushed_bytes()), (1, 40));
        instances.expire(Tick(3 * MINUTE + 2));
        assert!(instances.is_empty() && instances.pushed_bytes() == 0);
        for n in 0..=INSTANCES_MAX {
            let mut instance = [0; 16];
            instance[..8].copy_from_slice(&(n as u64).to_be_bytes());
            instances.ask(Tick(0), &Client { instance, ..client("app") }).unwrap();
        }
        assert_eq!(instances.len(), INSTANCES_MAX);
        assert!(!instances.known.contains_key(&[0; 16]));
    }
}
