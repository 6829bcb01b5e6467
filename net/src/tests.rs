//! Connections end to end on loopback: what a peer sends, what the service sees, what comes back in which order.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::poll_fn;

use crate::budget::Budget;
use crate::limits::{BUDGET_BYTES_MIN, ConnectionLimits, Crowd};
use crate::listener::Reservation;
use crate::server::Server;
use crate::service::{Called, Chunk, Peer, Reply, Request, Response, Service};
use crate::stream::{Stream, run, sleep, spawn};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Metadata in its first version: the test service's only API.
const KEY: i16 = 3;
/// Bytes of a request's header without a client id.
const HEADER: usize = 10;

/// Answers a request with its correlation id and body; the body's first byte says how.
#[derive(Default)]
struct Echo {
    seen: RefCell<Vec<i32>>,
    sessions: Cell<usize>,
    gate_open: Rc<Cell<bool>>,
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
        let answer = Reply::Send(Response {
            pieces: vec![
                Chunk::Bytes(Bytes::copy_from_slice(&correlation.to_be_bytes())),
                Chunk::Shared(Rc::new(Vec::from(&b"xx"[..])), 1..2),
                Chunk::Bytes(body.clone()),
            ],
        });
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
            Some(b'b') => {
                wait_until(|| gate.get()).await;
                Called::Now(answer)
            }
            Some(b's') => Called::Now(Reply::Silent),
            Some(b'c') => Called::Now(Reply::Close("the test asked for it".into())),
            Some(b'p') => panic!("the test asked for it"),
            Some(b'o') => {
                let outside = Chunk::Shared(Rc::new([0u8; 4]), 2..8);
                Called::Now(Reply::Send(Response { pieces: vec![outside] }))
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
    let echo = Rc::new(Echo::default());
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

#[test]
fn answers_come_in_request_order_whatever_is_ready_first() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        for correlation in 0..40 {
            client.send(correlation, if correlation % 3 == 0 { b"s" } else { b"r" }).await;
        }
        for correlation in (0..40).filter(|n| n % 3 != 0) {
            assert_eq!(client.answer().await.unwrap(), (correlation, Bytes::from_static(b"r")));
        }
        assert_eq!(*fixture.echo.seen.borrow(), (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn frames_of_every_size_arrive_whole() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        let sizes =
            [1, 2000, 2037, 2038, 2039, 5000, 60_000, 65_518, 65_522, 65_526, 70_000, 300_000, 3 << 20, 7];
        let bodies: Vec<_> = sizes.iter().enumerate().map(|(seed, size)| pattern(*size, seed)).collect();
        for round in 0..3 {
            let mut all = Vec::new();
            for (body, correlation) in bodies.iter().zip(0..) {
                all.extend(request(KEY, correlation + 100 * round, body));
            }
            let stream = Rc::new(client.stream);
            let sender = stream.clone();
            // Odd pieces, so that lengths and headers are torn everywhere.
            spawn(async move {
                for piece in all.chunks(40_961) {
                    sender.write_all(piece).await.unwrap();
                }
                drop(sender);
            });
            for (body, correlation) in bodies.iter().zip(0..) {
                let mut received = std::mem::take(&mut client.received);
                stream.read_to(&mut received, 9 + body.len()).await.unwrap();
                assert_eq!(received.get_i32(), i32::try_from(5 + body.len()).unwrap());
                assert_eq!((received.get_i32(), received.get_u8()), (correlation + 100 * round, b'x'));
                assert!(received.split_to(body.len()) == body, "{} bytes changed on the way", body.len());
                client.received = received;
            }
            wait_until(|| Rc::strong_count(&stream) == 1).await;
            client.stream = Rc::try_unwrap(stream).unwrap();
        }
        assert_eq!(fixture.budget.used(), 0, "every request gave its memory back");
    });
}

#[test]
fn a_bad_frame_costs_its_own_connection_only() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut good = fixture.connect().await;
        let too_large = (5i32 << 20).to_be_bytes();
        for bad in [&[0xff; 4][..], &[0, 0, 0, 0], &too_large, b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0]]
        {
            let mut client = fixture.connect().await;
            client.send(1, b"e").await;
            client.stream.write_all(bad).await.unwrap();
            assert!(client.answer().await.is_some(), "what came before is answered");
            assert!(client.closed().await);
        }
        good.send(7, b"e").await;
        assert_eq!(good.answer().await.unwrap().0, 7);
        wait_until(|| fixture.server.traffic().open.get() == 1).await;
        assert_eq!(fixture.server.traffic().faulted.get(), 5);
    });
}

#[test]
fn unsupported_requests_panics_and_failed_replies_close_the_connection() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut good = fixture.connect().await;
        let mut unsupported = fixture.connect().await;
        unsupported.stream.write_all(&request(0x1234, 1, b"e")).await.unwrap();
        assert!(unsupported.closed().await);
        for body in [b"p", b"c", b"o"] {
            let mut client = fixture.connect().await;
            client.send(1, body).await;
            assert!(client.closed().await);
        }
        good.send(2, b"e").await;
        assert_eq!(good.answer().await.unwrap().0, 2);
        assert_eq!(*fixture.echo.seen.borrow(), [1, 1, 1, 2]);
    });
}

#[test]
fn a_connection_with_enough_in_flight_is_not_read() {
    run(async {
        let fixture = start(ConnectionLimits { in_flight_max: 5, ..ConnectionLimits::default() });
        let mut client = fixture.connect().await;
        for correlation in 0..20 {
            client.send(correlation, b"g").await;
        }
        wait_until(|| fixture.echo.seen.borrow().len() == 5).await;
        sleep(Duration::from_millis(30)).await;
        assert_eq!(fixture.echo.seen.borrow().len(), 5);
        fixture.echo.gate_open.set(true);
        for correlation in 0..20 {
            assert_eq!(client.answer().await.unwrap().0, correlation);
        }
    });
}

#[test]
fn nothing_is_read_while_a_request_finds_no_place() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        client.send(0, b"b").await;
        client.send(1, b"e").await;
        wait_until(|| fixture.echo.seen.borrow().len() == 1).await;
        sleep(Duration::from_millis(30)).await;
        assert_eq!(fixture.echo.seen.borrow().len(), 1);
        fixture.echo.gate_open.set(true);
        assert_eq!(client.answer().await.unwrap().0, 0);
        assert_eq!(client.answer().await.unwrap().0, 1);
    });
}

#[test]
fn more_half_requests_than_memory_finish_all_the_same() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        // 4 MiB ordinary, 4 MiB reserve; twelve requests of 1 MiB, each half sent before any is completed.
        let body = pattern(1 << 20, 3);
        let mut clients = Vec::new();
        for correlation in 0..12 {
            let client = fixture.connect().await;
            let all = Rc::new(request(KEY, correlation, &body));
            let stream = Rc::new(client.stream);
            let (half, sender) = (all.clone(), stream.clone());
            spawn(async move { sender.write_all(&half[..half.len() / 2]).await.unwrap() });
            clients.push((stream, all, correlation));
        }
        wait_until(|| fixture.budget.used() > (3 << 20)).await;
        wait_until(|| clients.iter().all(|(_, all, _)| Rc::strong_count(all) == 1)).await;
        for (stream, all, _) in &clients {
            let (rest, sender) = (all.clone(), stream.clone());
            spawn(async move { sender.write_all(&rest[rest.len() / 2..]).await.unwrap() });
        }
        for (stream, _, correlation) in clients {
            let mut received = BytesMut::new();
            stream.read_to(&mut received, 9 + body.len()).await.unwrap();
            received.advance(4);
            assert_eq!((received.get_i32(), received.get_u8()), (correlation, b'x'));
            assert!(received == body);
        }
        assert_eq!((fixture.budget.used(), fixture.budget.reserve_taken()), (0, false));
    });
}

#[test]
fn an_idle_connection_is_closed_and_one_that_waits_for_us_is_not() {
    run(async {
        let idle = Some(Duration::from_millis(60));
        let fixture = start(ConnectionLimits { idle, ..ConnectionLimits::default() });
        let mut waiting = fixture.connect().await;
        waiting.send(1, b"g").await;
        let mut quiet = fixture.connect().await;
        assert!(quiet.closed().await);
        sleep(Duration::from_millis(120)).await;
        fixture.echo.gate_open.set(true);
        assert_eq!(waiting.answer().await.unwrap().0, 1);
        assert!(waiting.closed().await);
    });
}

#[test]
fn draining_answers_what_is_in_flight_and_takes_nothing_new() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        let mut idle = fixture.connect().await;
        client.send(1, b"g").await;
        wait_until(|| fixture.echo.seen.borrow().len() == 1).await;
        let server = fixture.server.clone();
        let cut_off = Rc::new(Cell::new(None));
        let result = cut_off.clone();
        spawn(async move { result.set(Some(server.drain(Duration::from_secs(60)).await)) });
        assert!(idle.closed().await);
        client.send(2, b"e").await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(cut_off.get(), None);
        fixture.echo.gate_open.set(true);
        assert_eq!(client.answer().await.unwrap().0, 1);
        assert!(client.closed().await);
        wait_until(|| cut_off.get().is_some()).await;
        assert_eq!(cut_off.get(), Some(0));
        assert_eq!(*fixture.echo.seen.borrow(), [1]);
        assert!(Stream::connect(fixture.address).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn draining_does_not_wait_for_ever() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let client = fixture.connect().await;
        client.send(1, b"g").await;
        wait_until(|| fixture.echo.seen.borrow().len() == 1).await;
        assert_eq!(fixture.server.drain(Duration::from_millis(30)).await, 1);
        assert_eq!(fixture.server.traffic().open.get(), 0);
    });
}

#[test]
fn a_full_house_lets_the_next_one_in_when_one_leaves() {
    run(async {
        let fixture = start(ConnectionLimits { connections_max: 1, ..ConnectionLimits::default() });
        let first = fixture.connect().await;
        first.send(1, b"e").await;
        wait_until(|| fixture.echo.seen.borrow().len() == 1).await;
        let mut second = fixture.connect().await;
        second.send(2, b"e").await;
        sleep(Duration::from_millis(60)).await;
        assert_eq!(fixture.echo.seen.borrow().len(), 1);
        drop(first);
        assert_eq!(second.answer().await.unwrap().0, 2);
    });
}

#[test]
fn a_port_that_somebody_has_is_not_shared() {
    run(async {
        let reservation = Reservation::new(ANY, 3).unwrap();
        let address = reservation.address();
        assert_ne!(address.port(), 0);
        assert!(Stream::connect(address).await.is_err(), "reserved is not listening");
        let listeners: Vec<_> = reservation.into_sockets().into_iter().map(|s| s.listen().unwrap()).collect();
        assert!(listeners.iter().all(|listener| listener.address() == address));
        let error =
            Reservation::new(address, 1).expect_err("the port is taken, though its holder would share it");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        drop(listeners);
        Reservation::new(address, 1).unwrap();
    });
}
