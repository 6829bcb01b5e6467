//! What ended journals and deleted topics leave behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::TopicId;
use model::limits::BLOCK;

use crate::disk::{Disk, File};
use crate::journal::JournalId;
use crate::journal::replay::{RecoveryError, io_error};
use crate::journal::ring::read_header;
use crate::paths::{Paths, ring_file_number};

/// Puts ended journals out of use, in one step each, and returns the ring files that may be taken over.
pub async fn retire<D: Disk>(
    disk: &D,
    paths: &Paths,
    journals: &[JournalId],
) -> Result<Vec<PathBuf>, RecoveryError> {
    let all = paths.journals();
    for id in journals {
        let from = paths.journal(*id);
        disk.rename(&from, &all.join(format!("{id}.retired"))).await.map_err(io_error(&from))?;
    }
    disk.sync_dir(&all).await.map_err(io_error(&all))?;
    let mut adoptable = BTreeMap::new();
    for dir in disk.list_dir(&all).await.map_err(io_error(&all))? {
        if !dir.name.ends_with(".retired") {
            continue;
        }
        let path = all.join(&dir.name);
        let files = disk.list_dir(&path).await.map_err(io_error(&path))?;
        let mut kept = 0;
        for file in files.iter().filter(|file| ring_file_number(&file.name).is_some()) {
            let path = path.join(&file.name);
            // A power cut may have left one file under two names: the name of the ring it came from, and that of the one it
            // joined. It is taken over once. One without a header was never used.
            match ring_header(disk, &path).await? {
                Some(header) if !adoptable.contains_key(&header) => {
                    adoptable.insert(header, path);
                    kept += 1;
                }
                _ => disk.remove_file(&path).await.map_err(io_error(&path))?,
            }
        }
        if kept == 0 {
            disk.remove_dir(&path).await.map_err(io_error(&path))?;
        }
    }
    Ok(adoptable.into_values().collect())
}

/// Removes what is left of a deleted topic, durably: its tombstone may go after that. Every shard has deleted it before.
pub async fn remove_topic<D: Disk>(disk: &D, paths: &Paths, topic: TopicId) -> std::io::Result<()> {
    disk.remove_dir(&paths.topic(topic)).await?;
    match disk.sync_dir(&paths.topics()).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn ring_header<D: Disk>(disk: &D, path: &Path) -> Result<Option<(JournalId, u32)>, RecoveryError> {
    let file = disk.open(path).await.map_err(io_error(path))?;
    let block = file.read(0, BLOCK).await.map_err(io_error(path))?;
    file.close().await.map_err(io_error(path))?;
    Ok(read_header((*block).as_ref()).ok())
}
