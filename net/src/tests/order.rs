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
fn an_answer_in_turn_begins_when_its_turn_has_come() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        client.send(0, b"g").await;
        for correlation in 1..40 {
            client.send(correlation, if correlation % 4 == 0 { b"r" } else { b"t" }).await;
        }
        wait_until(|| fixture.echo.seen.borrow().len() == 40).await;
        sleep(Duration::from_millis(30)).await;
        assert_eq!(fixture.echo.begun.get(), 0, "the first is not answered");
        fixture.echo.gate_open.set(true);
        for correlation in 0..40 {
            assert_eq!(client.answer().await.unwrap().0, correlation);
        }
        assert_eq!(fixture.echo.begun.get(), 30);
    });
}

#[test]
fn answers_in_turn_to_one_who_does_not_listen_are_few() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let mut client = fixture.connect().await;
        client.send(0, b"g").await;
        let body = [&b"t"[..], &[7; 300_000]].concat();
        for correlation in 1..60 {
            client.send(correlation, &body).await;
        }
        wait_until(|| fixture.echo.seen.borrow().len() == 60).await;
        fixture.echo.gate_open.set(true);
        // What the kernel takes, and those on their way.
        sleep(Duration::from_millis(100)).await;
        assert!(fixture.echo.begun.get() < 50, "{}", fixture.echo.begun.get());
        let answer_bytes = fixture.server.traffic().answer_bytes.get();
        assert!((1 << 20..2 << 20).contains(&answer_bytes), "{answer_bytes}");
        for correlation in 0..60 {
            assert_eq!(client.answer().await.unwrap().0, correlation);
        }
        assert_eq!(fixture.echo.begun.get(), 59);
    });
}

#[test]
fn while_answers_are_too_many_only_who_takes_them_is_heard() {
    run(async {
        let fixture = start(ConnectionLimits { answer_bytes_max: 10_000_000, ..ConnectionLimits::default() });
        let (mut deaf, mut listens) = (fixture.connect().await, fixture.connect().await);
        // Held back by the first, which waits.
        deaf.send(0, b"g").await;
        let body = vec![b'e'; 3_500_000];
        for correlation in 1..3 {
            deaf.send(correlation, &body).await;
        }
        let traffic = fixture.server.traffic();
        wait_until(|| traffic.answer_bytes.get() > 7_000_000).await;
        assert!(!traffic.is_crowded());
        deaf.send(3, &body).await;
        wait_until(|| traffic.is_crowded()).await;
        for correlation in 0..10 {
            listens.send(correlation, b"e").await;
            assert_eq!(listens.answer().await.unwrap().0, correlation, "one that listens feels nothing");
        }
        fixture.echo.gate_open.set(true);
        for correlation in 0..4 {
            assert_eq!(deaf.answer().await.unwrap().0, correlation);
        }
        wait_until(|| !traffic.is_crowded()).await;
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
