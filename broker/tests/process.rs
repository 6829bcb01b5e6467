//! The binary as scripts and supervisors see it: exit codes, the ready line, signals, and what it leaves on disk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "process/client.rs"]
mod client;
#[path = "process/configs.rs"]
mod configs;
#[path = "process/endings.rs"]
mod endings;
#[path = "process/groups.rs"]
mod groups;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory on the disk of the build: tests of direct I/O cannot use a file system in memory.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("process-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn data_dir(&self) -> String {
        self.0.join("data").display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn millrace(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = millrace(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// A running broker on free ports; killed when dropped.
struct Broker {
    process: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: BufReader<std::process::ChildStderr>,
    /// What was read of `stderr`.
    logged: String,
    ready: String,
}

impl Broker {
    fn start(data_dir: &str, more: &[&str]) -> Self {
        let ports = [
            "server",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--memory",
            "128MiB",
            "--cores",
            "1",
        ];
        let mut process = millrace(&ports)
            .args(["--data-dir", data_dir])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let mut broker = Self { process, stdout, stderr, logged: String::new(), ready };
        if !broker.ready.starts_with("ready ") {
            let log = broker.log();
            panic!("no ready line but {:?}; log:\n{log}", broker.ready);
        }
        broker
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.process.id()).unwrap();
        // SAFETY: no memory is involved; the child is ours and not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// From now on it may write to no file: the limit on their size is 0, which holds for whoever runs it.
    fn forbid_writes(&self) {
        let pid = libc::pid_t::try_from(self.process.id()).unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the child is ours and not reaped yet, and `limit` outlives both calls.
        unsafe {
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_FSIZE, std::ptr::null(), &raw mut limit), 0);
            limit.rlim_cur = 0;
            assert_eq!(libc::prlimit(pid, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()), 0);
        }
    }

    /// Waits until it has logged a line with this in it.
    fn wait_for_log(&mut self, text: &str) {
        while !self.logged.lines().any(|line| line.contains(text)) {
            let read = self.stderr.read_line(&mut self.logged).unwrap();
            assert_ne!(read, 0, "it ended without saying {text:?}: {}", self.logged);
        }
    }

    /// What it logged, once it has ended.
    fn log(&mut self) -> String {
        self.stderr.read_to_string(&mut self.logged).unwrap();
        std::mem::take(&mut self.logged)
    }

    /// Exit code, the rest of standard output, and the log.
    fn end(mut self) -> (Option<i32>, String, String) {
        let log = self.log();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap().code(), rest, log)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_bad_command_line_or_configuration_exits_2() {
    for arguments in [
        &["serve"][..],
        &["server", "--nothing"],
        &["dump"],
        &["server", "--set", "log.retenton.ms=1"],
        &["server", "--set", "num.partitions=none"],
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

fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, into) } else { into.push(path) }
    }
}
