//! Share sessions (KIP-932): the broker remembers which partitions a member fetches, the member says only what changed.
//!
//! A session is the member's and ends with its connection: what the member holds is free again then, and not only when
//! its locks run out. Unlike fetch sessions none is evicted, who comes too late is told so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::limits::{SESSION_PARTITIONS_MAX, SESSIONS_PARTITIONS_MAX};
use model::{ErrorCode, TopicId};

use crate::fetch_session::epoch_after;

/// Epoch of a request that opens a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that ends one.
pub const FINAL_EPOCH: i32 = -1;

/// Whose session it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionKey {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member: Arc<str>,
}

/// A partition as the member names it; the index is unchecked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    /// Its topic.
    pub topic: TopicId,
    /// Its index.
    pub index: i32,
}

/// A ShareFetch as far as sessions are concerned.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Whose.
    pub key: SessionKey,
    /// 0 opens a session, -1 ends it, else the next number of the session.
    pub epoch: i32,
    /// What it came on; sessions opened on it end with it.
    pub connection: u64,
    /// Partitions that are new, or only acknowledged.
    pub wanted: Vec<PartitionKey>,
    /// Partitions that are fetched no more.
    pub forgotten: Vec<PartitionKey>,
    /// Whether it acknowledges anything.
    pub acknowledges: bool,
    /// What a session that it opens is called: more than all that were opened before, on any core.
    pub number: u64,
}

/// How a ShareFetch goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// Fetch from these, in this order; then [`ShareSessions::finish`] with the session.
    Fetch {
        /// Which one it is: one that is opened later for the same member has a greater number.
        session: u64,
        /// All partitions of the session. Another one is first with every request.
        partitions: Vec<PartitionKey>,
    },
    /// Only acknowledge; then [`ShareSessions::end`].
    Last,
}

/// What there is to tell of a partition, as far as sessions are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which.
    pub key: PartitionKey,
    /// What fetching from it says.
    pub error: ErrorCode,
    /// Whether it has records, or acknowledgements that must be answered.
    pub has_news: bool,
}

#[derive(Debug)]
struct Session {
    number: u64,
    /// Number the next request must carry.
    epoch: i32,
    /// How many requests fetched in it.
    fetches: usize,
    connection: u64,
    /// Whether each must be told although it has nothing: it is new, or had an error.
    partitions: HashMap<PartitionKey, bool>,
    /// As they came.
    order: Vec<PartitionKey>,
}

/// The sessions of one core.
#[derive(Debug)]
pub struct ShareSessions {
    sessions_max: usize,
    sessions: HashMap<SessionKey, Session>,
    /// Number of the one that was opened last.
    opened: u64,
    by_connection: BTreeMap<u64, BTreeSet<SessionKey>>,
    partitions: usize,
}

impl ShareSessions {
    /// Room for so many (`group.share.max.share.sessions`).
    #[must_use]
    pub fn new(sessions_max: usize) -> Self {
        Self {
            sessions_max,
            sessions: HashMap::new(),
            opened: 0,
            by_connection: BTreeMap::new(),
            partitions: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Which one the member has, if any.
    #[must_use]
    pub fn number(&self, key: &SessionKey) -> Option<u64> {
        self.sessions.get(key).map(|session| session.number)
    }

    /// Partitions of all sessions together.
    #[must_use]
    pub const fn partitions(&self) -> usize {
        self.partitions
    }

    /// Takes a ShareFetch.
    ///
    /// # Errors
    /// `SHARE_SESSION_NOT_FOUND`, `INVALID_SHARE_SESSION_EPOCH`, `SHARE_SESSION_LIMIT_REACHED`; `INVALID_REQUEST` for one that
    /// opens a session and acknowledges what it cannot hold.
    pub fn begin(&mut self, request: FetchRequest) -> Result<Begun, ErrorCode> {
        match request.epoch {
            FINAL_EPOCH if self.sessions.contains_key(&request.key) => Ok(Begun::Last),
            FINAL_EPOCH => Err(ErrorCode::ShareSessionNotFound),
            INITIAL_EPOCH if request.acknowledges => Err(ErrorCode::InvalidRequest),
            INITIAL_EPOCH => self.open(request),
            _ => self.go_on(&request),
        }
    }

    fn open(&mut self, request: FetchRequest) -> Result<Begun, ErrorCode> {
        self.end(&request.key);
        let number = request.number.max(self.opened + 1);
        self.opened = number;
        let mut session = Session {
            number,
            epoch: epoch_after(INITIAL_EPOCH),
            fetches: 0,
            connection: request.connection,
            partitions: HashMap::new(),
            order: Vec::new(),
        };
        session.add(&request.wanted);
        let size = session.order.len();
        let fits = size <= SESSION_PARTITIONS_MAX && self.partitions + size <= SESSIONS_PARTITIONS_MAX;
        if self.sessions.len() >= self.sessions_max || !fits {
            return Err(ErrorCode::ShareSessionLimitReached);
        }
        self.partitions += size;
        self.by_connection.entry(request.connection).or_default().insert(request.key.clone());
        let partitions = session.order.clone();
        self.sessions.insert(request.key, session);
        Ok(Begun::Fetch { session: number, partitions })
    }

    fn go_on(&mut self, request: &FetchRequest) -> Result<Begun, ErrorCode> {
        let session = self.sessions.get_mut(&request.key).ok_or(ErrorCode::ShareSessionNotFound)?;
        if session.epoch != request.epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        self.partitions -= session.order.len();
        session.add(&request.wanted);
        session.forget(&request.forgotten);
        self.partitions += session.order.len();
        if session.order.len() > SESSION_PARTITIONS_MAX || self.partitions > SESSIONS_PARTITIONS_MAX {
            // It opens another one, which is refused as long as it wants so much.
            self.end(&request.key);
            return Err(ErrorCode::ShareSessionNotFound);
        }
        session.epoch = epoch_after(session.epoch);
        let mut partitions = session.order.clone();
        // Not by the epoch, which acknowledgements raise as well: every other number would favour every other partition.
        session.fetches = session.fetches.wrapping_add(1);
        let first = session.fetches.checked_rem(partitions.len()).unwrap_or(0);
        partitions.rotate_left(first);
        Ok(Begun::Fetch { session: session.number, partitions })
    }

    /// Takes a ShareAcknowledge; says whether it is the session's last request, after which comes [`end`](Self::end).
    ///
    /// # Errors
    /// `SHARE_SESSION_NOT_FOUND`, `INVALID_SHARE_SESSION_EPOCH`: also for one that would open a session.
    pub fn acknowledge(&mut self, key: &SessionKey, epoch: i32) -> Result<bool, ErrorCode> {
        if epoch == INITIAL_EPOCH {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        let session = self.sessions.get_mut(key).ok_or(ErrorCode::ShareSessionNotFound)?;
        if epoch == FINAL_EPOCH {
            return Ok(true);
        }
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        session.epoch = epoch_after(epoch);
        Ok(false)
    }

    /// Which of the reports the answer to a ShareFetch carries: what has news, what is new to the session, and errors
    /// until they are over and then once more.
    ///
    /// # Errors
    /// The session ended meanwhile.
    pub fn finish(
        &mut self,
        key: &SessionKey,
        session: u64,
        reports: &[Report],
    ) -> Result<Vec<bool>, ErrorCode> {
        let known = self.sessions.get_mut(key).filter(|known| known.number == session);
        let session = known.ok_or(ErrorCode::ShareSessionNotFound)?;
        Ok(reports.iter().map(|report| session.told(report)).collect())
    }

    /// Ends a session, if there is one: gives its number. What its member holds is to be given back.
    pub fn end(&mut self, key: &SessionKey) -> Option<u64> {
        let session = self.sessions.remove(key)?;
        self.partitions -= session.order.len();
        if let Some(keys) = self.by_connection.get_mut(&session.connection) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_connection.remove(&session.connection);
            }
        }
        Some(session.number)
    }

    /// A connection is gone, and the sessions that were opened on it: what each held is to be given back.
    pub fn disconnected(&mut self, connection: u64) -> Vec<(SessionKey, u64)> {
        let keys = self.by_connection.get(&connection).cloned().unwrap_or_default();
        keys.into_iter().filter_map(|key| self.end(&key).map(|number| (key, number))).collect()
    }
}

impl Session {
    fn add(&mut self, wanted: &[PartitionKey]) {
        for key in wanted {
            if !self.partitions.contains_key(key) {
                self.partitions.insert(*key, true);
                self.order.push(*key);
            }
        }
    }

    fn forget(&mut self, forgotten: &[PartitionKey]) {
        let before = self.partitions.len();
        for key in forgotten {
            self.partitions.remove(key);
        }
        if self.partitions.len() < before {
            self.order.retain(|key| self.partitions.contains_key(key));
        }
    }

    fn told(&mut self, report: &Report) -> bool {
        let failed = !report.error.is_ok();
        let Some(must) = self.partitions.get_mut(&report.key) else { return report.has_news || failed };
        std::mem::replace(must, failed) || report.has_news || failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(member: &str) -> SessionKey {
        SessionKey { group: "g".into(), member: member.into() }
    }

    fn partitions(indices: &[i32]) -> Vec<PartitionKey> {
        indices.iter().map(|index| PartitionKey { topic: TopicId([1; 16]), index: *index }).collect()
    }

    fn fetch(member: &str, epoch: i32, wanted: &[i32], forgotten: &[i32]) -> FetchRequest {
        FetchRequest {
            key: key(member),
            epoch,
            connection: 7,
            wanted: partitions(wanted),
            forgotten: partitions(forgotten),
            acknowledges: false,
            number: 0,
        }
    }

    fn order(begun: Begun) -> Vec<i32> {
        match begun {
            Begun::Fetch { partitions, .. } => partitions.iter().map(|key| key.index).collect(),
            Begun::Last => panic!("the last"),
        }
    }

    fn number(begun: Begun) -> u64 {
        match begun {
            Begun::Fetch { session, .. } => session,
            Begun::Last => panic!("the last"),
        }
    }

    fn report(index: i32, error: ErrorCode, has_news: bool) -> Report {
        Report { key: partitions(&[index])[0], error, has_news }
    }

    #[test]
    fn a_session_is_opened_changed_and_ended() {
        let mut sessions = ShareSessions::new(2);
        assert_eq!(order(sessions.begin(fetch("a", 0, &[0, 1, 2, 1], &[])).unwrap()), [0, 1, 2]);
        assert_eq!(order(sessions.begin(fetch("a", 1, &[3], &[1])).unwrap()), [2, 3, 0]);
        assert_eq!(order(sessions.begin(fetch("a", 2, &[], &[])).unwrap()), [3, 0, 2]);
        assert_eq!(sessions.partitions(), 3);
        assert_eq!(sessions.acknowledge(&key("a"), 3), Ok(false));
        assert_eq!(sessions.acknowledge(&key("a"), -1), Ok(true));
        assert_eq!(sessions.begin(fetch("a", -1, &[], &[])), Ok(Begun::Last));
        assert_eq!(sessions.end(&key("a")), Some(1));
        assert_eq!((sessions.len(), sessions.partitions()), (0, 0));
        assert_eq!(sessions.end(&key("a")), None);
        for (wanted, number) in [(50, 50), (50, 51), (70, 70)] {
            sessions.begin(FetchRequest { number: wanted, ..fetch("a", 0, &[0], &[]) }).unwrap();
            assert_eq!(sessions.number(&key("a")), Some(number));
        }
    }

    #[test]
    fn each_partition_is_first_in_its_turn_whoever_acknowledges_between() {
        let mut sessions = ShareSessions::new(2);
        sessions.begin(fetch("a", 0, &[0, 1], &[])).unwrap();
        let firsts: Vec<i32> = (0..4)
            .map(|round| {
                let first = order(sessions.begin(fetch("a", 1 + 2 * round, &[], &[])).unwrap())[0];
                sessions.acknowledge(&key("a"), 2 + 2 * round).unwrap();
                first
            })
            .collect();
        assert_eq!(firsts, [1, 0, 1, 0]);
    }

    #[test]
    fn wrong_numbers_are_refused() {
        let mut sessions = ShareSessions::new(2);
        for epoch in [-1, 1, -2] {
            assert_eq!(sessions.begin(fetch("a", epoch, &[], &[])), Err(ErrorCode::ShareSessionNotFound));
        }
        assert_eq!(sessions.acknowledge(&key("a"), 1), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(sessions.acknowledge(&key("a"), 0), Err(ErrorCode::InvalidShareSessionEpoch));
        let acknowledging = FetchRequest { acknowledges: true, ..fetch("a", 0, &[0], &[]) };
        assert_eq!(sessions.begin(acknowledging), Err(ErrorCode::InvalidRequest));
        sessions.begin(fetch("a", 0, &[0], &[])).unwrap();
        for epoch in [2, -2, i32::MAX] {
            assert_eq!(sessions.begin(fetch("a", epoch, &[], &[])), Err(ErrorCode::InvalidShareSessionEpoch));
            assert_eq!(sessions.acknowledge(&key("a"), epoch), Err(ErrorCode::InvalidShareSessionEpoch));
        }
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut sessions = ShareSessions::new(2);
        sessions.begin(fetch("a", 0, &[0], &[])).unwrap();
        sessions.begin(fetch("b", 0, &[0], &[])).unwrap();
        assert_eq!(sessions.begin(fetch("c", 0, &[0], &[])), Err(ErrorCode::ShareSessionLimitReached));
        sessions.begin(fetch("b", 0, &[1], &[])).unwrap();
        let many: Vec<i32> = (0..=i32::try_from(SESSION_PARTITIONS_MAX).unwrap()).collect();
        assert_eq!(sessions.begin(fetch("a", 1, &many, &[])), Err(ErrorCode::ShareSessionNotFound));
        assert_eq!(sessions.begin(fetch("a", 0, &many, &[])), Err(ErrorCode::ShareSessionLimitReached));
        assert_eq!((sessions.len(), sessions.partitions()), (1, 1));
    }

    #[test]
    fn what_is_new_or_has_news_is_told_and_errors_once_more() {
        let mut sessions = ShareSessions::new(2);
        let first = number(sessions.begin(fetch("a", 0, &[0, 1], &[])).unwrap());
        let quiet = [report(0, ErrorCode::None, false), report(1, ErrorCode::None, false)];
        assert_eq!(sessions.finish(&key("a"), first, &quiet), Ok(vec![true, true]));
        let mut tell = |epoch, reports: &[Report]| {
            let session = number(sessions.begin(fetch("a", epoch, &[], &[])).unwrap());
            // An acknowledgement may come on its heels.
            sessions.acknowledge(&key("a"), epoch + 1).unwrap();
            sessions.finish(&key("a"), session, reports).unwrap()
        };
        assert_eq!(tell(1, &quiet), [false, false]);
        let failed = report(1, ErrorCode::NotLeaderOrFollower, false);
        assert_eq!(tell(3, &[report(0, ErrorCode::None, true), failed]), [true, true]);
        assert_eq!(tell(5, &[quiet[0], failed]), [false, true]);
        assert_eq!(tell(7, &quiet), [false, true]);
        assert_eq!(tell(9, &quiet), [false, false]);
        sessions.begin(fetch("a", 0, &[0, 1], &[])).unwrap();
        assert_eq!(sessions.finish(&key("a"), first, &quiet), Err(ErrorCode::ShareSessionNotFound));
    }

    #[test]
    fn sessions_end_with_the_connection_that_opened_them() {
        let mut sessions = ShareSessions::new(3);
        sessions.begin(fetch("a", 0, &[0], &[])).unwrap();
        sessions.begin(fetch("b", 0, &[1], &[])).unwrap();
        let elsewhere = FetchRequest { connection: 8, ..fetch("a", 0, &[2], &[]) };
        sessions.begin(elsewhere).unwrap();
        assert_eq!(sessions.disconnected(7), [(key("b"), 2)]);
        assert_eq!(sessions.disconnected(7), []);
        assert_eq!((sessions.len(), sessions.by_connection.len()), (1, 1));
    }
}
