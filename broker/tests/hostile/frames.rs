//! Bytes that are no request, and requests of kinds that are not served.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;

use bytes::BytesMut;

use super::beside::Scene;
use super::harness::front;

#[test]
fn bytes_that_are_no_request_close_the_connection_and_say_why() {
    let scene = Scene::new(&[]);
    let shapes: [(&[u8], &str); 6] = [
        (&i32::MAX.to_be_bytes(), "a request of 2147483647 bytes is over socket.request.max.bytes"),
        (&(-1_i32).to_be_bytes(), "a request cannot have -1 bytes"),
        (&i32::MIN.to_be_bytes(), "a request cannot have -2147483648 bytes"),
        (&[0; 4], "a request cannot have 0 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "a request of 1195725856 bytes is over"),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1], "over socket.request.max.bytes"),
    ];
    for (bytes, reason) in shapes {
        let mut client = scene.client();
        client.0.write_all(bytes).unwrap();
        client.receive().expect_err("nothing to answer");
        scene.broker.wait_for_log(reason);
    }
    // Requests of unknown kinds and versions.
    for (key, version, reason) in [
        (99, 0, "API key 99 (unknown) in version 0: not supported"),
        (-1, 0, "API key -1 (unknown)"),
        (0, 2, "API key 0 (Produce) in version 2: not supported"),
        (3, i16::MAX, "API key 3 (Metadata) in version 32767: not supported"),
        (1, -1, "API key 1 (Fetch) in version -1: not supported"),
    ] {
        let mut client = scene.client();
        client.send(&front(key, version)).unwrap();
        client.receive().expect_err("nothing to answer");
        scene.broker.wait_for_log(reason);
    }
    random_bytes(&scene);
    scene.end();
}

/// Random bytes, and frames of them behind a header that is right: closed or answered, never more than that.
fn random_bytes(scene: &Scene) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..=random() % 100).flat_map(|_| random().to_be_bytes()).collect();
        let mut client = scene.client();
        // It may be closed before all of them are there.
        let _ = client.0.write_all(&bytes);
        let _ = client.0.shutdown(Shutdown::Write);
        let error = client.receive().expect_err("nothing to answer");
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "random bytes hang");
    }
    for round in 0..400 {
        let api = protocol::api::APIS[round % protocol::api::APIS.len()];
        let mut frame: BytesMut = front(api.key.number(), api.max);
        for _ in 0..random() % 200 {
            frame.extend_from_slice(&random().to_be_bytes());
        }
        let mut client = scene.client();
        client.send(&frame).unwrap();
        client.0.shutdown(Shutdown::Write).unwrap();
        // An answer or the end; a hang is an error of the read's timeout, which is neither.
        if let Err(error) = client.receive() {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "{} hangs", api.name);
        }
    }
}
