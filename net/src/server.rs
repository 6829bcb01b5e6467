//! All connections of one core: accepts them, watches over them, and lets them finish.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use crate::budget::Budget;
use crate::buffers::Buffers;
use crate::connection::{Connection, Ended};
use crate::control::{Abort, Control};
use crate::inbox::Inbox;
use crate::limits::{ConnectionLimits, Crowd, Place};
use crate::listener::Listener;
use crate::service::Service;
use crate::stream::{Stream, sleep, spawn};
use crate::traffic::{Traffic, add};
use crate::watch::{Verdict, Watch};

/// Longest time between two looks at the connections.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Shortest.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Pause when there is no place for another connection, or no file handle.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// The connections of one core.
pub struct Server<S: Service> {
    service: Rc<S>,
    limits: ConnectionLimits,
    budget: Budget,
    crowd: Arc<Crowd>,
    traffic: Rc<Traffic>,
    buffers: Rc<Buffers>,
    connections: RefCell<BTreeMap<u64, Rc<Control>>>,
    next_id: Cell<u64>,
    /// Tells the listener and the watch to stop.
    stop: Control,
}

impl<S: Service> Server<S> {
    /// A core without connections. `crowd` is the same on every core; `budget` is this core's.
    ///
    /// # Panics
    /// When the budget cannot serve `limits.request_bytes_max`; cut it with [`Budget::request_bytes_max`] first.
    #[must_use]
    pub fn new(service: Rc<S>, limits: ConnectionLimits, budget: Budget, crowd: Arc<Crowd>) -> Rc<Self> {
        assert!(
            limits.request_bytes_max <= budget.reserve(),
            "requests larger than the reserve could never finish"
        );
        let traffic = Rc::new(Traffic::new(limits.answer_bytes_max));
        Rc::new(Self {
            service,
            limits,
            budget,
            crowd,
            stop: Control::new(traffic.clone()),
            traffic,
            buffers: Rc::default(),
            connections: RefCell::default(),
            next_id: Cell::new(0),
        })
    }

    /// What the connections counted.
    #[must_use]
    pub fn traffic(&self) -> &Rc<Traffic> {
        &self.traffic
    }

    /// The memory its requests share.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Accepts connections in the background, and watches over them, until [`Self::drain`].
    pub fn serve(self: &Rc<Self>, listener: Listener) {
        spawn(self.clone().accept(listener));
        spawn(self.clone().watch());
    }

    /// Accepts no more, reads no more, and lets what is in flight be answered for at most `patience`; then cuts off the
    /// rest. Returns how many were cut off.
    pub async fn drain(&self, patience: Duration) -> usize {
        self.stop.drain();
        for control in self.connections.borrow().values() {
            control.drain();
        }
        let deadline = Instant::now() + patience;
        while !self.connections.borrow().is_empty() && Instant::now() < deadline {
            sleep(LOOK_INTERVAL_MIN).await;
        }
        let left = self.connections.borrow().len();
        for control in self.connections.borrow().values() {
            control.abort(Abort::Stopping);
        }
        while !self.connections.borrow().is_empty() {
            sleep(LOOK_INTERVAL_MIN).await;
        }
        left
    }

    async fn accept(self: Rc<Self>, listener: Listener) {
        // Said once and not for every attempt, or for everyone who takes the place of one that left.
        let mut failing = false;
        while !self.stop.draining() {
            let Some(place) = self.crowd.enter() else {
                if !std::mem::replace(&mut failing, true) {
                    warn!(
                        "connections cannot be accepted: there are as many as max.connections and the limit of open files allow"
                    );
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match listener.accept(&self.stop).await {
                Ok(Some(stream)) => {
                    if failing && self.crowd.has_room() {
                        failing = false;
                        info!("connections are accepted again");
                    }
                    self.admit(stream, place);
                }
                Ok(None) => break,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "connections cannot be accepted; raise the limit of open files if it is that");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts the connection's task, unless its address has its share.
    fn admit(self: &Rc<Self>, stream: Stream, mut place: Place) {
        let remote = stream.peer().remote;
        if !place.claim(remote.ip()) {
            add(&self.traffic.refused, 1);
            info!(%remote, limit = self.limits.connections_per_ip_max, "too many connections from this address");
            return;
        }
        add(&self.traffic.accepted, 1);
        self.traffic.open.set(self.traffic.open.get() + 1);
        let id = self.next_id.replace(self.next_id.get() + 1);
        let control = Rc::new(Control::new(self.traffic.clone()));
        self.connections.borrow_mut().insert(id, control.clone());
        let stream = Rc::new(stream);
        let connection = Connection {
            service: self.service.clone(),
            stream: stream.clone(),
            control: control.clone(),
            inbox: Inbox::new(
                stream,
                control,
                self.budget.clone(),
                self.buffers.clone(),
                self.limits.request_bytes_max,
            ),
            in_flight_max: self.limits.in_flight_max,
        };
        let server = self.clone();
        spawn(async move {
            let ended = connection.run().await;
            server.report(remote, ended);
            server.connections.borrow_mut().remove(&id);
            server.traffic.open.set(server.traffic.open.get() - 1);
            drop(place);
        });
    }

    /// The one line a connection's end is worth.
    fn report(&self, remote: SocketAddr, ended: Ended) {
        match ended {
            Ended::Finished => debug!(%remote, "connection ended"),
            Ended::Io(error) => debug!(%remote, %error, "connection lost"),
            Ended::Aborted(Abort::Watched(verdict @ (Verdict::Slow | Verdict::Deaf))) => {
                add(&self.traffic.faulted, 1);
                info!(%remote, reason = verdict.reason(), "connection closed");
            }
            Ended::Aborted(abort) => debug!(%remote, reason = abort.reason(), "connection closed"),
            Ended::Closed(reason) => {
                add(&self.traffic.faulted, 1);
                info!(%remote, %reason, "connection closed");
            }
            Ended::Panicked(message) => {
                add(&self.traffic.faulted, 1);
                error!(%remote, message, "a request's handler panicked; its connection is closed");
            }
        }
    }

    /// Looks at every connection now and then.
    async fn watch(self: Rc<Self>) {
        let started = Instant::now();
        let quarter = self.limits.idle.map_or(LOOK_INTERVAL_MAX, |idle| idle / 4);
        let interval = quarter.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        let mut watches: BTreeMap<u64, Watch> = BTreeMap::new();
        while !self.stop.draining() {
            sleep(interval).await;
            let now = started.elapsed();
            let pressed =
                self.budget.is_waited_for() || self.service.is_waited_for() || self.traffic.is_crowded();
            let connections = self.connections.borrow();
            watches.retain(|id, _| connections.contains_key(id));
            for (id, control) in connections.iter() {
                let watch = watches.entry(*id).or_insert_with(|| Watch::new(now));
                if let Some(verdict) = watch.look(now, control.sample(), self.limits.idle, pressed) {
                    control.abort(Abort::Watched(verdict));
                }
            }
        }
    }
}
