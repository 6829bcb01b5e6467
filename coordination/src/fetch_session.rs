//! Incremental fetch sessions (KIP-227): the broker remembers what a client wants, the client says only what changed,
//! and answers name only the partitions that have something new.
//!
//! One cache per core, bounded in sessions (`max.incremental.fetch.session.cache.slots`) and in partitions. A client
//! that comes back to another core is told `FETCH_SESSION_ID_NOT_FOUND` and starts a new session.

mod session;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::limits::{SESSION_PARTITIONS_MAX, SESSIONS_PARTITIONS_MAX};
use model::{ErrorCode, LeaderEpoch, Offset, Tick, TopicId};

use session::Session;
pub use session::epoch_after;

/// A session unused this long may be evicted for a new one, in milliseconds; as in Kafka.
pub const EVICTION_MS: u64 = 120_000;

/// A topic as the client names it: by name before Fetch version 13, by id since.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(TopicId),
}

/// A partition as the client names it; the index is unchecked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    /// Its topic.
    pub topic: TopicKey,
    /// Its index.
    pub index: i32,
}

/// What a client wants of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// First record wanted.
    pub offset: Offset,
    /// At most so many bytes.
    pub bytes_max: i32,
    /// The leader epoch it believes in.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of its last record.
    pub last_fetched_epoch: LeaderEpoch,
}

/// A request as far as sessions are concerned.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// 0 when it has none.
    pub session_id: i32,
    /// 0 opens a session, -1 wants none, else the next number of the session.
    pub session_epoch: i32,
    /// Whether it names topics by id.
    pub by_id: bool,
    /// Partitions new or changed; all of them when it is no incremental request.
    pub wishes: Vec<(PartitionKey, Wish)>,
    /// Partitions it wants no more.
    pub forgotten: Vec<PartitionKey>,
}

/// How a request is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// In full, without a session.
    Sessionless,
    /// In full; a session may be opened.
    Opening {
        /// Whether topics are named by id.
        by_id: bool,
    },
    /// By what changed, in this session at this epoch.
    Incremental {
        /// The session.
        id: i32,
        /// Its epoch after the request.
        epoch: i32,
    },
}

/// What is to be reported of one partition, as far as sessions are concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which.
    pub key: PartitionKey,
    /// What was wanted of it.
    pub wish: Wish,
    /// What it says.
    pub error: ErrorCode,
    /// What it says.
    pub high_watermark: Offset,
    /// What it says.
    pub log_start: Offset,
    /// Whether it has records, a diverging epoch or anything else that must be said.
    pub has_news: bool,
}

/// The frame of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closing {
    /// For the whole response.
    pub error: ErrorCode,
    /// Session to go on with, 0 for none.
    pub session_id: i32,
    /// Which of the reports to include.
    pub include: Vec<bool>,
}

/// The sessions of one core.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    sessions: HashMap<i32, Session>,
    by_use: BTreeSet<(Tick, i32)>,
    partitions: usize,
    random: u64,
}

impl FetchSessions {
    /// Room for `slots` sessions. `seed` makes their ids, which a stranger should not guess.
    #[must_use]
    pub fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: HashMap::new(), by_use: BTreeSet::new(), partitions: 0, random: seed }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Takes a request: how to answer it, and every partition it is about, in the order of service.
    ///
    /// # Errors
    /// The code with which the whole request is refused.
    pub fn begin(
        &mut self,
        now: Tick,
        request: SessionRequest,
    ) -> Result<(Context, Vec<(PartitionKey, Wish)>), ErrorCode> {
        if request.session_epoch <= 0 {
            // A full request ends the session it names.
            self.remove(request.session_id);
            let context = match request.session_epoch {
                0 => Context::Opening { by_id: request.by_id },
                _ => Context::Sessionless,
            };
            return Ok((context, request.wishes));
        }
        let id = request.session_id;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.by_id != request.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let before = session.len();
        session.update(request.wishes, &request.forgotten);
        let after = session.len();
        self.partitions = self.partitions - before + after;
        if after == 0 {
            self.remove(id);
            return Ok((Context::Sessionless, Vec::new()));
        }
        if after > SESSION_PARTITIONS_MAX || self.partitions > SESSIONS_PARTITIONS_MAX {
            self.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        session.advance();
        self.by_use.remove(&(session.last_used, id));
        session.last_used = now;
        self.by_use.insert((now, id));
        Ok((Context::Incremental { id, epoch: session.epoch }, session.wishes()))
    }

    /// Says which of the reports the response carries, and under which session.
    pub fn finish(&mut self, now: Tick, context: Context, reports: &[Report]) -> Closing {
        let all = || vec![true; reports.len()];
        match context {
            Context::Sessionless => Closing { error: ErrorCode::None, session_id: 0, include: all() },
            Context::Opening { by_id } => {
                let session_id = self.open(now, by_id, reports);
                Closing { error: ErrorCode::None, session_id, include: all() }
            }
            Context::Incremental { id, epoch } => {
                let refused = |error| Closing { error, session_id: 0, include: vec![false; reports.len()] };
                match self.sessions.get_mut(&id) {
                    None => refused(ErrorCode::FetchSessionIdNotFound),
                    Some(session) if session.epoch != epoch => refused(ErrorCode::InvalidFetchSessionEpoch),
                    Some(session) => Closing {
                        error: ErrorCode::None,
                        session_id: id,
                        include: reports.iter().map(|report| session.told(report)).collect(),
                    },
                }
            }
        }
    }

    fn open(&mut self, now: Tick, by_id: bool, reports: &[Report]) -> i32 {
        let size = reports.len();
        if size == 0 || size > SESSION_PARTITIONS_MAX || !self.make_room(now, size) {
            return 0;
        }
        let mut session = Session::new(by_id, now, size);
        for report in reports {
            session.remember(report.key.clone(), report.wish);
            session.told(report);
        }
        let id = self.unused_id();
        self.partitions += session.len();
        self.by_use.insert((now, id));
        self.sessions.insert(id, session);
        id
    }

    /// Evicts sessions that have been silent long enough; says whether one of `size` partitions fits now.
    fn make_room(&mut self, now: Tick, size: usize) -> bool {
        while self.sessions.len() >= self.slots || self.partitions + size > SESSIONS_PARTITIONS_MAX {
            match self.by_use.first() {
                Some(&(last_used, id)) if last_used.after_ms(EVICTION_MS) < now => self.remove(id),
                _ => return false,
            }
        }
        true
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.by_use.remove(&(session.last_used, id));
            self.partitions -= session.len();
        }
    }

    fn unused_id(&mut self) -> i32 {
        loop {
            // SplitMix64.
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = i32::try_from(mixed >> 33).unwrap_or(i32::MAX);
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: i32) -> PartitionKey {
        PartitionKey { topic: TopicKey::Id(TopicId([1; 16])), index }
    }

    fn wish(offset: i64) -> Wish {
        let (current_leader_epoch, last_fetched_epoch) = (LeaderEpoch::NONE, LeaderEpoch::NONE);
        Wish { offset: Offset(offset), bytes_max: 1, current_leader_epoch, last_fetched_epoch }
    }

    fn request(session_id: i32, session_epoch: i32, wishes: &[i32], forgotten: &[i32]) -> SessionRequest {
        SessionRequest {
            session_id,
            session_epoch,
            by_id: true,
            wishes: wishes.iter().map(|index| (key(*index), wish(0))).collect(),
            forgotten: forgotten.iter().copied().map(key).collect(),
        }
    }

    fn reports(wishes: &[(PartitionKey, Wish)], with_records: &[i32], high_watermark: i64) -> Vec<Report> {
        let report = |(key, wish): &(PartitionKey, Wish)| Report {
            key: key.clone(),
            wish: *wish,
            error: ErrorCode::None,
            high_watermark: Offset(high_watermark),
            log_start: Offset(0),
            has_news: with_records.contains(&key.index),
        };
        wishes.iter().map(report).collect()
    }

    fn opened(sessions: &mut FetchSessions, now: u64, partitions: &[i32]) -> i32 {
        let (context, wishes) = sessions.begin(Tick(now), request(0, 0, partitions, &[])).unwrap();
        sessions.finish(Tick(now), context, &reports(&wishes, &[], 5)).session_id
    }

    #[test]
    fn only_changes_are_told_and_servers_rotate() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = opened(&mut sessions, 0, &[0, 1, 2]);
        assert_ne!(id, 0);
        let (context, wishes) = sessions.begin(Tick(1), request(id, 1, &[], &[])).unwrap();
        let closing = sessions.finish(Tick(1), context, &reports(&wishes, &[0], 5));
        assert_eq!(closing.include, [true, false, false]);
        let (context, wishes) = sessions.begin(Tick(2), request(id, 2, &[3], &[1])).unwrap();
        let order: Vec<_> = wishes.iter().map(|(key, _)| key.index).collect();
        assert_eq!(order, [2, 0, 3], "what gave records goes last, what is new after it");
        let closing = sessions.finish(Tick(2), context, &reports(&wishes, &[], 5));
        assert_eq!(closing.include, [false, false, true], "a new partition is always told");
        let (context, wishes) = sessions.begin(Tick(3), request(id, 3, &[], &[])).unwrap();
        let closing = sessions.finish(Tick(3), context, &reports(&wishes, &[], 6));
        assert_eq!(closing.include, [true, true, true], "the high watermark moved");
    }

    #[test]
    fn errors_are_told_until_they_are_over_and_then_once_more() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = opened(&mut sessions, 0, &[0]);
        let mut tell = |epoch, error| {
            let (context, wishes) = sessions.begin(Tick(1), request(id, epoch, &[], &[])).unwrap();
            let mut reports = reports(&wishes, &[], 5);
            reports[0].error = error;
            sessions.finish(Tick(1), context, &reports).include[0]
        };
        assert!(!tell(1, ErrorCode::None));
        assert!(tell(2, ErrorCode::KafkaStorageError));
        assert!(tell(3, ErrorCode::KafkaStorageError));
        assert!(tell(4, ErrorCode::None));
        assert!(!tell(5, ErrorCode::None));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = opened(&mut sessions, 0, &[0]);
        let mut code = |request| sessions.begin(Tick(1), request).unwrap_err();
        assert_eq!(code(request(id ^ 1, 1, &[], &[])), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(code(request(id, 2, &[], &[])), ErrorCode::InvalidFetchSessionEpoch);
        let by_name = SessionRequest { by_id: false, ..request(id, 1, &[], &[]) };
        assert_eq!(code(by_name), ErrorCode::FetchSessionTopicIdError);
    }

    #[test]
    fn a_late_answer_of_an_older_epoch_is_refused() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = opened(&mut sessions, 0, &[0]);
        let (first, wishes) = sessions.begin(Tick(1), request(id, 1, &[], &[])).unwrap();
        sessions.begin(Tick(1), request(id, 2, &[], &[])).unwrap();
        let closing = sessions.finish(Tick(1), first, &reports(&wishes, &[], 9));
        assert_eq!(closing.error, ErrorCode::InvalidFetchSessionEpoch);
    }

    #[test]
    fn sessions_end_by_request_and_when_empty() {
        let mut sessions = FetchSessions::new(10, 1);
        let id = opened(&mut sessions, 0, &[0]);
        let (context, _) = sessions.begin(Tick(1), request(id, -1, &[0], &[])).unwrap();
        assert_eq!((context, sessions.len()), (Context::Sessionless, 0));
        let id = opened(&mut sessions, 0, &[0, 1]);
        let (context, wishes) = sessions.begin(Tick(1), request(id, 1, &[], &[0, 1])).unwrap();
        assert_eq!((context, wishes.len(), sessions.len()), (Context::Sessionless, 0, 0));
        assert_eq!(sessions.partitions, 0);
    }

    #[test]
    fn slots_are_bounded_and_only_the_silent_make_room() {
        let mut sessions = FetchSessions::new(2, 1);
        let first = opened(&mut sessions, 0, &[0]);
        let second = opened(&mut sessions, 10, &[0]);
        assert_eq!(opened(&mut sessions, EVICTION_MS, &[0]), 0, "both are in use");
        assert_ne!(opened(&mut sessions, EVICTION_MS + 5, &[0]), 0);
        assert_eq!(sessions.len(), 2);
        let gone = sessions.begin(Tick(0), request(first, 1, &[], &[])).unwrap_err();
        assert_eq!(gone, ErrorCode::FetchSessionIdNotFound);
        assert!(sessions.begin(Tick(0), request(second, 1, &[], &[])).is_ok());
    }

    #[test]
    fn numbers_wrap_past_zero() {
        assert_eq!((epoch_after(1), epoch_after(i32::MAX)), (2, 1));
    }
}
