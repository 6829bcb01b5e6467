//! A full disk under the real binary: a small file system of its own, on a loop device.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::fixture::{OTHER, STORAGE_ERROR, Scratch, VICTIM, create_topic, produce, read};
use super::wire::Wire;

/// Room for the journal, for what must stay free, and for some tens of megabytes.
const FILE_SYSTEM_BYTES: u64 = 224 << 20;

/// A mounted file system; unmounted when dropped.
struct Small {
    scratch: Scratch,
    mount: PathBuf,
}

impl Small {
    /// None where this may not or cannot be done; then it says why.
    fn new() -> Option<Self> {
        let scratch = Scratch::new("small");
        let (image, mount) = (scratch.0.join("image"), scratch.data());
        fs::create_dir_all(&mount).unwrap();
        fs::File::create(&image).unwrap().set_len(FILE_SYSTEM_BYTES).unwrap();
        let made = quietly("mkfs.ext4", &["-q", "-F", "-m", "0"], &image, None);
        if !made || !quietly("mount", &["-o", "loop"], &image, Some(&mount)) {
            eprintln!("skipped: a file system on a loop device takes root, mkfs.ext4 and loop devices");
            return None;
        }
        let _ = fs::remove_dir(mount.join("lost+found"));
        Some(Self { scratch, mount })
    }

    /// Takes all space there is.
    fn fill(&self) -> PathBuf {
        let path = self.mount.with_file_name("data").join("filler.tmp");
        let mut file = fs::File::create(&path).unwrap();
        for chunk in [vec![1; 1 << 20], vec![1; 4096]] {
            while file.write_all(&chunk).and_then(|()| file.sync_data()).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The last one to be mounted there.
        let _ = Command::new("umount").arg(&self.mount).stderr(Stdio::null()).status();
    }
}

fn quietly(program: &str, arguments: &[&str], image: &Path, mount: Option<&Path>) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(image).args(mount).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Produces until that is refused; the end of the log.
fn produce_until_refused(wire: &mut Wire, topic: &str, from: i64) -> i64 {
    for offset in from.. {
        match produce(wire, topic, offset) {
            (0, placed) => assert_eq!(placed, offset),
            (error, _) => {
                assert_eq!(error, STORAGE_ERROR);
                return offset;
            }
        }
    }
    from
}

/// Produces the record at `offset` as soon as that is accepted again.
fn produce_again(wire: &mut Wire, topic: &str, offset: i64) {
    let began = Instant::now();
    while produce(wire, topic, offset) != (0, offset) {
        assert!(began.elapsed() < Duration::from_secs(120), "produce stays refused");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_full_disk_refuses_records_and_keeps_all_it_has() {
    let Some(small) = Small::new() else { return };
    let mut broker = small.scratch.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    create_topic(&mut wire, VICTIM);
    create_topic(&mut wire, OTHER);
    for offset in 0..20 {
        assert_eq!(produce(&mut wire, OTHER, offset), (0, offset));
    }
    // Somebody else's file takes everything: not even what must stay free is.
    let filler = small.fill();
    let end = produce_until_refused(&mut wire, VICTIM, 0);
    assert!(broker.metric("millrace_partitions_read_only") > 0);
    let line =
        broker.log().lines().find(|line| line.contains("ERROR") && line.contains("free")).map(str::to_owned);
    assert!(line.is_some(), "the log says it, and what to do: {}", broker.log());
    assert_eq!(read(&mut wire, OTHER, 0), (20, 0), "reading goes on");
    assert_eq!(read(&mut wire, VICTIM, 0), (end, 0));

    fs::remove_file(filler).unwrap();
    produce_again(&mut wire, VICTIM, end);
    assert_eq!(broker.metric("millrace_partitions_read_only"), 0);

    // Killed on a full disk, and started again on it.
    let filler = small.fill();
    let end = produce_until_refused(&mut wire, VICTIM, end + 1);
    broker.kill();
    match small.scratch.launch() {
        Ok(broker) => {
            let mut wire = Wire::connect(&broker.address).unwrap();
            assert_eq!(read(&mut wire, VICTIM, 0), (end, 0));
        }
        Err(why) => assert!(why.contains("space"), "it says what is missing: {why}"),
    }
    fs::remove_file(filler).unwrap();
    let mut broker = small.scratch.launch().unwrap();
    let mut wire = Wire::connect(&broker.address).unwrap();
    assert_eq!(read(&mut wire, VICTIM, 0), (end, 0));
    assert_eq!(read(&mut wire, OTHER, 0), (20, 0));
    produce_again(&mut wire, VICTIM, end);
    assert_eq!(broker.stop(), Some(0), "{}", broker.log());
}
