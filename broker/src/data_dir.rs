//! The data directory: whose it is (`meta.properties`, with Kafka's keys) and that only one broker uses it (`.lock`).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::BrokerId;
use storage::disk::tape::{Action, Tape};

use crate::fatal::{Exit, Fatal};
use crate::ids;

const LOCK: &str = ".lock";
const META: &str = "meta.properties";
const META_TEMPORARY: &str = "meta.properties.tmp";
/// The version that this program writes; a higher one is from a newer program.
const META_VERSION: u32 = 1;
/// Far more than the four keys take.
const META_BYTES_MAX: u64 = 64 << 10;
/// A node id when nobody configured one.
const NODE_ID: BrokerId = BrokerId(1);
/// Entries that only Apache Kafka makes. Its `meta.properties` looks like ours.
const KAFKAS: [&str; 3] =
    ["__cluster_metadata-0", "recovery-point-offset-checkpoint", "cleaner-offset-checkpoint"];
/// Entries that an empty directory may have.
const HARMLESS: [&str; 4] = [LOCK, META, META_TEMPORARY, "lost+found"];

/// An open data directory. The lock is held while this lives.
#[derive(Debug)]
pub struct DataDir {
    /// Where it is, behind all links.
    pub path: PathBuf,
    /// The way there from the root, as it was given: administrators are told this one, as in Kafka.
    pub told: PathBuf,
    /// `cluster.id`: 22 characters, as in Kafka.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: BrokerId,
    /// `directory.id`: 22 characters, as in Kafka.
    pub directory_id: String,
    /// Where its disk is recorded, if it is.
    pub tape: Option<Arc<Tape>>,
    _lock: File,
}

/// What `meta.properties` says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Meta {
    cluster_id: String,
    node_id: BrokerId,
    directory_id: String,
}

impl DataDir {
    /// Opens `path` for `node_id`, making it when it is not there. What happens in it is recorded in `record`, if given.
    ///
    /// # Errors
    /// Exit 3 when it cannot be made or written; 4 when another broker has it, it is damaged, from a newer version or
    /// not ours; 2 when it belongs to another node id.
    pub fn open(path: &Path, node_id: Option<BrokerId>, record: Option<&Path>) -> Result<Self, Fatal> {
        let cannot = |what: &str, error: &io::Error| {
            let message = format!(
                "cannot {what} the data directory {}: {error}; make it writable for this user, or choose another with --data-dir",
                path.display()
            );
            Fatal::new(Exit::Environment, message)
        };
        fs::create_dir_all(path).map_err(|error| cannot("make", &error))?;
        let told = std::path::absolute(path).map_err(|error| cannot("find", &error))?;
        let path = path.canonicalize().map_err(|error| cannot("find", &error))?;
        let lock = lock(&path)?;
        let tape = record.map(|record| start_tape(record, &path)).transpose()?;
        let meta = match read_meta(&path)? {
            Some(meta) => meta,
            None => {
                refuse_foreign(&path)?;
                let meta = Meta {
                    cluster_id: random_id()?,
                    node_id: node_id.unwrap_or(NODE_ID),
                    directory_id: random_id()?,
                };
                write_meta(&path, &meta, tape.as_deref()).map_err(|error| cannot("write to", &error))?;
                meta
            }
        };
        if let Some(wanted) = node_id.filter(|wanted| *wanted != meta.node_id) {
            let message = format!(
                "{} belongs to node.id {}, and node.id={} is configured",
                path.display(),
                meta.node_id.0,
                wanted.0
            );
            return Err(Fatal::new(Exit::Configuration, message));
        }
        let Meta { cluster_id, node_id, directory_id } = meta;
        Ok(Self { path, told, cluster_id, node_id, directory_id, tape, _lock: lock })
    }

    /// `directory.id` in its 16 bytes.
    #[must_use]
    pub fn directory(&self) -> [u8; 16] {
        ids::read(&self.directory_id).unwrap_or_default() // Looked at when it was opened.
    }
}

fn start_tape(record: &Path, path: &Path) -> Result<Arc<Tape>, Fatal> {
    if record.starts_with(path) {
        let why = "the recording of the disk cannot be part of it; choose another millrace.disk.record";
        return Err(Fatal::new(Exit::Configuration, why));
    }
    let tape = Tape::start(record, path).map_err(|error| {
        Fatal::new(Exit::Environment, format!("cannot record the disk in {}: {error}", record.display()))
    })?;
    tracing::warn!(directory = %record.display(), "everything asked of the disk is recorded: for tests only");
    Ok(Arc::new(tape))
}

fn damaged(path: &Path, why: &str) -> Fatal {
    Fatal::new(Exit::DataDirectory, format!("{}: {why}", path.display()))
}

/// Takes the lock; the kernel gives it back however the process ends. The file names the holder for people.
fn lock(directory: &Path) -> Result<File, Fatal> {
    let path = directory.join(LOCK);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(
            |error| Fatal::new(Exit::Environment, format!("cannot open {}: {error}", path.display())),
        )?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder is only a hint.
            let _ = file.take(32).read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
            let message = format!(
                "another broker{holder} uses this data directory; stop it, or choose another with --data-dir"
            );
            return Err(damaged(directory, &message));
        }
        Err(TryLockError::Error(error)) => {
            return Err(Fatal::new(
                Exit::Environment,
                format!("cannot lock {}: {error}; use a local file system", path.display()),
            ));
        }
    }
    // As above: only a hint.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// The directory's identity; none in a new one.
fn read_meta(directory: &Path) -> Result<Option<Meta>, Fatal> {
    let path = directory.join(META);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(META_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(&path, &error.to_string())),
    }
    if let Some(kafkas) = KAFKAS.iter().find(|name| directory.join(name).exists()) {
        let why =
            format!("it holds {kafkas}: this is a directory of Apache Kafka; choose another with --data-dir");
        return Err(damaged(directory, &why));
    }
    let properties =
        java_properties::read(bytes.as_slice()).map_err(|error| damaged(&path, &error.to_string()))?;
    let get = |key: &str| {
        properties
            .get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| damaged(&path, &format!("{key} is missing")))
    };
    let version: u32 = get("version")?.parse().map_err(|_| damaged(&path, "version is no number"))?;
    if version > META_VERSION {
        let why =
            format!("version {version} was written by a newer Millrace; this one reads up to {META_VERSION}");
        return Err(damaged(&path, &why));
    }
    let node_id = get("node.id")?
        .parse()
        .ok()
        .filter(|id| *id >= 0)
        .ok_or_else(|| damaged(&path, "node.id is no node's number"))?;
    let directory_id = get("directory.id")?.clone();
    if ids::read(&directory_id).is_none() {
        return Err(damaged(&path, "directory.id is none: it has 22 characters of URL-safe base64"));
    }
    Ok(Some(Meta { cluster_id: get("cluster.id")?.clone(), node_id: BrokerId(node_id), directory_id }))
}

/// Data without an identity is data whose identity was lost, and other people's files are not ours to live among.
fn refuse_foreign(directory: &Path) -> Result<(), Fatal> {
    let entries = fs::read_dir(directory).map_err(|error| damaged(directory, &error.to_string()))?;
    for entry in entries {
        let name = entry.map_err(|error| damaged(directory, &error.to_string()))?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            let why = format!(
                "it has no {META} but holds {}: bring {META} back, or choose an empty directory",
                name.display()
            );
            return Err(damaged(directory, &why));
        }
    }
    Ok(())
}

/// Atomically and durably: after a crash there is the whole file or none.
fn write_meta(directory: &Path, meta: &Meta, tape: Option<&Tape>) -> io::Result<()> {
    let text = format!(
        "version={META_VERSION}\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
        meta.cluster_id, meta.node_id.0, meta.directory_id
    );
    let path = directory.join(META);
    let noted = tape.map(|tape| (tape, tape.begin(&Action::Replace(path.clone(), text.as_bytes()))));
    let temporary = directory.join(META_TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()?;
    if let Some((tape, operation)) = noted {
        tape.end(operation, true);
    }
    // The directory itself may be new.
    if let Some(parent) = directory.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// An id that does not begin like an option, as in Kafka.
fn random_id() -> Result<String, Fatal> {
    loop {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|error| Fatal::new(Exit::Environment, format!("cannot read /dev/urandom: {error}")))?;
        let id = ids::written(bytes);
        if !id.starts_with('-') {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path, node: Option<i32>) -> (Exit, String) {
        let fatal = DataDir::open(path, node.map(BrokerId), None).unwrap_err();
        (fatal.exit, fatal.message)
    }

    #[test]
    fn a_directory_keeps_its_identity() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        let first = DataDir::open(&path, None, None).unwrap();
        assert_eq!(first.node_id, NODE_ID);
        assert_eq!((first.cluster_id.len(), first.directory_id.len()), (22, 22));
        assert_ne!(first.cluster_id, first.directory_id);
        let (cluster, directory) = (first.cluster_id.clone(), first.directory_id.clone());
        drop(first);
        let again = DataDir::open(&path, Some(NODE_ID), None).unwrap();
        assert_eq!((&again.cluster_id, &again.directory_id), (&cluster, &directory));
        drop(again);
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let linked = DataDir::open(&link, None, None).unwrap();
        assert_eq!((&linked.told, linked.path.ends_with("a/b")), (&link, true));
        drop(linked);
        let (exit, message) = refused(&path, Some(9));
        assert_eq!(exit, Exit::Configuration);
        assert!(message.contains("node.id=9"), "{message}");
    }

    #[test]
    fn a_second_broker_is_refused_and_told_who_has_it() {
        let scratch = tempfile::tempdir().unwrap();
        let first = DataDir::open(scratch.path(), None, None).unwrap();
        let (exit, message) = refused(scratch.path(), None);
        assert_eq!(exit, Exit::DataDirectory);
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(first);
        DataDir::open(scratch.path(), None, None).unwrap();
    }

    #[test]
    fn damaged_newer_and_foreign_directories_are_refused() {
        for (contents, word) in [
            ("version=2\ncluster.id=a\nnode.id=1\ndirectory.id=b\n", "newer"),
            ("version=1\ncluster.id=a\nnode.id=1\n", "directory.id is missing"),
            ("version=1\ncluster.id=a\nnode.id=-3\ndirectory.id=b\n", "node.id"),
            ("version=one\n", "version"),
            ("", "version is missing"),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            fs::write(scratch.path().join(META), contents).unwrap();
            let (exit, message) = refused(scratch.path(), None);
            assert_eq!(exit, Exit::DataDirectory);
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn data_without_identity_is_not_adopted() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("topics")).unwrap();
        let (exit, message) = refused(scratch.path(), None);
        assert_eq!(exit, Exit::DataDirectory);
        assert!(message.contains("topics"), "{message}");
    }

    #[test]
    fn kafkas_directory_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(META), "version=1\ncluster.id=a\nnode.id=1\ndirectory.id=b\n").unwrap();
        fs::create_dir(scratch.path().join("__cluster_metadata-0")).unwrap();
        let (exit, message) = refused(scratch.path(), None);
        assert_eq!(exit, Exit::DataDirectory);
        assert!(message.contains("Apache Kafka"), "{message}");
    }

    #[test]
    fn a_crash_while_making_it_leaves_a_usable_directory() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(META_TEMPORARY), "vers").unwrap();
        DataDir::open(scratch.path(), None, None).unwrap();
    }

    #[test]
    fn what_cannot_be_made_is_the_environments_fault() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, "").unwrap();
        assert_eq!(refused(&path.join("below"), None).0, Exit::Environment);
    }
}
