//! Files at rest as text for people, with every checksum verified. Blocking; for tools only.
//!
//! A file is known by its magic, so it may lie anywhere under any name; only an index needs its own name. A dump prints what
//! is whole up to the first damage, and says then where that is.

mod journal;
mod segment;
mod small;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::metadata_log;

/// Far above what any file but a segment may have; segments are read piece by piece.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a dump did not reach the end of a file.
#[derive(Debug)]
pub enum DumpError {
    /// Reading failed, or writing the text did.
    Io(io::Error),
    /// What is wrong, and where.
    Damaged(String),
}

impl std::fmt::Display for DumpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DumpError {}

impl From<io::Error> for DumpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for DumpError {
    fn from(what: String) -> Self {
        Self::Damaged(what)
    }
}

/// How metadata records read: what storage keeps for others and cannot explain itself.
pub trait Describe {
    /// One record, by type, type version and payload.
    fn record(&self, kind: u16, version: u16, payload: &[u8]) -> String;
    /// The contents of a snapshot, a line each.
    fn state(&self, contents: &[u8]) -> Vec<String>;
    /// A record of a coordinator.
    fn coordinator_record(&self, key: &[u8], value: &[u8]) -> String;
}

/// Prints the file at `path` to `out`.
///
/// # Errors
/// [`DumpError`]; what was whole is printed by then.
pub fn dump_file(path: &Path, describe: &dyn Describe, out: &mut dyn Write) -> Result<(), DumpError> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut magic)?;
    match magic.as_slice() {
        b"MLSG" => segment::dump(&File::open(path)?, out),
        b"MLJR" => {
            let bytes = read_whole(path)?;
            journal::dump(&bytes, path.ancestors().nth(3), journal::needed_from(path, &bytes), out)
        }
        b"MLCP" => small::checkpoint(&read_whole(path)?, out),
        b"MLPS" => small::snapshot(&read_whole(path)?, out),
        b"MLCS" => small::coordinator(&read_whole(path)?, describe, out),
        b"MLIX" => small::index(path, &read_whole(path)?, out),
        b"MLML" | b"MLMS" | b"MLMH" => metadata_log::dump::dump(&read_whole(path)?, describe, out),
        _ => Err(DumpError::Damaged(
            "not a file of Millrace, or its first bytes are damaged: unknown magic".into(),
        )),
    }
}

fn read_whole(path: &Path) -> Result<Vec<u8>, DumpError> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(DumpError::Damaged(format!(
            "larger than {FILE_BYTES_MAX} bytes: no file of this kind is"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Shows records as their sizes.
    pub(crate) struct Sizes;

    impl Describe for Sizes {
        fn record(&self, kind: u16, version: u16, payload: &[u8]) -> String {
            format!("type {kind} version {version}, {} bytes", payload.len())
        }

        fn state(&self, contents: &[u8]) -> Vec<String> {
            vec![format!("{} bytes", contents.len())]
        }

        fn coordinator_record(&self, key: &[u8], value: &[u8]) -> String {
            format!("key of {} bytes, value of {}", key.len(), value.len())
        }
    }

    #[test]
    fn other_files_are_refused() {
        let mut out = Vec::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(matches!(dump_file(&source, &Sizes, &mut out), Err(DumpError::Damaged(_))));
        let missing = source.with_file_name("missing");
        assert!(matches!(dump_file(&missing, &Sizes, &mut out), Err(DumpError::Io(_))));
    }
}
