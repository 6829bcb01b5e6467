//! A simulated file system and a directory of the machine: put one there, and hold the other against it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::content::Fate;
use super::file_system::NodeId;
use super::image::Image;
use super::playback::Playback;
use crate::bytes_at::{block_down, block_up};
use crate::disk::random::Random;
use crate::disk::tape::Action;
use crate::disk::temporary_path;
use model::limits::BLOCK;

impl Image {
    /// Makes the directory `root` and puts everything below it. Zeros take no space.
    ///
    /// # Errors
    /// Of the machine's file system.
    pub fn store(&self, root: &Path) -> io::Result<()> {
        fs::create_dir_all(root)?;
        for path in self.fs.walk(Path::new(""))?.into_iter().rev() {
            let place = root.join(&path);
            match self.fs.find(&path).and_then(|node| self.fs.file(node)) {
                Ok(file) => {
                    let out = File::create(place)?;
                    let content = file.live();
                    out.set_len(content.size)?;
                    for (position, bytes) in content.filled() {
                        out.write_all_at(bytes, position)?;
                    }
                }
                Err(_) if path.as_os_str().is_empty() => {}
                Err(_) => fs::create_dir(place)?,
            }
        }
        Ok(())
    }
}

/// What is below a directory of the machine.
struct Observed {
    root: PathBuf,
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl Observed {
    fn new(root: &Path) -> io::Result<Self> {
        let mut observed =
            Self { root: root.to_owned(), files: BTreeSet::new(), directories: BTreeSet::new() };
        observed.enter(Path::new(""))?;
        Ok(observed)
    }

    fn enter(&mut self, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.enter(&path)?;
                self.directories.insert(path);
            } else {
                self.files.insert(path);
            }
        }
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        self.files.contains(path) || self.directories.contains(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(path))
    }
}

impl Playback {
    /// The process was killed and left `root` behind, in which files named `ignored` are not looked at. What it had under way
    /// has happened as far as can be seen there. Returns what else differs: changes that went around the recording.
    ///
    /// # Errors
    /// Of the machine's file system, or when the recording contradicts itself.
    pub fn killed(&mut self, root: &Path, ignored: &[&str]) -> io::Result<Vec<String>> {
        let mut observed = Observed::new(root)?;
        observed
            .files
            .retain(|path| !path.file_name().is_some_and(|name| ignored.iter().any(|no| name == *no)));
        let under_way: Vec<Action<Vec<u8>>> = self.actions_under_way().cloned().collect();
        for action in &under_way {
            self.settle_names(action, &observed)?;
        }
        let mut differences = Vec::new();
        let ranges = self.ranges(&under_way);
        for path in self.fs.walk(Path::new(""))? {
            let node = self.fs.find(&path)?;
            let is_file = self.fs.file(node).is_ok();
            if path.as_os_str().is_empty() {
                continue;
            }
            if !observed.has(&path) {
                differences.push(format!("{} is gone", path.display()));
            } else if is_file {
                let bytes = observed.read(&path)?;
                let few = Vec::new();
                self.settle_contents(
                    node,
                    &path,
                    &bytes,
                    ranges.get(&node).unwrap_or(&few),
                    &mut differences,
                )?;
            }
            observed.files.remove(&path);
            observed.directories.remove(&path);
        }
        let unknown = observed.files.iter().chain(&observed.directories);
        differences.extend(unknown.map(|path| format!("{} came from nowhere", path.display())));
        self.forget_process();
        Ok(differences)
    }

    fn settle_names(&mut self, action: &Action<Vec<u8>>, observed: &Observed) -> io::Result<()> {
        let known = |playback: &Self, path: &Path| playback.fs.find(path).is_ok();
        match action {
            Action::Create(path) if observed.has(path) => {
                let emptied = observed.read(path)?.is_empty();
                if !known(self, path) || emptied {
                    let node = self.fs.create(path)?;
                    self.fs.close(node);
                }
            }
            Action::Rename(from, to) if !observed.has(from) && known(self, from) => {
                self.fs.rename(from, to)?
            }
            Action::RemoveFile(path) if !observed.has(path) && known(self, path) => self.fs.remove(path)?,
            Action::RemoveDir(path) => {
                for path in self.below(path)? {
                    if !observed.has(&path) {
                        self.fs.remove(&path)?;
                    }
                }
            }
            Action::CreateDir(path) => {
                let mut levels: Vec<&Path> = path.ancestors().collect();
                levels.reverse();
                for level in levels {
                    if observed.has(level) && !known(self, level) {
                        self.fs.make_dir(level)?;
                    }
                }
            }
            Action::Replace(path, contents) => {
                let temporary = temporary_path(path)?;
                if observed.has(&temporary) {
                    // As far as its contents came; whether they were synced nobody knows.
                    let bytes = observed.read(&temporary)?;
                    self.replace(path, &bytes, if bytes.is_empty() { 1 } else { 2 }, 0)?;
                } else if observed.has(path) && observed.read(path)? == *contents {
                    self.replace(path, contents, 4, 0)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Where writes and reservations under way may have changed files.
    fn ranges(&self, under_way: &[Action<Vec<u8>>]) -> BTreeMap<NodeId, Vec<(u64, u64)>> {
        let mut ranges: BTreeMap<NodeId, Vec<(u64, u64)>> = BTreeMap::new();
        for action in under_way {
            let (file, from, len) = match action {
                Action::Write(file, position, bytes) => (*file, *position, bytes.len() as u64),
                Action::WriteZeros(file, position, len) | Action::Allocate(file, position, len) => {
                    (*file, *position, *len)
                }
                _ => continue,
            };
            if let Ok(node) = self.node(file) {
                ranges.entry(node).or_default().push((from, from + len));
            }
        }
        ranges
    }

    fn settle_contents(
        &mut self,
        node: NodeId,
        path: &Path,
        bytes: &[u8],
        ranges: &[(u64, u64)],
        differences: &mut Vec<String>,
    ) -> io::Result<()> {
        let before = self.fs.file(node)?.live();
        let (before, size) = (before.read(0, usize::MAX), bytes.len() as u64);
        if before.len() != bytes.len() && !ranges.iter().any(|(_, to)| *to >= size) {
            differences.push(format!("{} has {size} bytes and not {}", path.display(), before.len()));
        }
        if size > before.len() as u64 {
            let from = block_down(before.len() as u64);
            self.fs.allocate(node, from, block_up(size) - from)?;
        }
        for (at, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
            let index = usize::try_from(at).map_err(io::Error::other)?;
            let old = before.get(index..before.len().min(index + BLOCK)).unwrap_or_default();
            let same = old == block || (old.is_empty() && block.iter().all(|byte| *byte == 0));
            if same {
                continue;
            }
            if ranges.iter().any(|(from, to)| (*from..*to).contains(&at)) {
                self.fs.write(node, at, block, Fate::Kept, &mut Random::new(0))?;
            } else {
                differences.push(format!("{} differs at {at}", path.display()));
                break;
            }
        }
        Ok(())
    }
}
