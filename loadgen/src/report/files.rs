//! Reports in files.

use std::fs;
use std::path::Path;

use super::hdr_log;
use super::model::{FORMAT, Report, ReportError, VERSION};
use super::page;

/// Names the file in front of what went wrong.
fn failed(path: &Path, what: impl std::fmt::Display) -> ReportError {
    ReportError(format!("{}: {what}", path.display()))
}

impl Report {
    /// Writes what `compare` and [`Report::read_json`] read.
    pub fn write_json(&self, path: &Path) -> Result<(), ReportError> {
        let mut text = serde_json::to_string_pretty(self).map_err(|e| failed(path, e))?;
        text.push('\n');
        fs::write(path, text).map_err(|e| failed(path, e))
    }

    /// Reads what [`Report::write_json`] wrote, by this version or an older one.
    pub fn read_json(path: &Path) -> Result<Report, ReportError> {
        let text = fs::read_to_string(path).map_err(|e| failed(path, e))?;
        Report::from_json(&text).map_err(|e| failed(path, e))
    }

    /// The same from text. Everything is checked that pages rely on.
    pub fn from_json(text: &str) -> Result<Report, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        if value.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
            return Err("not a report of millrace-loadgen".to_owned());
        }
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        match version {
            Some(version) if version > u64::from(VERSION) => {
                return Err(format!(
                    "a report of a newer millrace-loadgen (format version {version}; this one reads up to {VERSION})"
                ));
            }
            Some(1..) => {}
            _ => return Err("a report without a usable format version".to_owned()),
        }
        let report: Report =
            serde_json::from_value(value).map_err(|e| format!("a report, but damaged: {e}"))?;
        for (measure, distribution) in &report.whole.latencies {
            distribution.histogram().map_err(|e| format!("{} latencies: {e}", measure.title()))?;
        }
        Ok(report)
    }

    /// Writes the histograms of every second as an HdrHistogram interval log, one tag per measure, values in
    /// microseconds. Only a report that was just measured has them.
    pub fn write_hdr(&self, path: &Path) -> Result<(), ReportError> {
        let bytes = hdr_log::log(self).map_err(|e| failed(path, e))?;
        fs::write(path, bytes).map_err(|e| failed(path, e))
    }

    /// Writes one page that needs nothing else.
    pub fn write_html(&self, path: &Path) -> Result<(), ReportError> {
        let html = page::single(self).map_err(|e| failed(path, e))?;
        fs::write(path, html).map_err(|e| failed(path, e))
    }
}
