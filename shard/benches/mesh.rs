//! A question to another core and its answer: one at a time, wake-ups included, and many in flight.
//!
//! `cargo bench -p millrace-shard --bench mesh`, on two CPUs of its own.
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use shard::executor::{ExecutorSettings, allowed_cpus, sleep, start};
use shard::mesh::{Link, links};

const CORES: usize = 2;
const DEPTH: usize = 1024;

fn fatal(reason: &str) -> ! {
    eprintln!("fatal: {reason}");
    std::process::abort()
}

/// How long `questions` from core 0 to core 1 take with so many in flight.
fn ask(questions: u64, in_flight: usize) -> Duration {
    let allowed = allowed_cpus();
    let cpus = (0..CORES).map(|core| allowed[core % allowed.len()]).collect();
    let settings = ExecutorSettings { cpus, io_memory: 1 << 20, spin: Duration::ZERO, fatal };
    let done = Arc::new(AtomicUsize::new(0));
    let took = start(&settings, links(CORES, DEPTH), move |core, link: Link<u64, u64>| {
        let done = Arc::clone(&done);
        async move {
            let mesh = link.join(fatal).await;
            mesh.serve(|_, question| async move { question + 1 });
            let begun = Instant::now();
            if core == 0 {
                let mut waiting = VecDeque::new();
                for question in 0..questions {
                    if waiting.len() == in_flight
                        && let Some(answer) = waiting.pop_front()
                    {
                        answer.await;
                    }
                    waiting.push_back(mesh.call(1, question).await);
                }
                for answer in waiting {
                    answer.await;
                }
            }
            let took = begun.elapsed();
            // No core may end while the other still asks it.
            done.fetch_add(1, Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < CORES {
                sleep(Duration::from_millis(1)).await;
            }
            took
        }
    });
    took.expect("two executors; `millrace check` says what is missing").join()[0]
}

fn mesh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    // Executors start anew for every sample: few, and no long warm-up.
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for in_flight in [1, 64] {
        group.bench_function(format!("question and answer, {in_flight} in flight"), |bencher| {
            bencher.iter_custom(|questions| ask(questions, in_flight));
        });
    }
}

criterion_group!(all, mesh);
criterion_main!(all);
