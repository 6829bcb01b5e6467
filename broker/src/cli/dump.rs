//! `millrace dump`: files at rest, readable, with every checksum verified.

use std::io::{self, Write};
use std::path::PathBuf;

use coordination::group::record::decode as group_record;
use coordination::metadata::delta::{Record, decode_state};
use storage::dump::{Describe, DumpError, dump_file};

use crate::fatal::{Exit, Fatal};

/// Metadata records as the code names them.
struct Records;

impl Describe for Records {
    fn record(&self, kind: u16, version: u16, payload: &[u8]) -> String {
        match Record::decode(kind, version, payload) {
            Ok(record) => format!("{record:?}"),
            Err(error) => format!("{error} ({} bytes)", payload.len()),
        }
    }

    fn state(&self, contents: &[u8]) -> Vec<String> {
        match decode_state(contents) {
            Ok(records) => records.iter().map(|record| format!("{record:?}")).collect(),
            Err(error) => vec![format!("{error} ({} bytes)", contents.len())],
        }
    }

    fn coordinator_record(&self, key: &[u8], value: &[u8]) -> String {
        match group_record(key, Some(value)) {
            Ok(record) => format!("{record:?}"),
            Err(error) => format!("{error} (key of {} bytes, value of {})", key.len(), value.len()),
        }
    }
}

/// Prints every file, also behind one that is damaged.
///
/// # Errors
/// Exit 4 when one could not be read or is damaged.
pub fn run(files: &[PathBuf], out: &mut dyn Write) -> Result<(), Fatal> {
    let mut failed = 0;
    for path in files {
        let dumped = writeln!(out, "{}", path.display()).map_err(DumpError::Io);
        match dumped.and_then(|()| dump_file(path, &Records, out)) {
            Ok(()) => {}
            // A reader that went away (`| head`) is no fault of the file.
            Err(DumpError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", path.display());
            }
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
