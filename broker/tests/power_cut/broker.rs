//! A broker under test, with its log in a file.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A broker under test; killed when dropped.
pub struct Broker {
    pub process: Child,
    /// Where clients connect.
    pub address: String,
    /// Where it tells its metrics.
    pub admin: String,
    log: PathBuf,
}

impl Broker {
    /// Starts it and does not wait.
    pub fn launch(binary: &Path, data_dir: &Path, log: &Path, more: &[String]) -> Self {
        let mut command = Command::new(binary);
        command.args(["server", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"]);
        command.arg(data_dir).args(more).env_remove("RUST_LOG").env("NO_COLOR", "1");
        let log_file = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let process = command.spawn().expect("the binary starts");
        Self { process, address: String::new(), admin: String::new(), log: log.to_owned() }
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// How it ended instead, with its log.
    pub fn ready(mut self) -> Result<Self, String> {
        let stdout = self.process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let word = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
        match (word("kafka="), word("admin=")) {
            (Some(address), Some(admin)) => {
                (self.address, self.admin) = (address.to_owned(), admin.to_owned());
                Ok(self)
            }
            _ => {
                let status = self.process.wait().map_err(|error| error.to_string())?;
                Err(format!("it did not start: {status}\n{}", self.log()))
            }
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The sum of a metric over the cores.
    pub fn metric(&self, name: &str) -> u64 {
        let mut admin = TcpStream::connect(&self.admin).expect("it serves");
        let request = b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
        admin.write_all(request).expect("it listens");
        let mut text = String::new();
        admin.read_to_string(&mut text).expect("it answers");
        let of =
            |line: &str| line.strip_prefix(name)?.strip_prefix('{')?.rsplit(' ').next()?.trim().parse().ok();
        let values: Vec<u64> = text.lines().filter_map(of).collect();
        assert!(!values.is_empty(), "no {name} in {text}");
        values.iter().sum()
    }

    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to stop and waits for that; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let pid = libc::pid_t::try_from(self.process.id()).expect("a process id");
        // SAFETY: no memory is involved; the child is ours and not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        self.process.wait().expect("it is ours").code()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Copies a directory with everything in it.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("a readable directory");
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).expect("a copy");
        }
    }
}
