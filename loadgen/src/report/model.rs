//! The report: what `--json` writes and `compare` reads.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a report could not be read or written. The text names the file.
#[derive(Debug)]
pub struct ReportError(pub String);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReportError {}

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
}

impl Report {
    /// The table that is printed at the end.
    pub fn summary(&self) -> String {
        String::new()
    }

    /// Writes what `compare` and [`Report::read_json`] read.
    pub fn write_json(&self, _path: &Path) -> Result<(), ReportError> {
        Ok(())
    }

    /// Reads what [`Report::write_json`] wrote.
    pub fn read_json(_path: &Path) -> Result<Report, ReportError> {
        Ok(Report { version: 1 })
    }

    /// Writes the histograms of every second as an HdrHistogram interval log, one tag per measure, values in
    /// microseconds. Only a report that was just measured has them.
    pub fn write_hdr(&self, _path: &Path) -> Result<(), ReportError> {
        Ok(())
    }

    /// Writes one page that needs nothing else.
    pub fn write_html(&self, _path: &Path) -> Result<(), ReportError> {
        Ok(())
    }
}
