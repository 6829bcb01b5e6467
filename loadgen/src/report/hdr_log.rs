//! The run as an HdrHistogram interval log, for HdrHistogram's own tools.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::distribution::unpack;
use super::interval::Measure;
use super::model::Report;

/// One measure in one interval. Packed, as half an hour of open histograms would be gigabytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// The interval's start, from the start of the run.
    pub from: Duration,
    /// The interval's length.
    pub length: Duration,
    /// Of what.
    pub measure: Measure,
    /// As `distribution::pack` made it.
    pub packed: Vec<u8>,
}

/// The log as it goes into a file. Warm-up is in it, and the comments say how long that was: readers can leave out what
/// is before it (`-start`).
pub fn log(report: &Report) -> Result<Vec<u8>, String> {
    let started: SystemTime =
        humantime::parse_rfc3339(&report.started).map_err(|e| format!("start of the run: {e}"))?;
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(&format!("[Histogram log format version 1.3]\n[{}]", report.generator))
        .add_comment(&format!(
            "Latencies in microseconds, one tag per measure; warm-up until {} s",
            report.warm_up_s
        ))
        .with_start_time(started)
        .with_base_time(started)
        // Shown in milliseconds, as other writers of such logs do: their values are nanoseconds, and the divisor 10^6.
        .with_max_value_divisor(1_000.0)
        .begin_log_with(&mut bytes, &mut serializer)
        .map_err(|e| e.to_string())?;
    writer
        .write_comment(
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"",
        )
        .map_err(|e| e.to_string())?;
    for entry in &report.log {
        let histogram: Histogram<u64> = unpack(&entry.packed)?;
        writer
            .write_histogram(&histogram, entry.from, entry.length, Tag::new(entry.measure.tag()))
            .map_err(|e| format!("{e}"))?;
    }
    Ok(bytes)
}
