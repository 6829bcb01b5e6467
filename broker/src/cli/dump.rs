//! `millrace dump`: files at rest, readable, with every checksum verified.

use std::io::Write;
use std::path::PathBuf;

use crate::fatal::{Exit, Fatal};

/// Prints every file, also behind one that is damaged.
///
/// # Errors
/// Exit 4 when one could not be read or is damaged.
pub fn run(files: &[PathBuf], out: &mut dyn Write) -> Result<(), Fatal> {
    let mut failed = 0;
    for path in files {
        // A reader that went away (`| head`) is no fault of the file.
        if writeln!(out, "{}", path.display()).is_err() {
            return Ok(());
        }
        if let Err(error) = storage::dump::dump_file(path, out) {
            failed += 1;
            eprintln!("{}: {error}", path.display());
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Fatal::new(
            Exit::DataDirectory,
            format!("{failed} of {} files are damaged or unreadable", files.len()),
        )),
    }
}
