//! What a crash left on the simulated device.

use std::path::{Path, PathBuf};

use super::content::Fate;
use super::file_system::FileSystem;
use crate::disk::random::Random;
use model::limits::BLOCK;

/// The state of a device without a running process. After a kill it still tells apart what is durable from what only the
/// kernel holds, so a later power cut can lose what an earlier process wrote; after a power cut everything is durable.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) fs: FileSystem,
}

impl Default for Image {
    fn default() -> Self {
        Self { fs: FileSystem::new() }
    }
}

impl Image {
    /// The power fails now. Other generators give other outcomes of the same state.
    #[must_use]
    pub fn power_cut(&self, random: &mut Random) -> Self {
        let mut fs = self.fs.clone();
        fs.power_cut(random);
        Self { fs }
    }

    /// Whether a power cut would lose nothing.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.fs.is_synced()
    }

    /// Every file, sorted by path.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut paths = self.fs.walk(Path::new("/")).unwrap_or_default();
        paths.retain(|path| self.fs.find(path).is_ok_and(|node| self.fs.file(node).is_ok()));
        paths.sort();
        paths
    }

    /// Content of a file as readers see it, `None` when there is no such file.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.fs.file(self.fs.find(path).ok()?).ok()?.live();
        Some(file.read(0, usize::try_from(file.size).ok()?))
    }

    /// Bit rot: flips the bits of `mask` in one byte at rest. False when the file does not reach that far.
    pub fn flip(&mut self, path: &Path, position: u64, mask: u8) -> bool {
        flip(&mut self.fs, path, position, mask)
    }

    /// Puts a durable file, with the directories above it: a stray one, or one from another version.
    ///
    /// # Panics
    /// When a part of the path is there as the other kind.
    pub fn plant(&mut self, path: &Path, contents: &[u8]) {
        for dir in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            self.fs.make_dir(dir).expect("a directory or nothing is there");
        }
        let node = self.fs.create(path).expect("a file or nothing is there");
        let padded = contents.len().next_multiple_of(BLOCK) as u64;
        self.fs.capacity = self.fs.capacity.saturating_add(padded);
        let wrote = self.fs.write(node, 0, contents, Fate::Kept, &mut Random::new(0));
        wrote.expect("room was made");
        self.fs.close(node);
        self.make_durable(path);
    }

    /// Removes a file or directory for good, as a careless operator does. False when it is not there.
    pub fn remove(&mut self, path: &Path) -> bool {
        let Ok(doomed) = self.fs.walk(path) else { return false };
        for path in doomed {
            self.fs.remove(&path).expect("children come first");
            self.make_durable(&path);
        }
        true
    }

    /// Cuts a file short or extends it with zeros. False when it is not there.
    pub fn set_size(&mut self, path: &Path, size: u64) -> bool {
        let file = self.fs.find(path).and_then(|node| self.fs.file_mut(node));
        file.is_ok_and(|file| {
            file.set_size(size);
            true
        })
    }

    /// Syncs a file, if it is there, and all directories above it.
    fn make_durable(&mut self, path: &Path) {
        if let Ok(file) = self.fs.find(path).and_then(|node| self.fs.file_mut(node)) {
            file.persist(u64::MAX);
        }
        let mark = self.fs.name_mark();
        for dir in path.ancestors().skip(1) {
            let synced = self.fs.find(dir).and_then(|node| self.fs.persist_dir(node, mark));
            synced.expect("the parents are directories");
        }
    }
}

/// See [`Image::flip`].
pub(super) fn flip(fs: &mut FileSystem, path: &Path, position: u64, mask: u8) -> bool {
    let Ok(file) = fs.find(path).and_then(|node| fs.file_mut(node)) else { return false };
    let there = position < file.live().size;
    if there {
        file.flip(position, mask);
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_files_survive_a_power_cut_and_can_be_damaged() {
        let path = Path::new("/a/b/c");
        let mut image = Image::default();
        image.plant(path, b"hello");
        let mut image = image.power_cut(&mut Random::new(1));
        assert!(image.is_synced());
        assert_eq!(image.files(), [path]);
        assert!(image.flip(path, 1, 0x20));
        assert!(!image.flip(path, 5, 1));
        assert_eq!(image.read(path).as_deref(), Some(&b"hEllo"[..]));
        assert!(image.set_size(path, 2));
        assert_eq!(image.read(path).as_deref(), Some(&b"hE"[..]));
        assert!(image.remove(Path::new("/a/b")));
        assert!(image.power_cut(&mut Random::new(2)).files().is_empty());
    }
}
