//! Frames of every size, whole, torn and bad.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::{KEY, pattern, request, start, wait_until};
use crate::limits::ConnectionLimits;
use crate::stream::{run, sleep, spawn};

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
fn small_requests_pass_where_large_ones_wait() {
    run(async {
        let fixture = start(ConnectionLimits::default());
        let large = request(KEY, 0, &vec![b'e'; 3 << 20]);
        let mut holders = Vec::new();
        for _ in 0..150 {
            let holder = fixture.connect().await;
            holder.stream.write_all(&large[..100_000]).await.unwrap();
            holders.push(holder);
        }
        wait_until(|| fixture.budget.large_ones_wait()).await;
        let mut client = fixture.connect().await;
        for correlation in 0..10 {
            // However its bytes come.
            let small = request(KEY, correlation, &[b'e'; 3000]);
            for cut in [&small[..2], &small[2..4], &small[4..50], &small[50..]] {
                client.stream.write_all(cut).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(client.answer().await.unwrap().0, correlation);
        }
        assert!(fixture.budget.large_ones_wait(), "they did not have to go for that");
        assert_eq!(fixture.echo.seen.borrow().len(), 10);
    });
}
