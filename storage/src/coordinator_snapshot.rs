//! What a coordinator knew at one offset of its partition, as the keys and values of the records that say it. A coordinator
//! starts from it and replays only what follows, however many commits the log has seen. The log can rebuild it.

use std::io;

use model::{Offset, TopicPartition};

use crate::bytes_at::{i64_at, len_u32, u32_at};
use crate::derived::Derived;
use crate::disk::Disk;
use crate::sealed_file::FileKind;
use crate::store::Store;

/// `coordinator` files.
pub const KIND: FileKind = FileKind { magic: *b"MLCS", version: 1, name: "coordinator snapshot" };
/// A snapshot larger than this is refused as damaged, and not written.
pub const BYTES_MAX: usize = 256 << 20;

/// Key and value of one record.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A coordinator at `offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorSnapshot {
    /// Every record before this offset is in it.
    pub offset: Offset,
    /// The records, no tombstones.
    pub records: Vec<Pair>,
}

impl CoordinatorSnapshot {
    /// As a file: the offset, then for each record the lengths of key and value and both.
    pub fn to_file(&self) -> Vec<u8> {
        let size: usize = self.records.iter().map(|(key, value)| 8 + key.len() + value.len()).sum();
        let mut body = Vec::with_capacity(8 + size);
        body.extend_from_slice(&self.offset.0.to_le_bytes());
        for (key, value) in &self.records {
            body.extend_from_slice(&len_u32(key.len()).to_le_bytes());
            body.extend_from_slice(&len_u32(value.len()).to_le_bytes());
            body.extend_from_slice(key);
            body.extend_from_slice(value);
        }
        KIND.seal(&body)
    }

    /// From a file; the message says what is wrong.
    pub fn from_file(file: &[u8]) -> Result<Self, String> {
        let body = KIND.open(file)?;
        let short = || format!("{} is malformed", KIND.name);
        if body.len() < 8 {
            return Err(short());
        }
        let offset = Offset(i64_at(&body, 0));
        let mut rest = &body[8..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let (lengths, after) = rest.split_at_checked(8).ok_or_else(short)?;
            let (key, after) = after.split_at_checked(u32_at(lengths, 0) as usize).ok_or_else(short)?;
            let (value, after) = after.split_at_checked(u32_at(lengths, 4) as usize).ok_or_else(short)?;
            records.push((key.to_vec(), value.to_vec()));
            rest = after;
        }
        Ok(Self { offset, records })
    }
}

impl<D: Disk, S: Derived> Store<D, S> {
    /// The snapshot of the coordinator on a partition, if there is one. The error says what is wrong with it.
    pub async fn coordinator_snapshot(
        &self,
        id: TopicPartition,
    ) -> Result<Option<CoordinatorSnapshot>, String> {
        let path = self.paths.coordinator(id);
        let file = match self.disk.read_file(&path, BYTES_MAX).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let snapshot = CoordinatorSnapshot::from_file(&file);
        snapshot.map(Some).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Puts a snapshot in the place of the one before; durable on return.
    pub async fn store_coordinator_snapshot(
        &self,
        id: TopicPartition,
        snapshot: &CoordinatorSnapshot,
    ) -> io::Result<()> {
        let file = snapshot.to_file();
        if file.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} bytes", file.len())));
        }
        self.make_partition_dir(id).await?;
        self.disk.replace_file(&self.paths.coordinator(id), file).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> CoordinatorSnapshot {
        CoordinatorSnapshot {
            offset: Offset(77),
            records: vec![(vec![1, 2], vec![3]), (vec![4], Vec::new()), (vec![5; 300], vec![6; 9])],
        }
    }

    #[test]
    fn a_file_comes_back() {
        assert_eq!(CoordinatorSnapshot::from_file(&snapshot().to_file()), Ok(snapshot()));
    }

    #[test]
    fn the_first_bytes_are_as_drawn() {
        let file = snapshot().to_file();
        assert_eq!(file[..8], *b"MLCS\x01\0\0\0");
        assert_eq!(file[16..32], [77, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(file[32..35], [1, 2, 3]);
    }

    #[test]
    fn damage_is_found() {
        let file = snapshot().to_file();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            // Reserved bytes are covered by nothing that is read.
            assert!((6..8).contains(&at) || CoordinatorSnapshot::from_file(&damaged).is_err(), "byte {at}");
        }
        for len in 0..file.len() {
            assert!(CoordinatorSnapshot::from_file(&file[..len]).is_err(), "{len} bytes");
        }
    }
}
