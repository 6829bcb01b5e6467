//! A running broker, its log and its metrics.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{millrace, millrace_with_handles};

/// What a broker has logged so far; read all the time, so that it never waits for somebody to read.
#[derive(Default)]
struct Log {
    /// The text, and whether it is all there will be.
    text: Mutex<(String, bool)>,
    grew: Condvar,
}

impl Log {
    fn follow(self: &Arc<Self>, stderr: ChildStderr) -> JoinHandle<()> {
        let log = Arc::clone(self);
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                log.text.lock().unwrap().0.push_str(&line);
                log.grew.notify_all();
                line.clear();
            }
            log.text.lock().unwrap().1 = true;
            log.grew.notify_all();
        })
    }

    fn copy(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// A broker on free ports; killed when dropped.
pub struct Broker {
    pub process: Child,
    stdout: BufReader<ChildStdout>,
    log: Arc<Log>,
    follower: Option<JoinHandle<()>>,
    /// Its ready line.
    pub ready: String,
}

impl Broker {
    /// On one core with 128 MiB, unless `more` says otherwise.
    pub fn start(data_dir: &str, more: &[&str]) -> Self {
        Self::run(data_dir, more, millrace)
    }

    /// The same, allowed so many open files.
    pub fn start_with_handles(data_dir: &str, more: &[&str], handles: u32) -> Self {
        Self::run(data_dir, more, |arguments| millrace_with_handles(arguments, handles))
    }

    fn run(data_dir: &str, more: &[&str], command: impl Fn(&[&str]) -> Command) -> Self {
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
        let mut process = command(&ports)
            .args(["--data-dir", data_dir])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let log = Arc::new(Log::default());
        let follower = Some(log.follow(process.stderr.take().unwrap()));
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let mut broker = Self { process, stdout, log, follower, ready };
        if !broker.ready.starts_with("ready ") {
            let log = broker.whole_log();
            panic!("no ready line but {:?}; log:\n{log}", broker.ready);
        }
        broker
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory is involved; the child is ours and not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    fn pid(&self) -> libc::pid_t {
        libc::pid_t::try_from(self.process.id()).unwrap()
    }

    /// Lowers or raises a soft limit of the running process; what it was before.
    pub fn limit(&self, resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the child is ours and not reaped yet, and `limit` outlives both calls.
        unsafe {
            assert_eq!(libc::prlimit(self.pid(), resource, std::ptr::null(), &raw mut limit), 0);
            let before = limit.rlim_cur;
            limit.rlim_cur = soft;
            assert_eq!(libc::prlimit(self.pid(), resource, &raw const limit, std::ptr::null_mut()), 0);
            before
        }
    }

    /// What it has logged so far.
    pub fn logged(&self) -> String {
        self.log.copy()
    }

    /// Waits until it has logged a line with this in it; that line.
    pub fn wait_for_log(&self, text: &str) -> String {
        let mut logged = self.log.text.lock().unwrap();
        loop {
            if let Some(line) = logged.0.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(!logged.1, "it ended without saying {text:?}: {}", logged.0);
            logged = self.log.grew.wait(logged).unwrap();
        }
    }

    /// Everything it logged, once it has ended.
    fn whole_log(&mut self) -> String {
        self.follower.take().map(JoinHandle::join).transpose().unwrap();
        self.log.copy()
    }

    /// Exit code, the rest of standard output, and the log.
    pub fn end(mut self) -> (Option<i32>, String, String) {
        let log = self.whole_log();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.process.wait().unwrap().code(), rest, log)
    }

    /// The value of the metric that begins like this, its labels included.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
    }

    /// All metrics as text.
    pub fn metrics(&self) -> String {
        self.get("/metrics")
    }

    /// What the admin endpoint answers to this path.
    pub fn get(&self, path: &str) -> String {
        let address = self.ready.split_whitespace().find_map(|word| word.strip_prefix("admin=")).unwrap();
        let mut admin = TcpStream::connect(address).unwrap();
        write!(admin, "GET {path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        admin.read_to_string(&mut text).unwrap();
        text
    }

    /// Bytes of a line of /proc/PID/status: VmRSS is memory now, VmHWM the most there was.
    pub fn memory_bytes(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        let kib: u64 = value.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the broker logged:\n{}", self.log.copy());
        }
    }
}
