//! Compaction of one log on a real disk: how long, for how much processor time.
//!
//! `cargo bench -p millrace-storage --bench compaction -- DIR [--mib N] [--memory MIB] [--only NAME]`. DIR is made, and emptied of what this puts in it. A log of
//! N MiB of records, with as many keys as records, is written in batches of 128 KiB before their codec; then all of it but the active
//! segment is compacted, in as many passes as that takes.

#[path = "cpu/mod.rs"]
mod cpu;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};
use model::batch::{BatchBuilder, Compression};
use model::limits::MemoryPlan;
use model::{LeaderEpoch, TimestampMs, TopicId, TopicPartition};
use storage::derived::EpochsOnly;
use storage::disk::random::Random;
use storage::disk::uring::UringDisk;
use storage::journal::JournalId;
use storage::paths::Paths;
use storage::{CompactionLimits, CompactionSettings, LogSettings, Store, StoreOptions};

const BATCH_BYTES: usize = 128 << 10;
const SEGMENT_BYTES: u64 = 64 << 20;
const MIB: f64 = 1_048_576.0;

struct Case {
    name: &'static str,
    compression: Compression,
    value_bytes: usize,
}

const CASES: [Case; 6] = [
    Case { name: "plain-1024", compression: Compression::None, value_bytes: 1024 },
    Case { name: "plain-100", compression: Compression::None, value_bytes: 100 },
    Case { name: "lz4-1024", compression: Compression::Lz4, value_bytes: 1024 },
    Case { name: "zstd-1024", compression: Compression::Zstd, value_bytes: 1024 },
    Case { name: "snappy-1024", compression: Compression::Snappy, value_bytes: 1024 },
    Case { name: "gzip-1024", compression: Compression::Gzip, value_bytes: 1024 },
];

struct Options {
    dir: PathBuf,
    mib: usize,
    /// Of the core, bytes.
    memory: u64,
    only: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { dir: PathBuf::new(), mib: 320, memory: 1 << 30, only: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--mib" => {
                let value = args.next().and_then(|value| value.parse().ok());
                options.mib = value.ok_or("--mib takes a number")?;
            }
            "--memory" => {
                let value = args.next().and_then(|value| value.parse::<u64>().ok());
                options.memory = value.ok_or("--memory takes a number of MiB")? << 20;
            }
            "--only" => options.only = Some(args.next().ok_or("--only takes a name")?),
            dir if !dir.starts_with('-') => options.dir = dir.into(),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    if options.dir.as_os_str().is_empty() {
        return Err(
            "usage: cargo bench -p millrace-storage --bench compaction -- DIR [--mib N] [--memory MIB] [--only NAME]".into(),
        );
    }
    options.dir = options.dir.join("compaction-bench");
    Ok(options)
}

fn main() {
    if std::env::args().len() == 1 {
        println!("nothing measured: run by `cargo bench`, with a directory");
        return;
    }
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            std::process::exit(2);
        }
    };
    println!("| log | MiB | kept MiB | passes | s | MB/s | CPU s/GB |");
    println!("|---|---|---|---|---|---|---|");
    for case in CASES.iter().filter(|case| options.only.as_ref().is_none_or(|only| only == case.name)) {
        let executor = LocalExecutorBuilder::new(Placement::Fixed(0))
            .io_memory(32 << 20)
            .preempt_timer(Duration::from_millis(1))
            .make()
            .expect("an executor; `millrace check` says what is missing");
        executor.run(async {
            glommio::spawn_local(async {
                loop {
                    glommio::timer::sleep(Duration::from_millis(5)).await;
                }
            })
            .detach();
            run(&options, case).await;
        });
    }
}

async fn run(options: &Options, case: &Case) {
    let dir = &options.dir;
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("a directory to work in");
    let plan = MemoryPlan::new(options.memory, 1).expect("enough");
    let store = open(dir, plan).await;
    let log = store.log(TopicPartition { topic: TopicId([7; 16]), partition: 0 });
    let compaction = CompactionSettings { dirty_ppm_min: 0, ..CompactionSettings::default() };
    let settings = Rc::new(LogSettings {
        segment_bytes: SEGMENT_BYTES,
        compaction: Some(compaction),
        ..LogSettings::default()
    });
    store.load(&log, &settings).await.expect("a new log");
    let batches = (options.mib << 20) / BATCH_BYTES;
    let keys = (options.mib << 20) / (case.value_bytes + 20);
    let mut random = Random::new(1);
    for number in 0..batches {
        let batch = batch(&mut random, case, keys as u64);
        let placed = store.append(&log, batch, LeaderEpoch(1), 1).expect("room on the disk");
        if number % 64 == 63 || number + 1 == batches {
            store.durable(placed.ticket).await;
        }
    }
    let before = log.size_bytes();
    let (begun, cpu) = (Instant::now(), cpu::seconds());
    let mut passes = 0;
    loop {
        let done = store.compact(&log, CompactionLimits::of(&plan), 2).await.expect("a sound log");
        assert!(done.replaced > 0 && !done.abandoned, "{done:?}");
        passes += 1;
        if !done.unfinished {
            break;
        }
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu::seconds() - cpu);
    println!(
        "| {} | {:.0} | {:.0} | {passes} | {seconds:.2} | {:.0} | {:.2} |",
        case.name,
        float(before) / MIB,
        float(log.size_bytes()) / MIB,
        float(before) / 1e6 / seconds,
        cpu / (float(before) / 1e9),
    );
    store.close().await.expect("a disk");
    std::fs::remove_dir_all(dir).expect("what this made can go");
}

async fn open(dir: &Path, plan: MemoryPlan) -> Rc<Store<UringDisk, EpochsOnly>> {
    let disk = UringDisk::new(dir).expect("a directory");
    let options = StoreOptions {
        paths: Paths::new(dir),
        plan,
        boot: 1,
        journal: JournalId([1; 16]),
        open_files_max: 512,
        free_bytes_min: 1 << 30,
        extent_bytes_min: model::limits::EXTENT_BYTES_MIN,
        extent_bytes_unsettled_max: model::limits::EXTENT_BYTES_UNSETTLED_MAX,
        snapshot_bytes: model::limits::SNAPSHOT_BYTES,
    };
    let store = Store::open(disk, options, Vec::new()).await.expect("room");
    store.start(None);
    store
}

/// A batch of random keys. Half of every value is noise, so that codecs have something to do.
fn batch(random: &mut Random, case: &Case, keys: u64) -> Bytes {
    let mut batch = BatchBuilder::new();
    let mut value = vec![b'v'; case.value_bytes];
    for _ in 0..BATCH_BYTES / (case.value_bytes + 20) {
        for part in value.chunks_exact_mut(16) {
            part[..8].copy_from_slice(&random.below(u64::MAX).to_le_bytes());
        }
        let key = format!("key {:012}", random.below(keys));
        batch = batch.record(TimestampMs(1), Some(key.as_bytes()), Some(&value));
    }
    Bytes::from(match case.compression {
        Compression::None => batch.build(),
        compression => batch.build_compressed(compression, |records| compress(compression, records)),
    })
}

fn compress(compression: Compression, records: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => records.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records).expect("in memory");
            encoder.finish().expect("in memory")
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(records).expect("in memory"),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).expect("in memory");
            encoder.finish().expect("in memory")
        }
        Compression::Zstd => zstd::bulk::compress(records, 3).expect("in memory"),
    }
}

/// Whole numbers up to 2^53 as they are.
#[allow(clippy::cast_precision_loss, reason = "nothing measured here comes near 2^53 of its unit")]
fn float(value: u64) -> f64 {
    value as f64
}
