//! The ends that are not clean: what was acknowledged is there afterwards.

use std::thread;
use std::time::Duration;

use super::harness::{Broker, Client, Scratch, files_below};

/// The broker of this directory, asked for the end of its log once it is up again.
fn end_offset_after(data_dir: &str) -> i64 {
    let broker = Broker::start(data_dir, &[]);
    let end = Client::connect(&broker.ready).end_offset();
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
    end
}

/// Waits until answers wait for somebody who takes none.
fn wait_until_stuck(broker: &Broker) {
    let mut before = [0, 0];
    loop {
        let now = [
            broker.metric("millrace_sent_bytes_total{core=\"0\"}"),
            broker.metric("millrace_memory_bytes{core=\"0\",use=\"responses\"}"),
        ];
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
        let broker = Broker::start(&scratch.data_dir(), &[]);
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
        wait_until_stuck(&broker);
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
    // From here on every write to a file fails with EFBIG, whoever runs it, and comes with a signal that would kill it.
    broker.limit(libc::RLIMIT_FSIZE, 0);
    client.produce(b"never acknowledged").expect_err("nothing can be durable any more");
    let (code, _, log) = broker.end();
    assert_eq!(code, Some(5), "{log}");
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "said once: {log}");
    let file = scratch.0.join("data/journals").display().to_string();
    for told in [&*file, "/ring-", " at byte ", "look at the disk", "restart"] {
        assert!(errors[0].contains(told), "{told}: {log}");
    }
    assert_eq!(end_offset_after(&scratch.data_dir()), 1);
}
