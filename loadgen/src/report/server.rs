//! What the server's process cost, from `/proc`: CPU, memory, context switches, disk bytes, threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// `USER_HZ`: what `/proc` counts CPU time in is fixed at 100 a second for every architecture that glommio runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the server's process used in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// CPU in user mode, in seconds.
    pub cpu_user_s: f64,
    /// CPU in the kernel, in seconds.
    pub cpu_system_s: f64,
    /// Resident memory at the end, in bytes.
    pub resident: u64,
    /// Threads at the end.
    pub threads: u64,
    /// Times a thread waited.
    pub switches_voluntary: u64,
    /// Times a thread was made to wait.
    pub switches_involuntary: u64,
    /// Bytes read from disks; `None` where `/proc/PID/io` may not be read.
    pub disk_read: Option<u64>,
    /// Bytes written to disks, or to pages that will be; `None` as above.
    pub disk_written: Option<u64>,
}

impl ServerUse {
    /// CPU in either mode, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.cpu_user_s + self.cpu_system_s
    }
}

/// Counters of a process since its start.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    user_ticks: u64,
    system_ticks: u64,
    started: u64,
    threads: u64,
    resident: u64,
    io: Option<(u64, u64)>,
    /// Voluntary and involuntary switches by thread.
    switches: BTreeMap<u64, (u64, u64)>,
}

/// Looks at one process, again and again.
#[derive(Debug)]
pub struct ServerSampler {
    dir: PathBuf,
    last: Counters,
}

impl ServerSampler {
    /// Begins to watch a process of this machine. Fails when there is none, or it may not be looked at.
    pub fn new(pid: u32) -> io::Result<Self> {
        Self::below(Path::new("/proc"), pid)
    }

    /// The same with another place for `/proc`.
    pub fn below(proc: &Path, pid: u32) -> io::Result<Self> {
        let dir = proc.join(pid.to_string());
        let last = Counters::read(&dir)?;
        Ok(ServerSampler { dir, last })
    }

    /// What was used since the last call, or since the watch began. Fails once the process is gone, also when another
    /// one has got its id.
    pub fn sample(&mut self) -> io::Result<ServerUse> {
        let now = Counters::read(&self.dir)?;
        if now.started != self.last.started {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another process has this id now"));
        }
        let used = now.since(&self.last);
        self.last = now;
        Ok(used)
    }
}

impl Counters {
    fn read(dir: &Path) -> io::Result<Counters> {
        let mut counters = parse_stat(&fs::read_to_string(dir.join("stat"))?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "stat is not as expected"))?;
        let status = fs::read_to_string(dir.join("status"))?;
        counters.resident = field(&status, "VmRSS:").unwrap_or(0) * 1024;
        // Another user's process hides this one; everything else is still worth having.
        counters.io = fs::read_to_string(dir.join("io"))
            .ok()
            .and_then(|text| Some((field(&text, "read_bytes:")?, field(&text, "write_bytes:")?)));
        // The process's own status counts its first thread only.
        for entry in fs::read_dir(dir.join("task"))?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end between the listing and here.
            let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
            let voluntary = field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            let involuntary = field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
            counters.switches.insert(id, (voluntary, involuntary));
        }
        Ok(counters)
    }

    fn since(&self, last: &Counters) -> ServerUse {
        let mut switches = (0, 0);
        for (id, (voluntary, involuntary)) in &self.switches {
            let before = last.switches.get(id).copied().unwrap_or_default();
            switches.0 += voluntary.saturating_sub(before.0);
            switches.1 += involuntary.saturating_sub(before.1);
        }
        let seconds = |now: u64, before: u64| now.saturating_sub(before) as f64 / TICKS_PER_SECOND;
        let io = self.io.zip(last.io);
        ServerUse {
            cpu_user_s: seconds(self.user_ticks, last.user_ticks),
            cpu_system_s: seconds(self.system_ticks, last.system_ticks),
            resident: self.resident,
            threads: self.threads,
            switches_voluntary: switches.0,
            switches_involuntary: switches.1,
            disk_read: io.map(|(now, before)| now.0.saturating_sub(before.0)),
            disk_written: io.map(|(now, before)| now.1.saturating_sub(before.1)),
        }
    }
}

/// The fields we need of `/proc/PID/stat`. The name may hold spaces and parentheses: what counts begins behind the last.
fn parse_stat(text: &str) -> Option<Counters> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Counters {
        user_ticks: number(11)?,
        system_ticks: number(12)?,
        threads: number(17)?,
        started: number(19)?,
        ..Counters::default()
    })
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, user: u64, system: u64, started: u64, threads: &[(u64, u64, u64)]) {
        let stat = format!(
            "7 (a ) (b) S 1 7 7 0 -1 4194560 1 2 3 4 {user} {system} 0 0 20 0 {} 0 {started} 1000 50 0",
            threads.len()
        );
        let _ = fs::remove_dir_all(dir.join("task"));
        fs::create_dir_all(dir.join("task")).expect("directory");
        fs::write(dir.join("stat"), stat).expect("file");
        fs::write(dir.join("status"), "Name:\ta\nVmHWM:\t 900 kB\nVmRSS:\t     200 kB\n").expect("file");
        fs::write(dir.join("io"), format!("rchar: 1\nread_bytes: {user}\nwrite_bytes: {}\n", system * 10))
            .expect("file");
        for (id, voluntary, involuntary) in threads {
            let task = dir.join("task").join(id.to_string());
            fs::create_dir_all(&task).expect("directory");
            let text = format!(
                "Name:\tx\nvoluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{involuntary}\n"
            );
            fs::write(task.join("status"), text).expect("file");
        }
    }

    #[test]
    fn what_was_used_is_the_difference_and_threads_come_and_go() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("7");
        put(&dir, 100, 50, 9, &[(7, 10, 1), (8, 1000, 100)]);
        let mut sampler = ServerSampler::below(root.path(), 7).expect("there");
        put(&dir, 150, 75, 9, &[(7, 15, 3), (9, 4, 2)]);
        let used = sampler.sample().expect("there");
        let expected = ServerUse {
            cpu_user_s: 0.5,
            cpu_system_s: 0.25,
            resident: 200 * 1024,
            threads: 2,
            // Thread 8 ended: what it had counted must not be taken off; thread 9 is new.
            switches_voluntary: 9,
            switches_involuntary: 4,
            disk_read: Some(50),
            disk_written: Some(250),
        };
        assert_eq!(used, expected);
        let again = sampler.sample().expect("there");
        assert_eq!((again.cpu_s(), again.switches_voluntary, again.disk_read), (0.0, 0, Some(0)));
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("7");
        put(&dir, 100, 50, 9, &[(7, 10, 1)]);
        let mut sampler = ServerSampler::below(root.path(), 7).expect("there");
        put(&dir, 1, 1, 10, &[(7, 1, 1)]);
        assert!(sampler.sample().is_err());
        fs::remove_dir_all(&dir).expect("removable");
        assert!(sampler.sample().is_err());
        assert!(ServerSampler::below(root.path(), 7).is_err());
    }

    #[test]
    fn broken_files_are_errors_or_nothing() {
        for text in ["", "7 a S 1", "7 (a) S 1 2", "7 (a) S 1 7 7 0 -1 4 1 2 3 4 x 5 0 0 20 0 1 0 9 1"] {
            assert!(parse_stat(text).is_none(), "{text}");
        }
        assert_eq!(field("VmRSS:\n", "VmRSS:"), None);
        assert_eq!(field("VmRSS: 12 kB", "VmRSS:"), Some(12));
    }

    #[test]
    fn this_process_can_be_watched() {
        let mut sampler = ServerSampler::new(std::process::id()).expect("ourselves");
        let used = sampler.sample().expect("ourselves");
        assert!(used.resident > 100_000 && used.threads >= 1, "{used:?}");
    }
}
