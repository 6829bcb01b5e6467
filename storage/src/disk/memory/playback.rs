//! Plays a [`Tape`](crate::disk::tape::Tape) into the simulated file system, so that a power cut at any point of what a real
//! process did obeys the same rules as one in a simulation.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::content::Fate;
use super::dir_node::ChangeId;
use super::file_system::{FileSystem, NodeId};
use super::image::Image;
use crate::disk::random::Random;
use crate::disk::tape::{Action, Event, OperationId};
use crate::disk::temporary_path;

/// A device that breaks its promises: what the rules must catch, to prove that they can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Syncs of files whose path contains this do nothing.
    FileSyncs(String),
    /// Syncs of directories whose path contains this do nothing.
    DirectorySyncs(String),
    /// `syncfs` does nothing.
    FileSystemSyncs,
}

/// What a sync that began will cover.
#[derive(Clone, Debug)]
enum Covers {
    Nothing,
    File(u64),
    Names(ChangeId),
    All(Vec<(NodeId, u64)>),
}

impl Covers {
    /// Changes of names before this one were made when the operation began.
    const fn names(&self) -> ChangeId {
        match self {
            Self::Names(mark) => *mark,
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
struct UnderWay {
    action: Action<Vec<u8>>,
    covers: Covers,
}

/// The state of a data directory at one point of its tapes.
#[derive(Clone, Debug)]
pub struct Playback {
    pub(super) fs: FileSystem,
    files: BTreeMap<OperationId, (NodeId, PathBuf)>,
    under_way: BTreeMap<OperationId, UnderWay>,
    random: Random,
    lie: Option<Lie>,
}

impl Playback {
    /// An empty directory. `lie` makes it keep less than a disk must.
    #[must_use]
    pub fn new(seed: u64, lie: Option<Lie>) -> Self {
        let (files, under_way) = (BTreeMap::new(), BTreeMap::new());
        Self { fs: FileSystem::new(), files, under_way, random: Random::new(seed), lie }
    }

    /// Goes on by one event.
    ///
    /// # Errors
    /// When it cannot have happened after those before: the recording is not complete.
    pub fn play(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Began(operation, action) => {
                let covers = self.covers(&action)?;
                self.under_way.insert(operation, UnderWay { action, covers });
                Ok(())
            }
            Event::Ended(operation, well) => {
                let ended = self.under_way.remove(&operation).ok_or_else(|| not_begun(operation))?;
                if well { self.end(operation, ended) } else { self.fail(&ended.action) }
            }
        }
    }

    /// The power fails here. Other generators give other outcomes.
    #[must_use]
    pub fn cut(&self, random: &mut Random) -> Image {
        let mut at_cut = self.clone();
        for (_, under_way) in std::mem::take(&mut at_cut.under_way) {
            // What cannot happen any more, since something else under way came first, does not.
            let _ = at_cut.partly(&under_way, random);
        }
        Image { fs: at_cut.fs }.power_cut(random)
    }

    /// Operations that began and have not ended.
    pub(super) fn actions_under_way(&self) -> impl Iterator<Item = &Action<Vec<u8>>> {
        self.under_way.values().map(|under_way| &under_way.action)
    }

    /// The process is gone: handles, and whatever it had under way.
    pub(super) fn forget_process(&mut self) {
        self.fs.restart();
        self.files.clear();
        self.under_way.clear();
    }

    /// The file that an operation of this process opened.
    pub(super) fn node(&self, file: OperationId) -> io::Result<NodeId> {
        self.files.get(&file).map(|(node, _)| *node).ok_or_else(|| not_begun(file))
    }

    fn covers(&self, action: &Action<Vec<u8>>) -> io::Result<Covers> {
        Ok(match action {
            Action::Sync(file) if !self.lies_about(*file) => {
                Covers::File(self.fs.file(self.node(*file)?)?.mark())
            }
            Action::SyncDir(path) if !self.lies_about_dir(path) => Covers::Names(self.fs.name_mark()),
            // They sync directories within, at the earliest now; and what else they cover is their own.
            Action::CreateDir(_) | Action::Replace(..) => Covers::Names(self.fs.name_mark()),
            Action::SyncAll if self.lie != Some(Lie::FileSystemSyncs) => Covers::All(self.fs.file_marks()),
            _ => Covers::Nothing,
        })
    }

    fn lies_about(&self, file: OperationId) -> bool {
        self.files.get(&file).is_some_and(|(_, path)| self.lies_about_file(path))
    }

    fn lies_about_file(&self, path: &Path) -> bool {
        matches!(&self.lie, Some(Lie::FileSyncs(part)) if path.to_string_lossy().contains(part))
    }

    fn lies_about_dir(&self, path: &Path) -> bool {
        matches!(&self.lie, Some(Lie::DirectorySyncs(part)) if path.to_string_lossy().contains(part))
    }

    fn end(&mut self, operation: OperationId, UnderWay { action, covers }: UnderWay) -> io::Result<()> {
        match action {
            Action::Create(path) => {
                let node = self.fs.create(&path)?;
                self.files.insert(operation, (node, path));
            }
            Action::Open(path) => {
                let node = self.fs.open(&path)?;
                self.files.insert(operation, (node, path));
            }
            Action::Write(file, position, bytes) => {
                self.fs.write(self.node(file)?, position, &bytes, Fate::Kept, &mut self.random)?;
            }
            Action::WriteZeros(file, position, len) => {
                let zeros = vec![0; usize::try_from(len).map_err(io::Error::other)?];
                self.fs.write(self.node(file)?, position, &zeros, Fate::Kept, &mut self.random)?;
            }
            Action::Allocate(file, position, len) => self.fs.allocate(self.node(file)?, position, len)?,
            Action::Sync(file) => {
                if let Covers::File(mark) = covers {
                    self.fs.file_mut(self.node(file)?)?.persist(mark);
                }
            }
            Action::SyncDir(path) => {
                if let Covers::Names(mark) = covers {
                    self.fs.persist_dir(self.fs.find(&path)?, mark)?;
                }
            }
            Action::SyncAll => {
                if let Covers::All(marks) = covers {
                    for (node, mark) in marks {
                        self.fs.file_mut(node)?.persist(mark);
                    }
                }
            }
            Action::Close(file) => {
                let (node, _) = self.files.remove(&file).ok_or_else(|| not_begun(file))?;
                self.fs.close(node);
            }
            Action::Rename(from, to) => self.fs.rename(&from, &to)?,
            Action::RemoveFile(path) => self.remove(&path)?,
            Action::RemoveDir(path) => {
                for path in self.below(&path)? {
                    self.remove(&path)?;
                }
            }
            Action::CreateDir(path) => self.create_dirs(&path, u64::MAX, covers.names())?,
            Action::Replace(path, contents) => {
                self.replace(&path, &contents, REPLACE_STEPS, covers.names())?;
            }
        }
        Ok(())
    }

    /// An operation ended with an error. Only a write leaves something behind then.
    fn fail(&mut self, action: &Action<Vec<u8>>) -> io::Result<()> {
        if let Action::Write(file, position, bytes) = action {
            let fate = Fate::choose(&mut self.random);
            self.fs.write(self.node(*file)?, *position, bytes, fate, &mut self.random)?;
        }
        Ok(())
    }

    /// Lets some part of an operation happen that was under way when the power failed.
    fn partly(&mut self, UnderWay { action, covers }: &UnderWay, random: &mut Random) -> io::Result<()> {
        let happens = random.one_in(2);
        match action {
            Action::Write(file, position, bytes) => {
                let fate = Fate::choose(random);
                self.fs.write(self.node(*file)?, *position, bytes, fate, random)
            }
            Action::Create(path) if happens => self.fs.create(path).map(drop),
            Action::Rename(from, to) if happens => self.fs.rename(from, to),
            Action::RemoveFile(path) if happens => self.remove(path),
            Action::Allocate(file, position, len) if happens => {
                self.fs.allocate(self.node(*file)?, *position, *len)
            }
            Action::RemoveDir(path) => {
                let doomed = self.below(path)?;
                let gone = random.index(doomed.len() + 1);
                doomed.iter().take(gone).try_for_each(|path| self.remove(path))
            }
            Action::CreateDir(path) => {
                let steps = 2 * path.components().count() as u64;
                self.create_dirs(path, random.between(0, steps), covers.names())
            }
            Action::Replace(path, contents) => {
                self.replace(path, contents, random.between(0, REPLACE_STEPS), covers.names())
            }
            // Zeros that did not arrive are zeros, and a sync that did not end promised nothing.
            _ => Ok(()),
        }
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match self.fs.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// A directory and all in it, children first; nothing when it is not there.
    pub(super) fn below(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        match self.fs.walk(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            walked => walked,
        }
    }

    /// The first `steps` of making directories from the top, two for each: it and its name in the one above. Of other names the
    /// sync of that may cover those before `mark`.
    fn create_dirs(&mut self, path: &Path, steps: u64, mark: ChangeId) -> io::Result<()> {
        let mut levels: Vec<&Path> = path.ancestors().filter(|level| level.file_name().is_some()).collect();
        levels.reverse();
        for (level, step) in levels.into_iter().zip((0..).step_by(2)) {
            let own = self.fs.name_mark();
            if step < steps {
                self.fs.make_dir(level)?;
            }
            if step + 1 < steps {
                self.sync_parent(level, mark, own)?;
            }
        }
        Ok(())
    }

    /// The first `steps` of replacing a file: temporary file, its contents, their sync, its new name, the sync of that. Of other
    /// names the last one may cover those before `mark`.
    pub(super) fn replace(
        &mut self,
        path: &Path,
        contents: &[u8],
        steps: u64,
        mark: ChangeId,
    ) -> io::Result<()> {
        let temporary = temporary_path(path)?;
        let own = self.fs.name_mark();
        if steps > 0 {
            let node = self.fs.create(&temporary)?;
            if steps > 1 {
                self.fs.write(node, 0, contents, Fate::Kept, &mut self.random)?;
            }
            if steps > 2 && !self.lies_about_file(path) {
                self.fs.file_mut(node)?.persist(u64::MAX);
            }
            self.fs.close(node);
        }
        if steps > 3 {
            self.fs.rename(&temporary, path)?;
        }
        if steps > 4 {
            self.sync_parent(path, mark, own)?;
        }
        Ok(())
    }

    /// Makes names beside `path` durable: those before `mark`, and from `own` on those of the operation that ends with this. What
    /// others made in between may have come after the sync began.
    fn sync_parent(&mut self, path: &Path, mark: ChangeId, own: ChangeId) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.lies_about_dir(parent) {
            return Ok(());
        }
        self.fs.persist_names(self.fs.find(parent)?, |change| change < mark || change >= own)
    }
}

/// Of [`Playback::replace`].
const REPLACE_STEPS: u64 = 5;

fn not_begun(operation: OperationId) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("operation {operation} did not begin"))
}
