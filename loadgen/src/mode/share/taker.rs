//! One member's connection to one broker: one request outstanding, in a share session, so that only what changes is said.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use model::{ErrorCode, TopicId};
use protocol::client::{ShareAnswer, read_share_fetch};
use protocol::{ApiKey, Text, TopicRef};

use super::member::Member;
use super::records::{self, ACCEPT, Held, Judge, REJECT, RELEASE};
use super::session::{Said, Session};
use crate::clock::Ns;
use crate::core::Core;
use crate::link::{Inbox, Link, PATIENCE, within};
use crate::mode::reading::Reading;
use crate::report::Measure;
use crate::run;

/// Bytes of an answer beside its records.
const ANSWER_BYTES: usize = 64 << 10;
/// Largest receive buffer to begin with: more falls out of the cache.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a taker with nothing to do looks for something.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub struct Taker {
    core: Rc<Core>,
    member: Rc<Member>,
    /// The broker.
    pub node: i32,
    wanted: RefCell<BTreeSet<usize>>,
    /// What was said in the request that is not answered.
    said: RefCell<Said>,
    /// The last answer says that somebody else leads, or that the session is over.
    stale: Cell<bool>,
    running: Cell<bool>,
}

/// What a taker reads answers with.
struct Reader {
    inbox: Inbox,
    reading: Reading,
    judge: Judge,
    version: i16,
}

impl Taker {
    /// Of a member, with nothing to take.
    pub fn new(member: &Rc<Member>, node: i32) -> Rc<Self> {
        Rc::new(Self {
            core: Rc::clone(&member.core),
            member: Rc::clone(member),
            node,
            wanted: RefCell::default(),
            said: RefCell::default(),
            stale: Cell::new(false),
            running: Cell::new(false),
        })
    }

    /// Takes from these partitions from the next request on.
    pub fn want(&self, places: BTreeSet<usize>) {
        *self.wanted.borrow_mut() = places;
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.running.get()
    }

    /// Runs.
    pub fn start(self: &Rc<Self>) {
        if !self.running.replace(true) {
            let taker = Rc::clone(self);
            self.core.spawn(async move {
                taker.run().await;
                taker.running.set(false);
            });
        }
    }

    async fn run(&self) {
        while !self.member.is_over() {
            let address = self.core.cluster.borrow().brokers.get(&self.node).copied();
            let ended = match address {
                Some(address) => match Link::connect(address).await {
                    Ok(link) => self.session(&link).await,
                    Err(error) => Err(error),
                },
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no address of the leader")),
            };
            if let Err(error) = ended {
                self.core.broken(&error);
                self.give_up();
                run::sleep(PAUSE).await;
                self.core.refresh().await;
                self.member.reroute();
            }
        }
    }

    /// What was said in a request without an answer: it may count or not.
    fn give_up(&self) {
        for (place, runs) in self.said.take() {
            self.member.tally().unsure(place, &runs);
        }
    }

    async fn session(&self, link: &Link) -> io::Result<()> {
        let version = self.core.cluster.borrow().versions.of(ApiKey::ShareFetch).map_err(io::Error::other)?;
        let share = self.member.share();
        let room = usize::try_from(share.bytes_max).unwrap_or(0) + ANSWER_BYTES;
        let seed = self.core.step.plan.seed.wrapping_add(self.member.number as u64 * 7919);
        let mut reader = Reader {
            inbox: Inbox::new(room.min(INBOX_BYTES_MAX)),
            reading: Reading {
                stamping: share.stamping,
                run: self.core.step.run,
                any_run: false,
                now_unix_ns: 0,
                scratch: Vec::new(),
            },
            judge: Judge::new(share.mix, seed),
            version,
        };
        let mut session = Session::new(&Text::from(self.member.group_name()), &self.member.id);
        while !self.member.is_over() {
            if self.wanted.borrow().is_empty() {
                // An empty session would be answered at once.
                self.acknowledge(link, &mut session, true).await?;
                run::sleep(LOOK).await;
                continue;
            }
            self.fetch(link, &mut session, &mut reader).await?;
            if share.commit_sync && session.holds() {
                self.acknowledge(link, &mut session, false).await?;
            }
            if self.stale.replace(false) {
                run::sleep(PAUSE).await;
                self.core.refresh().await;
                self.member.reroute();
            }
            // A socket that always has something to read must not keep the core from its timers.
            run::yield_if_needed().await;
        }
        self.acknowledge(link, &mut session, true).await
    }

    /// Asks for records, and says what became of those before.
    async fn fetch(&self, link: &Link, session: &mut Session, reader: &mut Reader) -> io::Result<()> {
        let share = self.member.share();
        let wait = self.member.wait();
        let (request, said) = session.fetch(&self.core.cluster.borrow(), share, wait, &self.wanted.borrow());
        *self.said.borrow_mut() = said;
        let asked = self.core.clock().now();
        link.ask(&self.core.step.plan.client_id, reader.version, &request).await?;
        let patience = share.wait + Duration::from_nanos(self.core.step.plan.drain);
        let frame = within(patience, reader.inbox.next(link)).await?;
        self.answer(&frame, asked, session, reader)
    }

    fn answer(&self, frame: &Bytes, asked: Ns, session: &mut Session, reader: &mut Reader) -> io::Result<()> {
        let now = self.core.clock().now();
        reader.reading.now_unix_ns = self.core.clock().unix_ns(now);
        let cluster = self.core.cluster.borrow();
        let before = self.core.found.borrow().records_received;
        let (reading, judge) = (&mut reader.reading, &mut reader.judge);
        let each = |topic: TopicId, answer: ShareAnswer| {
            let topic = TopicRef { name: Text::default(), id: topic };
            if let Some(place) = cluster.find(&topic, answer.index) {
                self.judged(place, answer.acknowledge_error, now - asked);
                session.hold(place, self.partition(&answer, judge, reading));
            }
        };
        let head = read_share_fetch(reader.version, frame, each).map_err(io::Error::other)?;
        self.core.found.borrow_mut().requests += 1;
        self.end_of_answer(head.error, session);
        let received = self.core.found.borrow().records_received - before;
        if received > 0 {
            self.member.tally().hear(now);
            self.core.step.shared.received.fetch_add(received, Ordering::Relaxed);
            self.core.found.borrow_mut().record_n(Measure::Fetch, (now - asked) / 1000, 1);
        }
        Ok(())
    }

    /// What came of one partition.
    fn partition(&self, answer: &ShareAnswer, judge: &mut Judge, reading: &mut Reading) -> Vec<Held> {
        if answer.error != ErrorCode::None {
            self.core.error(answer.error.name());
            self.stale.set(true);
        }
        let taken = records::take(answer, judge, reading, &mut self.core.found.borrow_mut());
        taken.unwrap_or_default()
    }

    /// What became of what was said of a partition.
    fn judged(&self, place: usize, error: ErrorCode, took: Ns) {
        let Some(runs) = self.said.borrow_mut().remove(&place) else { return };
        if error != ErrorCode::None {
            return self.core.error(&format!("acknowledge: {}", error.name()));
        }
        let mut found = self.core.found.borrow_mut();
        let count = |kind: i8| runs.iter().map(|run| run.count(kind)).sum::<u64>();
        let [accepted, released, rejected] = [ACCEPT, RELEASE, REJECT].map(count);
        found.shares.accepted += accepted;
        found.shares.released += released;
        found.shares.rejected += rejected;
        found.record_n(Measure::Acknowledge, took / 1000, accepted + released + rejected);
        self.member.tally().confirmed(place, &runs, &mut found.verification);
        self.member.tally().hear(self.core.clock().now());
    }

    /// What the answer says as a whole; what it does not say of acknowledgements nobody knows.
    fn end_of_answer(&self, error: ErrorCode, session: &mut Session) {
        if error == ErrorCode::None {
            session.step();
        } else {
            self.core.error(error.name());
            session.lose();
            self.stale.set(true);
        }
        if !self.said.borrow().is_empty() {
            self.core.error("acknowledgements without an answer");
            self.give_up();
        }
    }

    /// Says what became of records in a request of its own; the last one ends the session.
    async fn acknowledge(&self, link: &Link, session: &mut Session, last: bool) -> io::Result<()> {
        if !session.is_open() {
            return Ok(());
        }
        let (request, said) = session.acknowledge(&self.core.cluster.borrow(), last);
        *self.said.borrow_mut() = said;
        let versions = self.core.cluster.borrow().versions.clone();
        let (client_id, asked) = (&self.core.step.plan.client_id, self.core.clock().now());
        let answer = link.call(client_id, &versions, ApiKey::ShareAcknowledge, &request, PATIENCE).await?;
        let took = self.core.clock().now() - asked;
        for topic in &answer.responses {
            let named = TopicRef { name: Text::default(), id: TopicId(topic.topic_id.to_bytes()) };
            for partition in &topic.partitions {
                if let Some(place) = self.core.cluster.borrow().find(&named, partition.partition_index) {
                    let error = ErrorCode::from_code(partition.error_code);
                    self.judged(place, error.unwrap_or(ErrorCode::UnknownServerError), took);
                }
            }
        }
        self.core.found.borrow_mut().requests += 1;
        let error = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
        self.end_of_answer(error, session);
        if last {
            session.lose();
        }
        Ok(())
    }
}
