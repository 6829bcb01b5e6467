//! Fetches that wait, and what they may and may not get then.

use protocol::control::encode_request;

use super::*;

#[test]
fn who_left_while_it_waited_gets_nothing() {
    let client = client();
    let (_, topic) = join(&client, "a");
    join(&client, "b");
    let asks = |member, epoch, wait_ms| Asks { member, epoch, topic, wait_ms, said: &[] };
    assert_eq!(acquired(&fetch(&client, &asks("a", 0, 0))).0, []);
    let waits = encode_request(2, 7, Some("test"), &fetching(&asks("a", 1, 5_000))).unwrap();
    let mut waiting = client.simulation.run_until(client.begin(waits));
    client.simulation.run_until(async {
        // It waits at the owner before its session ends.
        let asleep = client.simulation.sleep(Duration::from_millis(100));
        futures_lite::future::or(
            async {
                (&mut waiting).await;
                panic!("there was nothing to wait for")
            },
            asleep,
        )
        .await;
    });
    assert_eq!(acknowledge(&client, &asks("a", -1, 0)).error_code, 0);
    put(&client, &["0", "1"]);
    client.simulation.run_until(waiting);
    assert_eq!(acquired(&fetch(&client, &asks("b", 0, 1_000))).0, [(0, 1, 1)], "nobody has had them");
}

#[test]
fn nothing_is_handed_out_in_a_session_that_another_one_followed() {
    let client = client();
    let (_, topic) = join(&client, "a");
    let asks = |epoch, wait_ms| Asks { member: "a", epoch, topic, wait_ms, said: &[] };
    assert_eq!(acquired(&fetch(&client, &asks(0, 0))).0, []);
    let waits = encode_request(2, 7, Some("test"), &fetching(&asks(1, 5_000))).unwrap();
    let mut waiting = client.simulation.run_until(client.begin(waits));
    client.simulation.run_until(async {
        let asleep = client.simulation.sleep(Duration::from_millis(100));
        futures_lite::future::or(async { drop((&mut waiting).await) }, asleep).await;
    });
    assert_eq!(acquired(&fetch(&client, &asks(0, 0))).0, []);
    put(&client, &["0", "1"]);
    client.simulation.run_until(waiting);
    assert_eq!(acquired(&fetch(&client, &asks(1, 1_000))).0, [(0, 1, 1)]);
    assert_eq!(acknowledge(&client, &Asks { said: &[(0, 1, ACCEPT)], ..asks(2, 0) }).error_code, 0);
}

/// As many bytes as are asked for may be more than the records that are.
#[test]
fn who_wants_many_bytes_and_few_records_does_not_wait() {
    let client = client();
    let (_, topic) = join(&client, "a");
    for _ in 0..50 {
        put(&client, &["0", "1"]);
    }
    let before = client.simulation.now_ms();
    for round in 0..5 {
        let asks = Asks { member: "a", epoch: round, topic, wait_ms: 10_000, said: &[] };
        let mut request = fetching(&asks);
        (request.min_bytes, request.max_records, request.batch_size) = (1_000, 4, 4);
        let response: ShareFetchResponse = client.ask(2, &request);
        let first = i64::from(round) * 4;
        assert_eq!(acquired(&response).0, [(first, first + 3, 1)]);
    }
    assert!(client.simulation.now_ms() - before < 10_000, "one of them waited for all of its time");
}

/// How much is read is a guess from what was read before: where it was too small, there is more.
#[test]
fn who_wants_so_many_records_gets_them_whatever_came_before() {
    let client = client();
    let (_, topic) = join(&client, "a");
    let get = |epoch, wanted| {
        let mut request = fetching(&Asks { member: "a", epoch, topic, wait_ms: 1_000, said: &[] });
        (request.max_records, request.share_acquire_mode) = (wanted, 1);
        let response: ShareFetchResponse = client.ask(2, &request);
        acquired(&response).0
    };
    put(&client, &["small"; 40]);
    assert_eq!(get(0, 38), [(0, 37, 1)]);
    let large = "large".repeat(200);
    for _ in 0..9 {
        put(&client, &[&large]);
    }
    assert_eq!(get(1, 6), [(38, 43, 1)], "two of them are the rest of the first batch");
    assert_eq!(get(2, 100), [(44, 48, 1)]);
}
