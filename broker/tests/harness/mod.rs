//! What tests of the real binary share: a directory, a broker in it, a small client.

#![allow(dead_code, unused_imports, reason = "every test binary uses a part of it")]

mod broker;
mod client;
pub mod share_group;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub use broker::Broker;
pub use client::{Client, TOPIC, front, put_topic};

/// A directory on the disk of the build: tests of direct I/O cannot use a file system in memory.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("process-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn data_dir(&self) -> String {
        self.0.join("data").display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the target directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with these arguments.
pub fn millrace(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The same, allowed so many open files.
pub fn millrace_with_handles(arguments: &[&str], handles: u32) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n {handles} && exec \"$0\" \"$@\""),
        env!("CARGO_BIN_EXE_millrace"),
    ]);
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Exit code and standard error of a run that ends by itself.
pub fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = millrace(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// All files in and below a directory.
pub fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, into) } else { into.push(path) }
    }
}
