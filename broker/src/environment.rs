//! Whether this machine can run a broker: the facts judged, each with what to change. Behind `millrace check` and
//! behind exit code 3.

pub mod handles;

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use storage::disk::probe::{Directory, Limit, Machine};

use crate::fatal::{Exit, Fatal};
use crate::settings::values::shown;

/// The oldest kernel whose io_uring has every operation that is used.
const KERNEL_MIN: (u32, u32) = (5, 6);
/// An executor does not start below this.
const MEMLOCK_MIN: u64 = 512 << 10;
/// Without this many handles a broker is of little use.
const OPEN_FILES_MIN: u64 = 256;
/// Connections and segments of a busy broker.
const OPEN_FILES_GOOD: u64 = 16_384;
/// Journal rings and first segments need some room.
const FREE_BYTES_GOOD: u64 = 1 << 30;
const BLOCK: u64 = model::limits::BLOCK as u64;

/// What a fact means for a broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing to do.
    Good,
    /// It runs, not at its best.
    Poor,
    /// It cannot run.
    Bad,
}

/// One fact, judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub fact: String,
    /// What that means.
    pub verdict: Verdict,
    /// What to change; empty when nothing.
    pub advice: String,
}

impl Finding {
    fn good(subject: &'static str, fact: impl Into<String>) -> Self {
        Self { subject, fact: fact.into(), verdict: Verdict::Good, advice: String::new() }
    }

    fn poor(subject: &'static str, fact: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, fact: fact.into(), verdict: Verdict::Poor, advice: advice.into() }
    }

    fn bad(subject: &'static str, fact: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { subject, fact: fact.into(), verdict: Verdict::Bad, advice: advice.into() }
    }
}

/// Judges the machine for a broker that pins `pinned_bytes`.
#[must_use]
pub fn judge_machine(machine: &Machine, pinned_bytes: u64) -> Vec<Finding> {
    vec![
        judge_kernel(machine),
        judge_io_uring(machine),
        judge_memlock(machine.memlock, pinned_bytes, may_lock_memory()),
        judge_open_files(machine.open_files),
    ]
}

fn judge_kernel(machine: &Machine) -> Finding {
    let (major, minor) = KERNEL_MIN;
    match machine.kernel_version {
        Some(version) if version < KERNEL_MIN => {
            Finding::bad("kernel", &machine.kernel, format!("install Linux {major}.{minor} or newer"))
        }
        Some(_) => Finding::good("kernel", &machine.kernel),
        None => {
            Finding::poor("kernel", "of unknown version", format!("Linux {major}.{minor} or newer is needed"))
        }
    }
}

fn judge_io_uring(machine: &Machine) -> Finding {
    let subject = "io_uring";
    let Err(error) = &machine.io_uring else { return Finding::good(subject, "works") };
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let advice = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "run a kernel with CONFIG_IO_URING, or let the container's seccomp profile allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(libc::EPERM) if matches!(disabled.trim(), "1" | "2") => {
            "set `sysctl kernel.io_uring_disabled=0`"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "let the container's seccomp profile allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(libc::ENOMEM) => {
            "raise the memlock limit: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit"
        }
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files: `ulimit -n 65536`",
        _ => "see what the kernel log says",
    };
    Finding::bad(subject, format!("refused: {error}"), advice)
}

fn judge_memlock(limit: Limit, pinned_bytes: u64, privileged: bool) -> Finding {
    let subject = "memlock";
    let advice = "`ulimit -l unlimited`, LimitMEMLOCK=infinity in the systemd unit, or memlock in /etc/security/limits.conf";
    match limit.soft {
        None => Finding::good(subject, "unlimited"),
        Some(bytes) if privileged => {
            Finding::good(subject, format!("{}, and this process may exceed it", shown(bytes)))
        }
        Some(bytes) if bytes < MEMLOCK_MIN => Finding::bad(
            subject,
            format!("{}, at least {} are needed", shown(bytes), shown(MEMLOCK_MIN)),
            advice,
        ),
        Some(bytes) if bytes < pinned_bytes => Finding::poor(
            subject,
            format!("{}, {} would be pinned", shown(bytes), shown(pinned_bytes)),
            advice,
        ),
        Some(bytes) => Finding::good(subject, shown(bytes)),
    }
}

/// Judges the hard limit: the soft one is raised to it at start.
fn judge_open_files(limit: Limit) -> Finding {
    let subject = "open files";
    let advice = "`ulimit -Hn 1048576`, LimitNOFILE=1048576 in the systemd unit, or nofile in /etc/security/limits.conf";
    match limit.hard {
        None => Finding::good(subject, "unlimited"),
        Some(files) if files < OPEN_FILES_MIN => {
            Finding::bad(subject, format!("{files}, at least {OPEN_FILES_MIN} are needed"), advice)
        }
        Some(files) if files < OPEN_FILES_GOOD => {
            Finding::poor(subject, format!("{files} for connections and segments together"), advice)
        }
        Some(files) => Finding::good(subject, files.to_string()),
    }
}

/// Judges a directory that was tried.
#[must_use]
pub fn judge_directory(path: &Path, tried: &io::Result<Directory>) -> Vec<Finding> {
    let place = path.display();
    match tried {
        Err(error) => vec![Finding::bad(
            "data directory",
            format!("{place} cannot be written: {error}"),
            "make it writable for this user, or choose another with --data-dir",
        )],
        Ok(directory) => vec![
            judge_direct_io(path, directory),
            judge_alignment(directory),
            judge_space(path, directory.free_bytes),
        ],
    }
}

fn judge_direct_io(path: &Path, directory: &Directory) -> Finding {
    let subject = "direct I/O";
    let place = path.display();
    match &directory.direct_io {
        Ok(()) => Finding::good(subject, format!("works in {place}")),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Finding::bad(
            subject,
            format!("{place}: {error}"),
            "acknowledged records would not survive a reboot: put --data-dir on a disk, with ext4 or XFS",
        ),
        Err(error) => Finding::bad(
            subject,
            format!("{place} refuses O_DIRECT: {error}"),
            "put --data-dir on a file system that allows it, such as ext4 or XFS on a local disk",
        ),
    }
}

fn judge_alignment(directory: &Directory) -> Finding {
    let subject = "disk blocks";
    let (logical, physical) = (directory.logical_block_bytes, directory.physical_block_bytes);
    let shown = |block: Option<u64>| block.map_or("unknown".to_owned(), |bytes| bytes.to_string());
    let fact = format!(
        "logical {}, physical {} bytes; writes are multiples of {BLOCK}",
        shown(logical),
        shown(physical)
    );
    if logical.is_some_and(|bytes| bytes > BLOCK) {
        return Finding::bad(
            subject,
            fact,
            format!("use a disk or format with logical blocks of at most {BLOCK} bytes"),
        );
    }
    if physical.is_some_and(|bytes| bytes > BLOCK) {
        return Finding::poor(
            subject,
            fact,
            "every small write makes this disk read and rewrite a whole block",
        );
    }
    Finding::good(subject, fact)
}

fn judge_space(path: &Path, free_bytes: u64) -> Finding {
    let fact = format!("{} in {}", shown(free_bytes), path.display());
    if free_bytes < FREE_BYTES_GOOD {
        return Finding::poor(
            "free space",
            fact,
            "produce is refused before the disk is full: free some or add some",
        );
    }
    Finding::good("free space", fact)
}

/// Whether the memlock limit does not hold for this process (CAP_IPC_LOCK, number 14).
fn may_lock_memory() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
}

/// Logs what could be better; that is nothing to wake anybody for.
///
/// # Errors
/// Exit 3 with every finding under which a broker cannot run.
pub fn accept(findings: &[Finding]) -> Result<(), Fatal> {
    let mut message = String::new();
    for Finding { subject, fact, verdict, advice } in findings {
        match verdict {
            Verdict::Good => tracing::debug!("{subject}: {fact}"),
            Verdict::Poor => tracing::info!("{subject}: {fact}: {advice}"),
            Verdict::Bad => {
                let separator = if message.is_empty() { "" } else { "; " };
                // Writing to a string cannot fail.
                let _ = write!(message, "{separator}{subject}: {fact}: {advice}");
            }
        }
    }
    if message.is_empty() {
        Ok(())
    } else {
        Err(Fatal::new(Exit::Environment, format!("{message} (see `millrace check`)")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(soft: u64) -> Limit {
        Limit { soft: Some(soft), hard: Some(soft) }
    }

    fn machine(io_uring: io::Result<()>) -> Machine {
        Machine {
            kernel: "6.1.0".into(),
            kernel_version: Some((6, 1)),
            io_uring,
            memlock: Limit { soft: None, hard: None },
            open_files: limit(1 << 20),
        }
    }

    fn directory() -> Directory {
        Directory {
            direct_io: Ok(()),
            physical_block_bytes: Some(4096),
            logical_block_bytes: Some(512),
            free_bytes: 1 << 40,
            file_system_magic: 0xef53,
        }
    }

    fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
        findings.iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_good_machine_passes() {
        let mut findings = judge_machine(&machine(Ok(())), 1 << 20);
        findings.extend(judge_directory(Path::new("/data"), &Ok(directory())));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
        assert_eq!(accept(&findings), Ok(()));
    }

    #[test]
    fn every_refusal_says_what_to_change() {
        let enosys = machine(Err(io::Error::from_raw_os_error(libc::ENOSYS)));
        let old = Machine { kernel: "4.19.0".into(), kernel_version: Some((4, 19)), ..enosys };
        let fatal = accept(&judge_machine(&old, 0)).unwrap_err();
        assert_eq!(fatal.exit, Exit::Environment);
        assert!(fatal.message.contains("install Linux 5.6") && fatal.message.contains("seccomp"), "{fatal}");
        let denied = Directory { direct_io: Err(io::Error::from_raw_os_error(libc::EINVAL)), ..directory() };
        let fatal = accept(&judge_directory(Path::new("/data"), &Ok(denied))).unwrap_err();
        assert!(
            fatal.message.contains("/data refuses O_DIRECT") && fatal.message.contains("ext4"),
            "{fatal}"
        );
        let memory = Directory {
            direct_io: Err(io::Error::new(io::ErrorKind::Unsupported, "in memory")),
            ..directory()
        };
        assert!(
            accept(&judge_directory(Path::new("/data"), &Ok(memory)))
                .unwrap_err()
                .message
                .contains("on a disk")
        );
        let missing = judge_directory(Path::new("/data"), &Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(verdicts(&missing), [Verdict::Bad]);
    }

    #[test]
    fn limits_have_a_floor_and_a_wish() {
        let memlock = |bytes, privileged| judge_memlock(limit(bytes), 96 << 20, privileged).verdict;
        assert_eq!(memlock(64 << 10, false), Verdict::Bad);
        assert_eq!(memlock(64 << 10, true), Verdict::Good);
        assert_eq!(memlock(8 << 20, false), Verdict::Poor);
        assert_eq!(memlock(1 << 30, false), Verdict::Good);
        assert_eq!(judge_open_files(limit(64)).verdict, Verdict::Bad);
        assert_eq!(judge_open_files(limit(4096)).verdict, Verdict::Poor);
        assert_eq!(judge_open_files(Limit { soft: Some(1024), hard: Some(1 << 19) }).verdict, Verdict::Good);
    }

    #[test]
    fn blocks_and_space_are_judged() {
        let blocks = |logical, physical| {
            judge_alignment(&Directory {
                logical_block_bytes: logical,
                physical_block_bytes: physical,
                ..directory()
            })
            .verdict
        };
        assert_eq!(blocks(Some(8192), Some(8192)), Verdict::Bad);
        assert_eq!(blocks(Some(512), Some(16384)), Verdict::Poor);
        assert_eq!(blocks(None, None), Verdict::Good);
        assert_eq!(judge_space(Path::new("/"), 1 << 20).verdict, Verdict::Poor);
    }
}
