//! The ends that are not clean: what was acknowledged is there afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::client::Client;
use super::{Broker, Scratch, files_below};

/// The broker of this directory, asked for the end of its log once it is up again.
fn end_offset_after(data_dir: &str) -> i64 {
    let broker = Broker::start(data_dir, &[]);
    let end = Client::connect(&broker.ready).end_offset();
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
    end
}

/// Bytes sent so far, and bytes of answers on their way.
fn sent_and_unsent(ready: &str) -> [u64; 2] {
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("admin=")).unwrap();
    let mut admin = TcpStream::connect(address).unwrap();
    admin.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    admin.read_to_string(&mut text).unwrap();
    ["millrace_sent_bytes_total{core=\"0\"}", "millrace_memory_bytes{core=\"0\",use=\"responses\"}"].map(
        |name| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
        },
    )
}

/// Waits until answers wait for somebody who takes none.
fn wait_until_stuck(ready: &str) {
    let mut before = [0, 0];
    loop {
        let now = sent_and_unsent(ready);
        if now == before && now[1] > 0 {
            return;
        }
        before = now;
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn asked_twice_it_ends_at_once_and_keeps_what_it_acknowledged() {
    let scratch = Scratch::new();
    for (round, second) in (1..).zip([libc::SIGTERM, libc::SIGINT]) {
        let mut broker = Broker::start(&scratch.data_dir(), &[]);
        let mut client = Client::connect(&broker.ready);
        if round == 1 {
            client.create_topic();
        }
        for _ in 0..4 {
            client.produce(&[b'x'; 250_000]).unwrap();
        }
        // A clean stop waits for somebody who takes no answers: 60 MiB are more than sockets hold.
        let mut deaf = Client::connect(&broker.ready);
        deaf.fetch_without_listening(60);
        wait_until_stuck(&broker.ready);
        broker.signal(libc::SIGTERM);
        broker.wait_for_log("stopping");
        broker.signal(second);
        let (code, _, log) = broker.end();
        assert_eq!(code, Some(128 + second), "{log}");
        assert!(log.contains("asked to stop again"), "{log}");
        assert_eq!(end_offset_after(&scratch.data_dir()), 4 * round);
    }
}

/// Waits until the file that the journal goes on in is made, so that what fails next is a commit.
fn wait_for_spare_journal_file(scratch: &Scratch) {
    loop {
        let mut files = Vec::new();
        files_below(&scratch.0.join("data/journals"), &mut files);
        files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("ring-"));
        let sizes: Vec<_> = files.iter().map(|path| path.metadata().unwrap().len()).collect();
        if sizes.len() == 2 && sizes[0] == sizes[1] {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn storage_that_fails_exits_5_and_loses_nothing_acknowledged() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    assert_eq!(client.produce(b"durable").unwrap(), 0);
    wait_for_spare_journal_file(&scratch);
    // From here on every write to a file fails with EFBIG, and comes with a signal that would kill it.
    broker.forbid_writes();
    client.produce(b"never acknowledged").expect_err("nothing can be durable any more");
    let (code, _, log) = broker.end();
    assert_eq!(code, Some(5), "{log}");
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "said once: {log}");
    assert!(errors[0].contains("journal") && errors[0].contains("restart"), "{log}");
    assert_eq!(end_offset_after(&scratch.data_dir()), 1);
}
