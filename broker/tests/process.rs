//! The binary as scripts and supervisors see it: exit codes, the ready line, signals, and what it leaves on disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod harness;

#[path = "process/admin.rs"]
mod admin;
#[path = "process/compaction.rs"]
mod compaction;
#[path = "process/configs.rs"]
mod configs;
#[path = "process/consumers.rs"]
mod consumers;
#[path = "process/endings.rs"]
mod endings;
#[path = "process/groups.rs"]
mod groups;
#[path = "process/metrics.rs"]
mod metrics;
#[path = "process/shares.rs"]
mod shares;

use std::fs;
use std::path::Path;

use harness::{Broker, Scratch, files_below, run};

#[test]
fn a_bad_command_line_or_configuration_exits_2() {
    for arguments in [
        &["serve"][..],
        &["server", "--nothing"],
        &["dump"],
        &["server", "--set", "log.retenton.ms=1"],
        &["server", "--set", "num.partitions=none"],
        &["server", "--set", "group.share.max.share.sessions=199"],
        &["server", "--config", "/nonexistent.properties"],
        &["server", "--listen", "nowhere"],
        &["server", "--cores", "100000"],
        &["server", "--memory", "1KiB"],
    ] {
        assert_eq!(run(arguments).0, Some(2), "{arguments:?}");
    }
    let (_, log) = run(&["server", "--set", "log.retenton.ms=1"]);
    assert!(log.contains("nearest known one is log.retention.ms"), "{log}");
}

#[test]
fn a_machine_that_cannot_run_it_exits_3_and_says_what_to_change() {
    let memory = Path::new("/dev/shm");
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if !mounts.lines().any(|line| line.split(' ').nth(1) == Some("/dev/shm")) {
        return;
    }
    let data_dir = memory.join(format!("millrace-process-{}", std::process::id()));
    let (code, log) = run(&["server", "--data-dir", data_dir.to_str().unwrap()]);
    let check = run(&["check", "--data-dir", data_dir.to_str().unwrap()]).0;
    fs::remove_dir_all(&data_dir).unwrap();
    assert_eq!((code, check), (Some(3), Some(3)), "{log}");
    assert!(log.contains("put --data-dir on a disk"), "{log}");
}

#[test]
fn one_line_when_it_serves_and_0_when_asked_to_stop() {
    let scratch = Scratch::new();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let broker =
            Broker::start(&scratch.data_dir(), &["--log-format", "json", "--set", "num.io.threads=8"]);
        let words: Vec<&str> = broker.ready.split_whitespace().collect();
        let pid = format!("pid={}", broker.process.id());
        assert!(
            words[1].starts_with("kafka=127.0.0.1:") && words[2].starts_with("admin=127.0.0.1:"),
            "{words:?}"
        );
        assert!(words[3] == pid && words[4].starts_with("recovered_ms=") && words.len() == 5, "{words:?}");
        assert!(!broker.ready.contains(":0 "), "port 0 picks one: {}", broker.ready);
        broker.signal(signal);
        let (code, rest, log) = broker.end();
        assert_eq!((code, rest.as_str()), (Some(0), ""), "{log}");
        assert_eq!(log.matches("num.io.threads (--set) has no effect").count(), 1, "{log}");
        assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{log}");
    }
}

#[test]
fn a_second_broker_exits_4_and_the_first_goes_on() {
    let scratch = Scratch::new();
    let data_dir = scratch.data_dir();
    let first = Broker::start(&data_dir, &[]);
    let (code, log) =
        run(&["server", "--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains(&format!("process {}", first.process.id())), "{log}");
    first.signal(libc::SIGTERM);
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn a_taken_port_exits_3() {
    let scratch = Scratch::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data_dir = scratch.data_dir();
    let ports = [("--listen", "--admin"), ("--admin", "--listen")];
    for (one, other) in ports {
        let (code, log) = run(&["server", "--data-dir", &data_dir, one, &address, other, "127.0.0.1:0"]);
        assert_eq!(code, Some(3), "{one}: {log}");
        assert!(log.contains(&address), "{log}");
    }
}

#[test]
fn every_file_left_behind_can_be_dumped_and_damage_exits_4() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    broker.signal(libc::SIGTERM);
    assert_eq!(broker.end().0, Some(0));
    let mut files = Vec::new();
    files_below(&scratch.0.join("data"), &mut files);
    files.retain(|path| path.file_name().is_some_and(|name| name != "meta.properties" && name != ".lock"));
    assert!(!files.is_empty(), "a broker that ran leaves at least its metadata");
    let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let (code, errors) = run(&[&["dump"], paths.as_slice()].concat());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for path in &files {
        let mut bytes = fs::read(path).unwrap();
        bytes[9] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let (code, errors) = run(&[&["dump"], paths.as_slice()].concat());
    assert_eq!(code, Some(4));
    // One for each file and one in the end.
    assert_eq!(errors.lines().count(), files.len() + 1, "{errors}");
}
