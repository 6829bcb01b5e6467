//! How connections begin and end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{ANY, start, wait_until};
use crate::limits::ConnectionLimits;
use crate::listener::Reservation;
use crate::stream::{Stream, run, sleep, spawn};

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
