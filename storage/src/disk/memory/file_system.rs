//! A file system as plain state: a tree of [`FileNode`]s and [`DirNode`]s, every operation one synchronous step.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::content::{Content, Fate};
use super::dir_node::{ChangeId, DirNode, NameChange};
use super::file_node::FileNode;
use crate::disk::DirEntry;
use crate::disk::random::Random;
use model::limits::BLOCK;

/// Number of a file or directory; never used again for another one.
pub(super) type NodeId = u64;

const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// Everything on one simulated device, live and durable.
#[derive(Clone, Debug)]
pub(super) struct FileSystem {
    nodes: BTreeMap<NodeId, Node>,
    node_next: NodeId,
    change_next: ChangeId,
    /// Bytes of blocks in files that have a name or a handle.
    used: u64,
    pub capacity: u64,
}

impl FileSystem {
    pub fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]);
        Self { nodes, node_next: ROOT + 1, change_next: 0, used: 0, capacity: 1 << 40 }
    }

    // Names.

    /// Makes or empties a file and takes a handle of it.
    pub fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let (parent, name) = self.parent(path)?;
        if let Some(node) = self.dir(parent)?.live().get(&name).copied() {
            let file = self.file_mut(node)?;
            let freed = file.live().allocated();
            file.empty();
            file.handles += 1;
            self.used -= freed;
            return Ok(node);
        }
        let node = self.add(Node::File(FileNode::created()));
        self.change(parent, NameChange::Link { name, node })?;
        Ok(node)
    }

    /// Takes a handle of a file.
    pub fn open(&mut self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        self.file_mut(node)?.handles += 1;
        Ok(node)
    }

    /// Gives a handle back.
    pub fn close(&mut self, node: NodeId) {
        if let Ok(file) = self.file_mut(node) {
            file.handles = file.handles.checked_sub(1).expect("closed once per open");
            self.forget_if_unused(node);
        }
    }

    /// Handles of the file at `path`.
    pub fn handles(&self, path: &Path) -> u32 {
        self.find(path).and_then(|node| self.file(node)).map_or(0, |file| file.handles)
    }

    /// Handles of all files.
    pub fn handles_total(&self) -> u32 {
        self.files().map(|file| file.handles).sum()
    }

    pub fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        if path.components().all(|part| !matches!(part, Component::Normal(_))) {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        if let Some(node) = self.dir(parent)?.live().get(&name) {
            return self.dir(*node).map(|_| ());
        }
        let node = self.add(Node::Dir(DirNode::default()));
        self.change(parent, NameChange::Link { name, node })
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let replaced = self.dir(to_dir)?.live().get(&to_name).copied();
        if replaced == Some(node) {
            return Ok(());
        }
        if let Some(old) = replaced {
            self.file(old)?;
        }
        if from_dir == to_dir {
            self.change(from_dir, NameChange::Rename { from: from_name, to: to_name, node })?;
        } else {
            let arrival = self.change_next;
            self.change(to_dir, NameChange::Link { name: to_name, node })?;
            self.change(from_dir, NameChange::Leave { name: from_name, node, to_dir, arrival })?;
        }
        if let Some(old) = replaced {
            self.unlinked(old);
        }
        Ok(())
    }

    /// Removes one name; a directory must be empty.
    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        if let Ok(dir) = self.dir(node)
            && !dir.live().is_empty()
        {
            return Err(os(libc::ENOTEMPTY));
        }
        let (parent, name) = self.parent(path)?;
        self.change(parent, NameChange::Unlink { name, node })?;
        self.unlinked(node);
        Ok(())
    }

    pub fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(self.find(path)?)?;
        let entry = |(name, node): (&String, &NodeId)| DirEntry {
            name: name.clone(),
            is_dir: matches!(self.nodes.get(node), Some(Node::Dir(_))),
        };
        Ok(dir.live().iter().map(entry).collect())
    }

    /// Everything below `path` and itself, children first.
    pub fn walk(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let node = self.find(path)?;
        if let Some(Node::Dir(dir)) = self.nodes.get(&node) {
            for name in dir.live().keys() {
                found.extend(self.walk(&path.join(name))?);
            }
        }
        found.push(path.to_owned());
        Ok(found)
    }

    // Content.

    pub fn file(&self, node: NodeId) -> io::Result<&FileNode> {
        match self.nodes.get(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(os(libc::EISDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    pub fn file_mut(&mut self, node: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(os(libc::EISDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    /// Lets a write arrive according to `fate`; as many blocks as fit when the device is full, and then the error.
    pub fn write(
        &mut self,
        node: NodeId,
        position: u64,
        bytes: &[u8],
        fate: Fate,
        random: &mut Random,
    ) -> io::Result<()> {
        let free = self.free();
        let file = self.file_mut(node)?;
        let mut fitting = bytes;
        while file.live().missing(position, fitting.len() as u64) > free {
            fitting = &fitting[..(fitting.len() - 1) / BLOCK * BLOCK];
        }
        let before = file.live().allocated();
        let blocks = Content::cut(position, fitting);
        if let Some(arrived) = file.live().mix(&blocks, fate, random) {
            file.write(arrived, position + fitting.len() as u64);
        }
        let grown = file.live().allocated() - before;
        self.used += grown;
        if fitting.len() < bytes.len() { Err(os(libc::ENOSPC)) } else { Ok(()) }
    }

    pub fn allocate(&mut self, node: NodeId, position: u64, len: u64) -> io::Result<()> {
        let free = self.free();
        let file = self.file_mut(node)?;
        let missing = file.live().missing(position, len);
        if missing > free {
            return Err(os(libc::ENOSPC));
        }
        file.allocate(position, len);
        self.used += missing;
        Ok(())
    }

    pub const fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    // Durability.

    /// Number above every change of names so far.
    pub const fn name_mark(&self) -> ChangeId {
        self.change_next
    }

    /// Makes the names in a directory durable as they were when `mark` was taken.
    pub fn persist_dir(&mut self, dir: NodeId, mark: ChangeId) -> io::Result<()> {
        self.persist_names(dir, |change| change < mark)
    }

    /// Makes those changes of names in a directory durable.
    pub fn persist_names(&mut self, dir: NodeId, covered: impl Fn(ChangeId) -> bool) -> io::Result<()> {
        for (to_dir, arrival) in self.dir_mut(dir)?.persist(covered) {
            // The directory may be gone for good; then there is nothing the name could be lost from.
            let _ = self.persist_dir(to_dir, arrival + 1);
        }
        Ok(())
    }

    /// Marks of all files, to be given to [`FileNode::persist`].
    pub fn file_marks(&self) -> Vec<(NodeId, u64)> {
        let mark = |(id, node): (&NodeId, &Node)| match node {
            Node::File(file) if !file.is_synced() => Some((*id, file.mark())),
            _ => None,
        };
        self.nodes.iter().filter_map(mark).collect()
    }

    /// Leaves what survives a power cut and forgets the rest.
    pub fn power_cut(&mut self, random: &mut Random) {
        let mut kept = BTreeSet::new();
        for node in self.nodes.values() {
            if let Node::Dir(dir) = node {
                dir.choose_survivors(&mut kept, random);
            }
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir(dir) => dir.power_cut(&kept),
                Node::File(file) => file.power_cut(random),
            }
        }
        self.restart();
    }

    /// Forgets handles and whatever no name can mean any more, as the death of all processes does.
    pub fn restart(&mut self) {
        let mut reached = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(node) = open.pop() {
            if reached.insert(node)
                && let Some(Node::Dir(dir)) = self.nodes.get(&node)
            {
                open.extend(dir.mentioned());
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
        let mut linked = BTreeSet::new();
        for node in self.nodes.values() {
            if let Node::Dir(dir) = node {
                linked.extend(dir.live().values().copied());
            }
        }
        self.used = 0;
        for (id, node) in &mut self.nodes {
            if let Node::File(file) = node {
                file.handles = 0;
                file.links = u32::from(linked.contains(id));
                self.used += if file.links > 0 { file.live().allocated() } else { 0 };
            }
        }
    }

    /// Whether a power cut now would lose nothing.
    pub fn is_synced(&self) -> bool {
        self.nodes.values().all(|node| match node {
            Node::File(file) => file.is_synced(),
            Node::Dir(dir) => dir.is_synced(),
        })
    }

    /// Finds what a path means.
    pub fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_str().ok_or_else(|| os(libc::EINVAL))?;
                node = *self.dir(node)?.live().get(name).ok_or_else(|| os(libc::ENOENT))?;
            }
        }
        Ok(node)
    }

    fn parent(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| os(libc::EINVAL))?;
        let parent = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(parent)?;
        Ok((parent, name.to_owned()))
    }

    fn dir(&self, node: NodeId) -> io::Result<&DirNode> {
        match self.nodes.get(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(os(libc::ENOTDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(os(libc::ENOTDIR)),
            None => Err(os(libc::ENOENT)),
        }
    }

    fn files(&self) -> impl Iterator<Item = &FileNode> {
        self.nodes.values().filter_map(|node| match node {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        })
    }

    fn change(&mut self, dir: NodeId, change: NameChange) -> io::Result<()> {
        let id = self.change_next;
        self.change_next += 1;
        self.dir_mut(dir)?.change(id, change);
        Ok(())
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.node_next;
        self.node_next += 1;
        self.nodes.insert(id, node);
        id
    }

    fn unlinked(&mut self, node: NodeId) {
        if let Ok(file) = self.file_mut(node) {
            file.links = 0;
            self.forget_if_unused(node);
        }
    }

    /// Frees the space of a file without name and handle. Its bytes stay: a power cut may bring the name back.
    fn forget_if_unused(&mut self, node: NodeId) {
        if let Ok(file) = self.file(node)
            && file.links == 0
            && file.handles == 0
        {
            self.used -= file.live().allocated();
        }
    }
}

/// The error the kernel gives.
pub(super) fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
