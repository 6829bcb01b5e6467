//! Counters of all cores as OpenMetrics text.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use shard::counters::{Counted, Gauge, Snapshot, Timed};

/// What the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of times, in microseconds; one for the rest follows.
const BOUNDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// The text for one scrape; a core without a snapshot did not answer.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub fn encode(cores: Vec<Option<Snapshot>>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("millrace");
    registry.register_collector(Box::new(Scrape { cores }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    cores: Vec<Option<Snapshot>>,
}

impl Scrape {
    /// The cores that answered, with their labels.
    fn answered(&self) -> impl Iterator<Item = (String, &Snapshot)> {
        self.cores
            .iter()
            .enumerate()
            .filter_map(|(core, snapshot)| Some((core.to_string(), snapshot.as_ref()?)))
    }

    fn up(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric =
            encoder.encode_descriptor("core_up", "Whether the core answered", None, MetricType::Gauge)?;
        for (core, snapshot) in self.cores.iter().enumerate() {
            let labels = [("core", core.to_string())];
            metric.encode_family(&labels)?.encode_gauge(&i64::from(snapshot.is_some()))?;
        }
        Ok(())
    }

    fn counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for kind in Counted::ALL {
            let mut metric =
                encoder.encode_descriptor(kind.name(), help(kind.name()), None, MetricType::Counter)?;
            for (core, snapshot) in self.answered() {
                let count = snapshot.counts.get(kind as usize).copied().unwrap_or(0);
                let labels = [("core", core)];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for kind in Gauge::ALL.into_iter().filter(|kind| kind.memory_use().is_none()) {
            let mut metric =
                encoder.encode_descriptor(kind.name(), help(kind.name()), None, MetricType::Gauge)?;
            for (core, snapshot) in self.answered() {
                let labels = [("core", core)];
                metric.encode_family(&labels)?.encode_gauge(&gauge(snapshot, kind))?;
            }
        }
        let help = "Memory in use, by what for";
        let mut metric = encoder.encode_descriptor("memory_bytes", help, None, MetricType::Gauge)?;
        for (core, snapshot) in self.answered() {
            for kind in Gauge::ALL {
                if let Some(memory_use) = kind.memory_use() {
                    let labels = [("core", core.clone()), ("use", memory_use.to_owned())];
                    metric.encode_family(&labels)?.encode_gauge(&gauge(snapshot, kind))?;
                }
            }
        }
        Ok(())
    }

    fn timings(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for kind in Timed::ALL {
            let name = format!("{}_seconds", kind.name());
            let mut metric =
                encoder.encode_descriptor(&name, help(kind.name()), None, MetricType::Histogram)?;
            for (core, snapshot) in self.answered() {
                let Some(timing) = snapshot.timings.get(kind as usize) else { continue };
                let (sum, buckets) = bucketed(timing);
                let labels = [("core", core)];
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    sum,
                    timing.len(),
                    &buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.up(&mut encoder)?;
        self.counts(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.timings(&mut encoder)
    }
}

fn gauge(snapshot: &Snapshot, kind: Gauge) -> i64 {
    let value = snapshot.gauges.get(kind as usize).copied().unwrap_or(0);
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Sum in seconds, and how many fell between each bound and the one before.
fn bucketed(timing: &Histogram<u64>) -> (f64, Vec<(f64, u64)>) {
    let mut counts = [0; BOUNDS_US.len() + 1];
    let mut sum = 0.0;
    for step in timing.iter_recorded() {
        let us = step.value_iterated_to();
        let n = step.count_at_value();
        counts[BOUNDS_US.partition_point(|bound| *bound < us)] += n;
        sum += seconds(us) * n as f64;
    }
    let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
    (sum, bounds.zip(counts).collect())
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// One line about a metric.
fn help(name: &str) -> &'static str {
    match name {
        "produce" => "From reading a Produce request to its answer",
        "fetch" => "From reading a Fetch request to its answer, waiting for bytes included",
        "commit" => "From the first append of a journal commit to durable",
        "sync" => "fdatasync of the journal",
        "flush" => "Writes to segments",
        "hop" => "Questions to another core and their answers",
        "produce_requests" => "Produce requests",
        "produce_errors" => "Partitions of Produce requests answered with an error",
        "produce_bytes" => "Bytes of batches appended",
        "produce_records" => "Records appended",
        "fetch_requests" => "Fetch requests",
        "fetch_errors" => "Partitions of Fetch requests answered with an error",
        "fetch_bytes" => "Bytes of batches sent to consumers",
        "fetch_disk_bytes" => "Bytes read from segments for fetches",
        "other_requests" => "Requests of all other kinds",
        "commits" => "Journal commits",
        "journal_bytes" => "Bytes written to the journal, headers and padding included",
        "flush_bytes" => "Bytes written to segments",
        "extent_bytes" => "Bytes of flush_bytes that commits wrote straight to segments: large appends",
        "segment_write_errors" => "Writes to segments that failed: a bad disk, or a full one",
        "damaged_reads" => {
            "Reads of logs that failed because of damage or of the disk; the log names file and byte"
        }
        "connections_accepted" => "Connections accepted",
        "connections_refused" => "Connections refused because their address had its share",
        "connections_faulted" => "Connections closed because of what they sent or because a handler failed",
        "received_bytes" => "Bytes received",
        "sent_bytes" => "Bytes sent",
        "connections" => "Connections",
        "partitions" => "Partitions this core owns",
        "compaction_read_bytes" => "Bytes of segments that compaction read",
        "compaction_written_bytes" => "Bytes of segments that compaction wrote",
        "compaction_errors" => "Passes of compaction that failed; the log says why",
        "partitions_read_only" => "Partitions that take no appends because the disk is full or failed",
        _ => "See the documentation",
    }
}
