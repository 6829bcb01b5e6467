//! Which request is read when, whose answer leaves when, and what answers weigh until then.

use std::time::Duration;

use bytes::Bytes;

use super::{start, wait_until};
use crate::limits::ConnectionLimits;
use crate::stream::{run, sleep};

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
fn an_answer_weighs_until_it_is_sent_whoever_charges_it() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        for (correlation, body) in [(0, &b"g"[..]), (1, &[b'e'; 1000]), (2, &[b'a'; 500])] {
            client.send(correlation, body).await;
        }
        wait_until(|| fixture.echo.seen.borrow().len() == 3).await;
        let traffic = fixture.server.traffic();
        // Correlation id, a byte between, and the body: known, and behind one that is not.
        wait_until(|| (traffic.answer_bytes.get(), fixture.echo.answers.used()) == (1005, 505)).await;
        fixture.echo.gate_open.set(true);
        for correlation in 0..3 {
            assert_eq!(client.answer().await.unwrap().0, correlation);
        }
        wait_until(|| (traffic.answer_bytes.get(), fixture.echo.answers.used()) == (0, 0)).await;
    });
}

#[test]
fn answers_that_are_never_sent_give_back_what_they_weigh() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let client = fixture.connect().await;
        for (correlation, body) in [(0, &b"g"[..]), (1, &[b'e'; 1000]), (2, &[b'a'; 500])] {
            client.send(correlation, body).await;
        }
        let traffic = fixture.server.traffic();
        wait_until(|| (traffic.answer_bytes.get(), fixture.echo.answers.used()) == (1005, 505)).await;
        assert_eq!(fixture.server.drain(Duration::from_millis(30)).await, 1);
        assert_eq!((traffic.answer_bytes.get(), fixture.echo.answers.used()), (0, 0));
    });
}
