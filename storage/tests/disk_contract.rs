//! What every disk promises, run on the production disk and on the simulated one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use glommio::LocalExecutorBuilder;
use model::limits::BLOCK;
use storage::disk::memory::MemoryDisk;
use storage::disk::simulation::Simulation;
use storage::disk::uring::UringDisk;
use storage::disk::{Disk, File, helper, probe};

/// A fresh directory on a real file system, removed when the test went well.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn on_uring<F: Future<Output = ()>>(name: &str, run: impl FnOnce(UringDisk, PathBuf) -> F) {
    let scratch = Scratch::new(name);
    let executor = LocalExecutorBuilder::default().io_memory(2 << 20).make().unwrap();
    let disk = UringDisk::new(&scratch.0).unwrap();
    executor.run(run(disk, scratch.0.clone()));
}

fn on_memory<F: Future<Output = ()>>(run: impl Fn(MemoryDisk, PathBuf) -> F) {
    for seed in 0..20 {
        let simulation = Simulation::new(seed);
        let disk = MemoryDisk::new(&simulation);
        let root = PathBuf::from("/data");
        simulation.run_until(async {
            disk.create_dir(&root).await.unwrap();
            run(disk.clone(), root).await;
        });
        assert_eq!(disk.handles(), 0, "seed {seed}: a file was not closed");
    }
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod uring { $(#[test] fn $name() { super::on_uring(stringify!($name), super::$name) })* }
        mod memory { $(#[test] fn $name() { super::on_memory(super::$name) })* }
    };
}

on_both!(
    reads_what_was_written,
    reads_end_at_the_end_of_the_file,
    creating_again_empties,
    frames_of_a_commit_follow_each_other,
    many_writes_at_once,
    small_files_are_replaced_whole,
    names_come_and_go,
    directories_nest_and_vanish,
    allocating_keeps_contents_and_reads_zeros,
    misaligned_requests_are_refused,
    missing_things_are_not_found,
    tasks_run_beside_and_clocks_advance,
    opening_races_with_renaming,
);

fn block<D: Disk>(disk: &D, byte: u8, blocks: usize) -> Rc<D::Buffer> {
    let mut buffer = disk.buffer(blocks * BLOCK);
    buffer.as_mut().fill(byte);
    Rc::new(buffer)
}

fn at(block: u64) -> u64 {
    block * BLOCK as u64
}

async fn bytes<F: File>(file: &F, block: u64, blocks: usize) -> Vec<u8> {
    (*file.read(at(block), blocks * BLOCK).await.unwrap()).as_ref().to_vec()
}

/// First byte of each block, after checking that the block is all of it.
async fn fills<F: File>(file: &F, block: u64, blocks: usize) -> Vec<u8> {
    let bytes = bytes(file, block, blocks).await;
    bytes
        .chunks(BLOCK)
        .map(|block| {
            assert!(block.iter().all(|byte| *byte == block[0]));
            block[0]
        })
        .collect()
}

async fn reads_what_was_written<D: Disk>(disk: D, root: PathBuf) {
    let path = root.join("file");
    let file = disk.create(&path).await.unwrap();
    file.write(block(&disk, 1, 2), at(0)).await.unwrap();
    file.write(block(&disk, 2, 1), at(1)).await.unwrap();
    file.write(block(&disk, 3, 1), at(4)).await.unwrap();
    assert_eq!(fills(&file, 0, 5).await, [1, 2, 0, 0, 3]);
    assert_eq!(file.size().await.unwrap(), at(5));
    file.sync().await.unwrap();
    disk.sync_dir(&root).await.unwrap();
    file.close().await.unwrap();
    let file = disk.open(&path).await.unwrap();
    assert_eq!(fills(&file, 0, 5).await, [1, 2, 0, 0, 3]);
    file.write(block(&disk, 4, 1), at(0)).await.unwrap();
    assert_eq!(fills(&file, 0, 2).await, [4, 2]);
    file.close().await.unwrap();
}

async fn reads_end_at_the_end_of_the_file<D: Disk>(disk: D, root: PathBuf) {
    let path = root.join("file");
    let file = disk.create(&path).await.unwrap();
    assert!(bytes(&file, 0, 1).await.is_empty());
    file.write(block(&disk, 1, 3), at(0)).await.unwrap();
    assert_eq!(fills(&file, 2, 8).await, [1]);
    assert!(bytes(&file, 3, 1).await.is_empty());
    assert!(bytes(&file, 9, 1).await.is_empty());
    file.close().await.unwrap();
    // A length that is no multiple of a block, as another program may leave it.
    disk.replace_file(&path, vec![5; BLOCK + 7]).await.unwrap();
    let file = disk.open(&path).await.unwrap();
    assert_eq!(bytes(&file, 0, 4).await, vec![5; BLOCK + 7]);
    file.close().await.unwrap();
}

async fn creating_again_empties<D: Disk>(disk: D, root: PathBuf) {
    let path = root.join("file");
    let file = disk.create(&path).await.unwrap();
    file.write(block(&disk, 1, 3), at(0)).await.unwrap();
    file.close().await.unwrap();
    let file = disk.create(&path).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 0);
    file.write(block(&disk, 2, 1), at(1)).await.unwrap();
    assert_eq!(fills(&file, 0, 3).await, [0, 2]);
    file.close().await.unwrap();
}

async fn frames_of_a_commit_follow_each_other<D: Disk>(disk: D, root: PathBuf) {
    let file = disk.create(&root.join("journal")).await.unwrap();
    let frames: Vec<_> = [(1, 1), (2, 256), (3, 2)].map(|(byte, blocks)| block(&disk, byte, blocks)).into();
    file.write_durable(&frames, at(3), &[], || ()).await.unwrap();
    let found = fills(&file, 0, 262).await;
    assert_eq!(found[..5], [0, 0, 0, 1, 2]);
    assert_eq!(found[258..], [2, 2, 3, 3]);
    file.write_durable(&[], at(0), &[], || ()).await.unwrap();
    // The caller has its frames back for itself, to keep as a cache or to use again.
    assert!(frames.iter().all(|frame| Rc::strong_count(frame) == 1));
    file.close().await.unwrap();
}

async fn many_writes_at_once<D: Disk>(disk: D, root: PathBuf) {
    let file = Rc::new(disk.create(&root.join("file")).await.unwrap());
    let left = Rc::new(Cell::new(64));
    for number in 0..64_u8 {
        let (file, left, buffer) = (file.clone(), left.clone(), block(&disk, number, 1));
        disk.spawn(async move {
            file.write(buffer, at(number.into())).await.unwrap();
            left.set(left.get() - 1);
        });
    }
    while left.get() > 0 {
        disk.sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fills(&*file, 0, 64).await, (0..64).collect::<Vec<u8>>());
    while Rc::strong_count(&file) > 1 {
        disk.sleep(Duration::from_millis(1)).await;
    }
    Rc::into_inner(file).unwrap().close().await.unwrap();
}

async fn small_files_are_replaced_whole<D: Disk>(disk: D, root: PathBuf) {
    let path = root.join("meta.properties");
    disk.replace_file(&path, b"version=1\n".to_vec()).await.unwrap();
    assert_eq!(disk.read_file(&path, 10).await.unwrap(), b"version=1\n");
    assert_eq!(disk.read_file(&path, 9).await.unwrap_err().kind(), ErrorKind::InvalidData);
    disk.replace_file(&path, vec![7; 10_000]).await.unwrap();
    assert_eq!(disk.read_file(&path, 1 << 20).await.unwrap(), vec![7; 10_000]);
    disk.replace_file(&path, Vec::new()).await.unwrap();
    assert!(disk.read_file(&path, 0).await.unwrap().is_empty());
    let names: Vec<_> = disk.list_dir(&root).await.unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["meta.properties"]);
}

async fn names_come_and_go<D: Disk>(disk: D, root: PathBuf) {
    for (name, byte) in [("b", 1), ("a", 2), ("c", 3)] {
        let file = disk.create(&root.join(name)).await.unwrap();
        file.write(block(&disk, byte, 1), 0).await.unwrap();
        file.close().await.unwrap();
    }
    disk.rename(&root.join("a"), &root.join("c")).await.unwrap();
    disk.create_dir(&root.join("z")).await.unwrap();
    disk.rename(&root.join("b"), &root.join("z/b")).await.unwrap();
    let found: Vec<_> =
        disk.list_dir(&root).await.unwrap().into_iter().map(|entry| (entry.name, entry.is_dir)).collect();
    assert_eq!(found, [("c".to_owned(), false), ("z".to_owned(), true)]);
    let file = disk.open(&root.join("c")).await.unwrap();
    assert_eq!(fills(&file, 0, 1).await, [2]);
    file.close().await.unwrap();
    disk.remove_file(&root.join("c")).await.unwrap();
    disk.remove_file(&root.join("c")).await.unwrap();
    assert_eq!(disk.open(&root.join("c")).await.err().unwrap().kind(), ErrorKind::NotFound);
}

async fn directories_nest_and_vanish<D: Disk>(disk: D, root: PathBuf) {
    let deep = root.join("topics/id/0");
    disk.create_dir(&deep).await.unwrap();
    disk.create_dir(&deep).await.unwrap();
    assert!(disk.list_dir(&deep).await.unwrap().is_empty());
    disk.create(&deep.join("segment")).await.unwrap().close().await.unwrap();
    disk.remove_dir(&root.join("topics")).await.unwrap();
    disk.remove_dir(&root.join("topics")).await.unwrap();
    assert_eq!(disk.list_dir(&deep).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list_dir(&root).await.unwrap().is_empty());
    disk.create(&root.join("file")).await.unwrap().close().await.unwrap();
    assert!(disk.create_dir(&root.join("file/below")).await.is_err());
}

async fn allocating_keeps_contents_and_reads_zeros<D: Disk>(disk: D, root: PathBuf) {
    let file = disk.create(&root.join("segment")).await.unwrap();
    file.write(block(&disk, 1, 1), 0).await.unwrap();
    file.allocate(at(1), at(16)).await.unwrap();
    assert_eq!(file.size().await.unwrap(), at(17));
    assert_eq!(fills(&file, 0, 3).await, [1, 0, 0]);
    file.write(block(&disk, 2, 1), at(1)).await.unwrap();
    file.allocate(at(0), at(2)).await.unwrap();
    assert_eq!(fills(&file, 0, 3).await, [1, 2, 0]);
    assert_eq!(file.size().await.unwrap(), at(17));
    file.close().await.unwrap();
    disk.sync_all().await.unwrap();
    assert!(disk.free_bytes(&root).await.unwrap() > 0);
}

async fn misaligned_requests_are_refused<D: Disk>(disk: D, root: PathBuf) {
    let file = disk.create(&root.join("file")).await.unwrap();
    file.write(block(&disk, 1, 1), 0).await.unwrap();
    assert_eq!(file.write(block(&disk, 2, 1), 100).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fills(&file, 0, 2).await, [1]);
    file.close().await.unwrap();
}

async fn missing_things_are_not_found<D: Disk>(disk: D, root: PathBuf) {
    let path = root.join("nowhere/file");
    let kinds = [
        disk.create(&path).await.err().unwrap().kind(),
        disk.open(&path).await.err().unwrap().kind(),
        disk.read_file(&path, 10).await.unwrap_err().kind(),
        disk.replace_file(&path, Vec::new()).await.unwrap_err().kind(),
        disk.rename(&path, &root.join("x")).await.unwrap_err().kind(),
        disk.list_dir(&path).await.unwrap_err().kind(),
        disk.sync_dir(&path).await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 7]);
    disk.remove_file(&path).await.unwrap();
    disk.remove_dir(&path).await.unwrap();
}

async fn tasks_run_beside_and_clocks_advance<D: Disk>(disk: D, _root: PathBuf) {
    let (before_ns, before_ms) = (disk.now_ns(), disk.now_ms());
    let done = Rc::new(Cell::new(false));
    let (flag, clock) = (done.clone(), disk.clone());
    disk.spawn(async move {
        clock.sleep(Duration::from_millis(5)).await;
        flag.set(true);
    });
    while !done.get() {
        disk.yield_now().await;
        disk.sleep(Duration::from_millis(1)).await;
    }
    assert!(disk.now_ns() >= before_ns + 5_000_000);
    assert!(disk.now_ms() > before_ms && before_ms > 1_500_000_000_000);
}

async fn opening_races_with_renaming<D: Disk>(disk: D, root: PathBuf) {
    let (here, there) = (root.join("here"), root.join("there"));
    disk.create(&here).await.unwrap().close().await.unwrap();
    let stop = Rc::new(Cell::new(false));
    let (mover, stopped, paths) = (disk.clone(), stop.clone(), (here.clone(), there.clone()));
    disk.spawn(async move {
        while !stopped.get() {
            mover.rename(&paths.0, &paths.1).await.unwrap();
            mover.rename(&paths.1, &paths.0).await.unwrap();
        }
        stopped.set(false);
    });
    let mut opened = 0;
    while opened < 50 {
        match disk.open(&here).await {
            Ok(file) => {
                opened += 1;
                file.close().await.unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
    stop.set(true);
    while stop.get() {
        disk.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn opening_survives_another_core_removing_the_file() {
    on_uring("removed-elsewhere", async |disk, root| {
        let path = root.join("file");
        let (other, stop) = (path.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let stopped = stop.clone();
        let remover = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::fs::remove_file(&other);
                std::thread::yield_now();
            }
        });
        let mut found = 0;
        for _ in 0..300 {
            let file = disk.create(&path).await.unwrap();
            file.write(block(&disk, 1, 1), 0).await.unwrap();
            file.close().await.unwrap();
            if let Ok(file) = disk.open(&path).await {
                found += 1;
                file.close().await.unwrap();
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        remover.join().unwrap();
        assert!(found <= 300);
    });
}

#[test]
fn writes_do_not_pass_through_the_page_cache() {
    on_uring("direct", async |disk, root| {
        let file = disk.create(&root.join("file")).await.unwrap();
        file.write(block(&disk, 1, 1), 0).await.unwrap();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| {
            let fd = fd.ok()?;
            let target = std::fs::read_link(fd.path()).ok()?;
            (target == root.join("file")).then(|| fd.file_name().into_string().unwrap())
        });
        let flags: Vec<_> = open
            .map(|fd| std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap())
            .map(|info| {
                info.lines().find_map(|line| line.strip_prefix("flags:\t").map(str::to_owned)).unwrap()
            })
            .map(|octal| i32::from_str_radix(&octal, 8).unwrap())
            .collect();
        assert_eq!(flags.len(), 1, "one descriptor per open file");
        assert_ne!(flags[0] & libc::O_DIRECT, 0);
        file.close().await.unwrap();
    });
}

/// What is left of a large file when its name is gone, as whoever still has it open sees it.
async fn left_of_a_removed_file(disk: &UringDisk, root: &Path) -> u64 {
    let dir = root.join("dir");
    std::fs::create_dir_all(&dir).unwrap();
    let contents = vec![1; 20 << 20];
    for name in ["removed", "other"] {
        std::fs::write(dir.join(name), &contents).unwrap();
    }
    let held = std::fs::File::open(dir.join("removed")).unwrap();
    let other = std::fs::File::open(dir.join("other")).unwrap();
    std::fs::hard_link(dir.join("other"), root.join("kept")).unwrap();
    disk.remove_file(&dir.join("removed")).await.unwrap();
    assert!(!dir.join("removed").exists());
    disk.remove_dir(&dir).await.unwrap();
    assert!(!dir.exists());
    assert_eq!(other.metadata().unwrap().len(), 20 << 20, "it has another name");
    assert_eq!(std::fs::read(root.join("kept")).unwrap(), contents);
    std::fs::remove_file(root.join("kept")).unwrap();
    held.metadata().unwrap().len()
}

#[test]
fn a_large_file_is_freed_in_parts_unless_the_executor_is_about_to_end() {
    on_uring("freed", async |disk, root| {
        assert!(left_of_a_removed_file(&disk, &root).await <= 8 << 20);
        let dir = root.join("topic/0");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("large"), vec![1; 20 << 20]).unwrap();
        let held = std::fs::File::open(dir.join("large")).unwrap();
        disk.remove_dir(&root.join("topic")).await.unwrap();
        assert!(!root.join("topic").exists());
        assert!(held.metadata().unwrap().len() <= 8 << 20, "as below a directory");
        helper::hurry();
        assert_eq!(left_of_a_removed_file(&disk, &root).await, 20 << 20);
    });
}

#[test]
fn closing_gives_the_descriptor_back() {
    on_uring("descriptors", async |disk, root| {
        let descriptors = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter(|fd| {
                    let target = fd.as_ref().ok().and_then(|fd| std::fs::read_link(fd.path()).ok());
                    target.is_some_and(|target| target.starts_with(&root) && target != root)
                })
                .count()
        };
        for _ in 0..100 {
            disk.create(&root.join("file")).await.unwrap().close().await.unwrap();
        }
        assert_eq!(descriptors(), 0);
    });
}

#[test]
fn the_probe_knows_a_directory_that_takes_direct_writes() {
    let scratch = Scratch::new("probe");
    let found = probe::directory(&scratch.0).unwrap();
    found.direct_io.unwrap();
    assert!(found.free_bytes > 0);
    assert!(found.physical_block_bytes.is_none_or(|bytes| bytes >= 512 && bytes.is_power_of_two()));
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
    probe::machine().io_uring.unwrap();
}

#[test]
fn a_broken_promise_ends_the_process_with_5() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends_the_process", "--ignored"])
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(5), "{child:?}");
}

#[test]
#[ignore = "run by the test above"]
fn ends_the_process() {
    on_uring("fatal", async |disk, _| {
        disk.fatal("journal 1: sync", &std::io::Error::from_raw_os_error(libc::EIO));
    });
}

#[test]
fn a_pipe_under_a_files_name_holds_nobody_up() {
    on_uring("pipes", async |disk, root| {
        let (pipe, target, link) = (root.join("pipe"), root.join("target"), root.join("link"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Nobody ever opens its other end.
        assert_eq!(disk.read_file(&pipe, 100).await.unwrap(), b"");
        disk.remove_file(&pipe).await.unwrap();
        disk.replace_file(&target, vec![7; 100]).await.unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        disk.remove_file(&link).await.unwrap();
        let names: Vec<_> = disk.list_dir(&root).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["target"]);
    });
}
