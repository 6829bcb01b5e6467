//! What a truncation leaves without a use.

use std::io;
use std::path::PathBuf;

use model::{Offset, TopicPartition};

use crate::disk::Disk;
use crate::paths::{Paths, parse_segment_file};
use crate::segment::SegmentName;

/// Files of a partition that lie behind its end.
pub(crate) struct FilesBehind {
    /// Segments behind the active one.
    pub segments: Vec<SegmentName>,
    /// Snapshots behind the end.
    pub snapshots: Vec<PathBuf>,
}

/// Lists what a truncation to `end` in segment `active` leaves without a use.
pub(crate) async fn files_behind<D: Disk>(
    disk: &D,
    paths: &Paths,
    id: TopicPartition,
    active: Offset,
    end: Offset,
) -> io::Result<FilesBehind> {
    let mut behind = FilesBehind { segments: Vec::new(), snapshots: Vec::new() };
    let dir = paths.partition(id);
    let listed = match disk.list_dir(&dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(behind),
        listed => listed?,
    };
    for entry in listed {
        let Some((name, kind)) = parse_segment_file(&entry.name) else { continue };
        match kind {
            "log" if name.base > active => behind.segments.push(name),
            "snapshot" if name.base > end => behind.snapshots.push(dir.join(&entry.name)),
            _ => {}
        }
    }
    Ok(behind)
}
