//! What every group of a coordinator shares in a step: the time, the timers, the way out, and what is in flight.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{ErrorCode, Tick, TimestampMs};

use super::consumer::Change;
use super::ids::IdSource;
use super::limits::{JOINS_PARKED_MAX, REQUESTS_PARKED_MAX};
use super::member::Member;
use super::record::Record;
use super::reply::{JoinReply, Reply};
use super::request::{OffsetFetch, Request};
use super::settings::GroupSettings;
use super::timers::Timers;
use crate::metadata::Image;
use crate::share::membership::{Assignment, record::Record as ShareRecord};

/// What a coordinator asks of its driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these in one batch, in the order of ids, then say `Durable` or `AppendFailed` with the id.
    Append {
        /// Rises by one from append to append.
        id: u64,
        /// Never empty.
        records: Vec<Record>,
    },
    /// Answer the request of this ticket; each ticket is answered once.
    Reply {
        /// The request's.
        ticket: u64,
        /// The answer, of the request's kind.
        reply: Reply,
    },
    /// Begin the state of these partitions of a share group, without a start, then say `SharesInitialized`.
    InitializeShares {
        /// The group.
        group: Arc<str>,
        /// The state epoch.
        epoch: i32,
        /// Which.
        partitions: Assignment,
    },
}

/// What follows an append.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing but what its records change.
    Nothing,
    /// A reply: as it is, or marked with the error.
    Answer { ticket: u64, reply: Reply },
    /// The first record of a new group; if it fails nobody joined.
    Created,
    /// The leader's assignments: the group is stable, or rebalances again.
    Assigned { generation: i32, assignments: BTreeMap<Arc<str>, Bytes> },
    /// A static member came back to a stable group under a new id: it is told so, or the old id holds.
    Rejoined { ticket: u64, generation: i32, old: Box<Member>, new_id: Arc<str>, reply: Box<JoinReply> },
    /// Offsets committed; `reserved` bytes were set aside for those that are new.
    Committed { ticket: u64, reply: Reply, keys: Vec<(Arc<str>, i32)>, reserved: u64 },
    /// A group of a DeleteGroups request, at this place of its answer.
    Deleted { deletion: u64, place: usize },
    /// Expired offsets, and the group with them when it is `whole`.
    Expired { whole: bool },
    /// Decisions about a group by the consumer protocol, with the answers to whoever waits for them.
    Consumer { replies: Vec<(u64, Reply)>, change: Option<Change> },
    /// The append of the machine of share groups with this id; it applies its records itself.
    Share(u64),
}

/// An append that is not known to be durable.
#[derive(Debug)]
pub(super) struct Flight {
    pub group: Option<Arc<str>>,
    pub records: Vec<Record>,
    pub then: Then,
    /// Fetches that wait for what was in flight when they came.
    pub fetches: Vec<(u64, OffsetFetch)>,
}

/// A DeleteGroups request whose appends are in flight.
#[derive(Debug)]
pub(super) struct Deletion {
    pub ticket: u64,
    pub verdicts: Vec<(String, ErrorCode)>,
    pub outstanding: usize,
}

#[derive(Debug)]
pub(super) struct Desk {
    pub settings: GroupSettings,
    /// Topics, and the settings of groups.
    pub image: Arc<Image>,
    /// Groups whose regular expressions are to be looked up.
    pub to_look_up: Vec<Arc<str>>,
    pub now: Tick,
    pub wall: TimestampMs,
    pub timers: Timers,
    pub ids: IdSource,
    /// Bytes that groups count for, commits in flight included.
    pub bytes: u64,
    pub flights: BTreeMap<u64, Flight>,
    pub deletions: BTreeMap<u64, Deletion>,
    pub out: Vec<Effect>,
    next_append: u64,
    parked: usize,
}

impl Desk {
    pub fn new(settings: GroupSettings, seed: u64) -> Self {
        Self {
            settings,
            image: Arc::default(),
            to_look_up: Vec::new(),
            now: Tick(0),
            wall: TimestampMs(0),
            timers: Timers::new(),
            ids: IdSource::new(seed),
            bytes: 0,
            flights: BTreeMap::new(),
            deletions: BTreeMap::new(),
            out: Vec::new(),
            next_append: 0,
            parked: 0,
        }
    }

    /// Answers a request that was not parked.
    pub fn reply(&mut self, ticket: u64, reply: Reply) {
        self.out.push(Effect::Reply { ticket, reply });
    }

    /// Notes that a ticket is kept, and gives it back.
    pub const fn park(&mut self, ticket: u64) -> u64 {
        self.parked += 1;
        ticket
    }

    /// Answers a ticket that was parked.
    pub fn release(&mut self, ticket: u64, reply: Reply) {
        debug_assert!(self.parked > 0, "ticket {ticket} was not parked");
        self.parked = self.parked.saturating_sub(1);
        self.reply(ticket, reply);
    }

    /// Takes a parked ticket back, to be seen to as if it had just come.
    pub const fn unpark(&mut self) {
        self.parked = self.parked.saturating_sub(1);
    }

    pub const fn parked(&self) -> usize {
        self.parked
    }

    /// Whether too many wait for this one to wait, too.
    pub const fn is_full_for(&self, request: &Request) -> bool {
        let most = if matches!(request, Request::Join(_)) { JOINS_PARKED_MAX } else { REQUESTS_PARKED_MAX };
        self.parked >= most
    }

    /// Whether `more` bytes still fit the budget.
    pub const fn affords(&self, more: u64) -> bool {
        self.bytes.saturating_add(more) <= self.settings.memory_bytes_max
    }

    pub fn append(&mut self, group: Option<Arc<str>>, records: Vec<Record>, then: Then) -> u64 {
        debug_assert!(!records.is_empty());
        let id = self.next_append;
        self.next_append += 1;
        self.out.push(Effect::Append { id, records: records.clone() });
        self.flights.insert(id, Flight { group, records, then, fetches: Vec::new() });
        id
    }

    /// Appends what the machine of share groups calls `id`.
    pub fn append_share(&mut self, id: u64, records: Vec<ShareRecord>) {
        let number = self.next_append;
        self.next_append += 1;
        let records = records.into_iter().map(Record::Share).collect();
        self.out.push(Effect::Append { id: number, records });
        let (group, records, fetches) = (None, Vec::new(), Vec::new());
        self.flights.insert(number, Flight { group, records, then: Then::Share(id), fetches });
    }

    /// The moment `ms` from now; a negative number of milliseconds is none.
    pub fn after(&self, ms: i32) -> Tick {
        self.now.after_ms(u64::try_from(ms).unwrap_or(0))
    }
}

/// What clients are told of an append that failed with `error`.
pub(crate) const fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        // A failure that calls itself a success must not be told as one.
        ErrorCode::None => ErrorCode::UnknownServerError,
        other => other,
    }
}
