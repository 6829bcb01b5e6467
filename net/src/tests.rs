//! Connections end to end on loopback: what a peer sends, what the service sees, what comes back in which order.

mod frames;
mod life;
mod order;

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::poll_fn;
use model::limits::BUDGET_BYTES_MIN;

use crate::answers::Answers;
use crate::budget::Budget;
use crate::limits::{ConnectionLimits, Crowd};
use crate::listener::Reservation;
use crate::server::Server;
use crate::service::{Called, Chunk, Peer, Reply, Request, Response, Service};
use crate::stream::{Stream, sleep};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Metadata in its first version: the test service's only API.
const KEY: i16 = 3;
/// Bytes of a request's header without a client id.
const HEADER: usize = 10;

/// What a request to be answered in its turn is charged with: little.
const CHARGED: usize = 100;

/// Answers a request with its correlation id and body; the body's first byte says how.
struct Echo {
    seen: RefCell<Vec<i32>>,
    sessions: Cell<usize>,
    gate_open: Rc<Cell<bool>>,
    /// Answers begun in their turn.
    begun: Rc<Cell<usize>>,
    answers: Answers,
}

impl Service for Echo {
    type Session = ();

    fn connect(&self, _peer: Peer) -> Rc<()> {
        self.sessions.set(self.sessions.get() + 1);
        Rc::new(())
    }

    fn supports(&self, api_key: i16, api_version: i16) -> bool {
        api_key == KEY && api_version == 0
    }

    async fn call(&self, _session: &Rc<()>, request: Request) -> Called {
        let correlation = request.header.correlation_id;
        self.seen.borrow_mut().push(correlation);
        let body = request.header.body(&request.frame);
        let answer = Reply::Send(Response::from(vec![
            Chunk::Bytes(Bytes::copy_from_slice(&correlation.to_be_bytes())),
            Chunk::Shared(Rc::new(Vec::from(&b"xx"[..])), 1..2),
            Chunk::Bytes(body.clone()),
        ]));
        let gate = self.gate_open.clone();
        match body.first() {
            // Later requests of a connection are ready first.
            Some(b'r') => Called::Later(Box::pin(async move {
                sleep(Duration::from_millis(20 - u64::try_from(correlation % 10).unwrap())).await;
                drop(request);
                answer
            })),
            Some(b'g') => Called::Later(Box::pin(async move {
                wait_until(|| gate.get()).await;
                drop(request);
                answer
            })),
            Some(b't') => {
                let begun = self.begun.clone();
                let reply = Box::pin(async move {
                    begun.set(begun.get() + 1);
                    wait_until(|| gate.get()).await;
                    answer
                });
                let mut permit = request.permit;
                permit.settle(CHARGED);
                Called::InTurn { reply, wait: Duration::from_mins(1), permit }
            }
            Some(b'b') => {
                wait_until(|| gate.get()).await;
                Called::Now(answer)
            }
            Some(b'a') => {
                let permit = self.answers.admit(10_000).await;
                Called::Now(self.answers.charge(answer, permit))
            }
            Some(b's') => Called::Now(Reply::Silent),
            Some(b'c') => Called::Now(Reply::Close("the test asked for it".into())),
            Some(b'p') => panic!("the test asked for it"),
            Some(b'o') => {
                let outside = Chunk::Shared(Rc::new([0u8; 4]), 2..8);
                Called::Now(Reply::Send(Response::from(vec![outside])))
            }
            _ => Called::Now(answer),
        }
    }
}

async fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// A server under test.
struct Fixture {
    echo: Rc<Echo>,
    budget: Budget,
    server: Rc<Server<Echo>>,
    address: SocketAddr,
}

fn start(limits: ConnectionLimits) -> Fixture {
    let limits = ConnectionLimits {
        request_bytes_max: Budget::request_bytes_max(BUDGET_BYTES_MIN, limits.request_bytes_max),
        ..limits
    };
    let budget = Budget::new(BUDGET_BYTES_MIN, limits.request_bytes_max);
    let echo = Rc::new(Echo {
        seen: RefCell::default(),
        sessions: Cell::new(0),
        gate_open: Rc::default(),
        begun: Rc::default(),
        answers: Answers::new(1 << 20, 1 << 20),
    });
    let crowd = Crowd::new(&limits);
    let server = Server::new(echo.clone(), limits, budget.clone(), crowd);
    let reservation = Reservation::new(ANY, 1).unwrap();
    let address = reservation.address();
    let socket = reservation.into_sockets().pop().unwrap();
    server.serve(socket.listen().unwrap());
    Fixture { echo, budget, server, address }
}

impl Fixture {
    async fn connect(&self) -> Client {
        Client { stream: Stream::connect(self.address).await.unwrap(), received: BytesMut::new() }
    }
}

fn request(key: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(i32::try_from(HEADER + body.len()).unwrap().to_be_bytes());
    frame.extend(key.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(correlation.to_be_bytes());
    frame.extend([0xff, 0xff]);
    frame.extend(body);
    frame
}

struct Client {
    stream: Stream,
    received: BytesMut,
}

impl Client {
    async fn send(&self, correlation: i32, body: &[u8]) {
        self.stream.write_all(&request(KEY, correlation, body)).await.unwrap();
    }

    /// The next response: correlation id and body; none when the server closed.
    async fn answer(&mut self) -> Option<(i32, Bytes)> {
        self.stream.read_to(&mut self.received, 4).await.ok()?;
        let len = usize::try_from(self.received.get_i32()).unwrap();
        self.stream.read_to(&mut self.received, len).await.ok()?;
        let mut response = self.received.split_to(len).freeze();
        let correlation = response.get_i32();
        assert_eq!(response.get_u8(), b'x');
        Some((correlation, response))
    }

    async fn closed(&mut self) -> bool {
        self.received.clear();
        self.received.reserve(16);
        let received = &mut self.received;
        matches!(poll_fn(|cx| self.stream.poll_read(cx, received, 16)).await, Ok(0) | Err(_))
    }
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| if i == 0 { b'e' } else { u8::try_from((i * 31 + seed) % 251).unwrap() }).collect()
}
