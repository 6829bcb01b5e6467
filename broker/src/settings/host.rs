//! What the machine offers this process, asked once.

use std::fs;

/// Memory, CPUs and name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Memory of the machine, or of the control group when that has less.
    pub memory_bytes: u64,
    /// CPUs this process may run on.
    pub cpus: Vec<usize>,
    /// The machine's name.
    pub name: String,
}

impl Host {
    /// Asks the kernel.
    #[must_use]
    pub fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let machine = meminfo_total(&read("/proc/meminfo")).unwrap_or(0);
        let group = read("/sys/fs/cgroup/memory.max").trim().parse().unwrap_or(u64::MAX);
        let cpus = shard::executor::allowed_cpus();
        Self {
            memory_bytes: machine.min(group),
            cpus: if cpus.is_empty() { vec![0] } else { cpus },
            name: read("/proc/sys/kernel/hostname").trim().to_owned(),
        }
    }
}

/// `MemTotal` of /proc/meminfo in bytes.
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        assert_eq!(meminfo_total("MemTotal:       24689664 kB\nMemFree: 1 kB\n"), Some(24_689_664 * 1024));
        assert_eq!(meminfo_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_memory_and_a_cpu() {
        let host = Host::detect();
        assert!(host.memory_bytes > 64 << 20, "{host:?}");
        assert!(!host.cpus.is_empty());
    }
}
