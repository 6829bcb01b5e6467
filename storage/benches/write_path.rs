//! The write path without a network, on a real disk: commits and segments beside a raw loop of the same frames.
//!
//! `cargo bench -p millrace-storage --bench write_path -- DIR [--seconds N] [--quick]`. DIR is made, and emptied of what this puts in
//! it. Three subjects take the same appends in one run: `raw` writes frames of the same sizes, each commit followed by fdatasync, and
//! does nothing else; `journal` is group commit without segments; `store` is everything. Offered load is open-loop: latency
//! counts from when an append was due. Flat out, 8 MiB are kept under way. A line per run, then the same as a table.

#[path = "cpu/mod.rs"]
mod cpu;
#[path = "write_path/load.rs"]
mod load;
#[path = "write_path/subjects.rs"]
mod subjects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

use load::{Measured, Offer};
use subjects::{CommitShape, Kind};

const SIZES: [usize; 3] = [16 << 10, 128 << 10, 1 << 20];
const PARTITIONS: [u32; 2] = [6, 1000];
/// Offered megabytes a second; `None` is flat out.
const RATES: [Option<u64>; 3] = [Some(100), Some(400), None];

struct Options {
    dir: PathBuf,
    seconds: u64,
    quick: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { dir: PathBuf::new(), seconds: 3, quick: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--quick" => options.quick = true,
            "--seconds" => {
                let value = args.next().and_then(|value| value.parse().ok());
                options.seconds = value.ok_or("--seconds takes a number")?;
            }
            dir if !dir.starts_with('-') => options.dir = dir.into(),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    if options.dir.as_os_str().is_empty() {
        return Err(
            "usage: cargo bench -p millrace-storage --bench write_path -- DIR [--seconds N] [--quick]".into(),
        );
    }
    options.dir = options.dir.join("write-path-bench");
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
    let executor = LocalExecutorBuilder::new(Placement::Fixed(0))
        .io_memory(32 << 20)
        .preempt_timer(Duration::from_millis(1))
        .make()
        .expect("an executor; `millrace check` says what is missing");
    let rows = executor.run(async {
        glommio::spawn_local(async {
            loop {
                glommio::timer::sleep(Duration::from_millis(5)).await;
            }
        })
        .detach();
        all(&options).await
    });
    table(&rows);
}

struct Row {
    size: usize,
    partitions: u32,
    rate: Option<u64>,
    kind: Kind,
    measured: Measured,
}

async fn all(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in SIZES {
        for rate in RATES {
            if options.quick && rate == Some(100) {
                continue;
            }
            let offer =
                Offer { size, rate, duration: Duration::from_secs(options.seconds), bytes_max: 3 << 30 };
            let (journal, shape) = fresh(&options.dir, Kind::Journal, 6, offer, CommitShape::default()).await;
            let (raw, _) = fresh(&options.dir, Kind::Raw, 6, offer, shape).await;
            rows.push(report(Row { size, partitions: 6, rate, kind: Kind::Raw, measured: raw }));
            rows.push(report(Row { size, partitions: 6, rate, kind: Kind::Journal, measured: journal }));
            for partitions in PARTITIONS {
                let (store, _) = fresh(&options.dir, Kind::Store, partitions, offer, shape).await;
                rows.push(report(Row { size, partitions, rate, kind: Kind::Store, measured: store }));
            }
        }
    }
    rows
}

/// One run in an empty directory.
async fn fresh(
    dir: &Path,
    kind: Kind,
    partitions: u32,
    offer: Offer,
    shape: CommitShape,
) -> (Measured, CommitShape) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("a directory to work in");
    let ran = subjects::run(dir, kind, partitions, offer, shape).await;
    std::fs::remove_dir_all(dir).expect("what this made can go");
    ran
}

fn report(row: Row) -> Row {
    let Measured { bytes, seconds, cpu_seconds, commits, latency, .. } = &row.measured;
    println!(
        "raw subject={:?} append={} partitions={} offered_mb={} bytes={bytes} seconds={seconds:.3} cpu_seconds={cpu_seconds:.3} \
         commits={commits} samples={} p50_us={} p99_us={} p999_us={} max_us={}",
        row.kind,
        row.size,
        row.partitions,
        row.rate.map_or_else(|| "most".into(), |rate| rate.to_string()),
        latency.len(),
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
        latency.value_at_quantile(0.999),
        latency.max(),
    );
    row
}

fn table(rows: &[Row]) {
    println!();
    println!(
        "| append | offered | subject | partitions | MB/s | p50 ms | p99 ms | p99.9 ms | CPU s/GB | commit KiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let measured = &row.measured;
        let ms = |quantile: f64| micros(measured.latency.value_at_quantile(quantile)) / 1000.0;
        println!(
            "| {} KiB | {} | {:?} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} |",
            row.size >> 10,
            row.rate.map_or_else(|| "most".into(), |rate| rate.to_string()),
            row.kind,
            row.partitions,
            micros(measured.bytes) / 1e6 / measured.seconds,
            ms(0.5),
            ms(0.99),
            ms(0.999),
            measured.cpu_seconds / (micros(measured.bytes) / 1e9),
            micros(measured.bytes) / micros(measured.commits.max(1)) / 1024.0,
        );
    }
}

/// Whole numbers up to 2^53 as they are.
#[allow(clippy::cast_precision_loss, reason = "no time measured here comes near 2^53 of its unit")]
fn micros(value: u64) -> f64 {
    value as f64
}
