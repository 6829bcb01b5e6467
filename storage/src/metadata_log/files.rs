//! Which files of a metadata log there are, and what is in them.

use std::io;
use std::path::Path;

use super::envelope::{self, Link, Scan};
use super::{
    FILE_BYTES_MAX, HARD_STATE, HARD_STATE_NAME, HardState, LINK_BYTES, LOG, LogSnapshot, MetadataLogError,
    SNAPSHOT, decode_link,
};
use crate::bytes_at::{i32_at, u64_at};
use crate::disk::Disk;
use crate::sealed_file::FileKind;

/// Files in the directory, by what their names say.
#[derive(Default)]
pub(super) struct Names {
    pub logs: Vec<u64>,
    pub snapshots: Vec<u64>,
    pub hard_state: bool,
}

impl Names {
    pub(super) async fn list(disk: &impl Disk, dir: &Path) -> Result<Self, MetadataLogError> {
        let mut names = Self::default();
        let listed = match disk.list_dir(dir).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            listed => listed.map_err(|error| MetadataLogError::Io(dir.to_owned(), error))?,
        };
        for entry in listed {
            let number = |suffix| entry.name.strip_suffix(suffix).and_then(|stem| stem.parse().ok());
            if let Some(first) = number(".log") {
                names.logs.push(first);
            } else if let Some(index) = number(".snapshot") {
                names.snapshots.push(index);
            } else if entry.name == HARD_STATE_NAME {
                names.hard_state = true;
            }
        }
        names.logs.sort_unstable();
        names.snapshots.sort_unstable();
        Ok(names)
    }
}

pub(super) async fn read_sealed(
    disk: &impl Disk,
    path: &Path,
    kind: FileKind,
) -> Result<Vec<u8>, MetadataLogError> {
    let file = disk.read_file(path, FILE_BYTES_MAX).await;
    let file = file.map_err(|error| MetadataLogError::Io(path.to_owned(), error))?;
    kind.open(&file).map_err(|what| MetadataLogError::Damaged(path.to_owned(), 0, what))
}

pub(super) async fn read_hard_state(
    disk: &impl Disk,
    dir: &Path,
    names: &Names,
) -> Result<HardState, MetadataLogError> {
    if !names.hard_state {
        return Ok(HardState::default());
    }
    let path = dir.join(HARD_STATE_NAME);
    let body = read_sealed(disk, &path, HARD_STATE).await?;
    if body.len() < 20 {
        return Err(MetadataLogError::Damaged(path, 0, "a hard state that is too short".into()));
    }
    Ok(HardState { term: u64_at(&body, 0), vote: i32_at(&body, 8), commit: u64_at(&body, 12) })
}

pub(super) async fn read_snapshot(
    disk: &impl Disk,
    path: &Path,
) -> Result<(LogSnapshot, Link), MetadataLogError> {
    let body = read_sealed(disk, path, SNAPSHOT).await?;
    let damaged = || MetadataLogError::Damaged(path.to_owned(), 0, "a snapshot that is too short".into());
    let link = decode_link(&body).ok_or_else(damaged)?;
    let contents = body[LINK_BYTES..].to_vec();
    Ok((LogSnapshot { index: link.index, term: link.term, contents }, link))
}

pub(super) async fn read_log(disk: &impl Disk, path: &Path) -> Result<(Link, Scan), MetadataLogError> {
    let file = disk.read_file(path, FILE_BYTES_MAX).await;
    let file = file.map_err(|error| MetadataLogError::Io(path.to_owned(), error))?;
    let damaged = |at, what: &str| MetadataLogError::Damaged(path.to_owned(), at, what.to_owned());
    let body = LOG.open(&file).map_err(|what| damaged(0, &what))?;
    let first = decode_link(&body).ok_or_else(|| damaged(0, "a header that is too short"))?;
    let scan = envelope::scan(&file, first)
        .map_err(|at| damaged(at, "an entry that was durable fails its checksum"))?;
    Ok((first, scan))
}
