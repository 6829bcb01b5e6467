//! An executor keeps going on a core that somebody else keeps busy.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shard::executor::{ExecutorSettings, Queue, allowed_cpus, blocking, sleep, spawn, start};
use storage::disk::{Disk, File};

fn fatal(reason: &str) -> ! {
    eprintln!("fatal: {reason}");
    std::process::abort()
}

fn settings(cpus: Vec<usize>) -> ExecutorSettings {
    ExecutorSettings { cpus, io_memory: 8 << 20, spin: Duration::ZERO, fatal }
}

/// Ends the test run when nothing moves any more: a hang is the failure this is about.
fn watch(progress: Arc<AtomicU64>, done: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut before = (u64::MAX, 0);
        while !done.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(100));
            let now = progress.load(Ordering::SeqCst);
            let quiet = if now == before.0 { before.1 + 1 } else { 0 };
            if quiet > 600 {
                fatal("no progress for a minute");
            }
            before = (now, quiet);
        }
    })
}

fn scratch() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("millrace-executor-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn a_contended_executor_keeps_making_progress() {
    const WRITES: u64 = 150;
    let cpu = allowed_cpus()[0];
    let done = Arc::new(AtomicBool::new(false));
    let progress = Arc::new(AtomicU64::new(0));
    let watchdog = watch(progress.clone(), done.clone());

    // Somebody who never lets go of the same CPU.
    let stop = done.clone();
    let busy = start(&settings(vec![cpu]), vec![()], move |_, ()| {
        let stop = stop.clone();
        async move {
            while !stop.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        }
    });
    let busy = busy.unwrap();

    let directory = scratch();
    let path = directory.join("sequential");
    let writer = start(&settings(vec![cpu]), vec![()], move |_, ()| {
        let (path, progress) = (path.clone(), progress.clone());
        async move {
            let disk = storage::disk::uring::UringDisk::new(path.parent().unwrap()).unwrap();
            let file = disk.create(&path).await.unwrap();
            let mut ticks = 0;
            for n in 0..WRITES {
                let mut buffer = disk.buffer(1 << 20);
                buffer.as_mut().fill(0x5a);
                file.write_durable(&[Rc::new(buffer)], n << 20, &[], || ()).await.unwrap();
                ticks += blocking(move || n % 2).await;
                progress.fetch_add(1, Ordering::SeqCst);
            }
            file.close().await.unwrap();
            ticks
        }
    });
    let ticks = writer.unwrap().join();
    done.store(true, Ordering::SeqCst);
    busy.join();
    watchdog.join().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(ticks, [WRITES / 2]);
}

#[test]
fn queues_run_beside_each_other_on_every_core() {
    let cpu = allowed_cpus()[0];
    let cores = start(&settings(vec![cpu, cpu]), vec![2, 3], |core, part| async move {
        let count = Rc::new(std::cell::Cell::new(0));
        for queue in [Queue::Serve, Queue::Flush, Queue::Maintain, Queue::Compact] {
            let count = count.clone();
            spawn(queue, async move { count.set(count.get() + 1) });
        }
        while count.get() < 3 {
            sleep(Duration::from_millis(1)).await;
        }
        core * 10 + part
    });
    assert_eq!(cores.unwrap().join(), [2, 13]);
}

#[test]
fn an_executor_ends_after_its_blocking_work() {
    let finished = Arc::new(AtomicU64::new(0));
    let told = finished.clone();
    let cores = start(&settings(vec![allowed_cpus()[0]]), vec![()], move |_, ()| {
        let told = told.clone();
        async move {
            spawn(Queue::Maintain, async move {
                for _ in 0..1000 {
                    let told = told.clone();
                    blocking(move || {
                        std::thread::sleep(Duration::from_millis(100));
                        told.fetch_add(1, Ordering::SeqCst);
                    })
                    .await;
                }
            });
            // Long enough for the first call to be at work.
            sleep(Duration::from_millis(20)).await;
        }
    });
    cores.unwrap().join();
    let at_end = finished.load(Ordering::SeqCst);
    assert!(
        (1..1000).contains(&at_end),
        "{at_end} calls: what was at work ends, what was not does not begin"
    );
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(finished.load(Ordering::SeqCst), at_end);
}

#[test]
fn a_core_that_cannot_start_is_named() {
    let Err(error) = start(&settings(vec![allowed_cpus()[0], 1 << 20]), vec![(); 2], |_, ()| async {}) else {
        panic!("there is no such CPU")
    };
    assert_eq!(error.core, 1);
    assert!(error.to_string().contains("core 1"), "{error}");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn executors_go_to_sleep_by_a_fence() {
    let before = net::parking::fenced();
    let slept = start(&settings(vec![allowed_cpus()[0]]), vec![()], |_, ()| async {
        for _ in 0..20 {
            sleep(Duration::from_millis(2)).await;
        }
    });
    slept.unwrap().join();
    assert!(net::parking::fenced() >= before + 10, "the call is taken in this program");
    // SAFETY: it changes nothing.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    assert!(thread > 0, "other calls go to the kernel");
    // SAFETY: there is no such call.
    assert_eq!(unsafe { libc::syscall(100_000) }, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS));
}
