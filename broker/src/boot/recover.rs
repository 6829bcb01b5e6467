//! What only one core does at a start: reads the metadata, brings every log to rest, and hands each core what it owns.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use coordination::metadata::{Image, Policy};
use model::{TopicId, TopicPartition};
use shard::metadata::{MetadataError, OpenMetadata};
use shard::route::owner_of;
use shard::state::PartitionState;
use storage::checkpoint::AtRest;
use storage::disk::Disk;
use storage::journal::JournalId;
use storage::journal::replay::RecoveryError;
use storage::metadata_log::MetadataLogError;
use storage::recovery::{TopicState, recover, retire};
use tokio::sync::{mpsc, oneshot};

use super::{Event, Handed, Plan, gone};
use crate::fatal::{Exit, Fatal};

/// What core 0 gives a core to begin with.
pub(super) struct Hand {
    /// Number of this start of the broker.
    pub boot: u32,
    /// The metadata.
    pub image: Arc<Image>,
    /// The term of its log.
    pub term: u64,
    /// The logs it owns, at rest.
    pub logs: Vec<(TopicPartition, AtRest)>,
}

/// A core's place in the recovery.
pub(super) struct Seat {
    /// What it begins with.
    pub hand: Handed<Hand>,
    /// Told when its store is open.
    pub opened: mpsc::Sender<()>,
    /// Journal files it may take over, once all stores are open.
    pub files: Handed<Vec<PathBuf>>,
    /// For core 0.
    pub head: Option<Head>,
}

/// The other ends of all seats.
pub(super) struct Head {
    hands: Vec<oneshot::Sender<Hand>>,
    opened: mpsc::Receiver<()>,
    files: Vec<oneshot::Sender<Vec<PathBuf>>>,
}

/// A seat for each of `cores` cores.
pub(super) fn seats(cores: usize) -> Vec<Seat> {
    let (opened, all_opened) = mpsc::channel(cores);
    let (hands, handed): (Vec<_>, Vec<_>) = (0..cores).map(|_| oneshot::channel()).unzip();
    let (files, filed): (Vec<_>, Vec<_>) = (0..cores).map(|_| oneshot::channel()).unzip();
    let mut head = Some(Head { hands, opened: all_opened, files });
    let seat = |(hand, files)| Seat { hand, opened: opened.clone(), files, head: head.take() };
    handed.into_iter().zip(filed).map(seat).collect()
}

/// Recovery under way: the stores are to be opened before the old journals may go.
pub(super) struct Recovery<D: Disk> {
    disk: D,
    journals: Vec<JournalId>,
    opened: mpsc::Receiver<()>,
    files: Vec<oneshot::Sender<Vec<PathBuf>>>,
}

/// Opens the metadata, which notes this start, replays the journals, and hands out what was found.
pub(super) async fn begin<D: Disk>(
    plan: &Plan,
    disk: D,
    head: Head,
    events: &mpsc::Sender<Event>,
) -> Result<(OpenMetadata<D>, Recovery<D>), Fatal> {
    let started = Instant::now();
    let directory = plan.paths.root().join("metadata");
    let policy = Policy { node: plan.service.node, partitions_default: plan.settings.partitions_default };
    let written = plan.settings.written.clone();
    let metadata = OpenMetadata::open(disk.clone(), &directory, policy, written, random()?)
        .await
        .map_err(|error| metadata_failed(&error))?;
    let image = metadata.image();
    let recovered = recover::<D, PartitionState>(&disk, &plan.paths, |topic| state(&image, topic))
        .await
        .map_err(|error| recovery_failed(&error))?;
    let took = started.elapsed();
    tracing::info!(
        logs = recovered.logs.len(),
        journals = recovered.journals.len(),
        entries = recovered.entries,
        bytes = recovered.bytes,
        ms = took.as_millis(),
        "recovered"
    );
    events.send(Event::Recovered(took)).await.map_err(gone)?;

    let cores = head.hands.len();
    let mut logs: Vec<_> = (0..cores).map(|_| Vec::new()).collect();
    for (id, rest) in recovered.logs {
        logs[owner_of(id, cores)].push((id, rest));
    }
    let boot = image.leader_epoch().0.unsigned_abs();
    for (hand, logs) in head.hands.into_iter().zip(logs) {
        let given = hand.send(Hand { boot, image: image.clone(), term: metadata.term(), logs });
        given.map_err(gone)?;
    }
    Ok((metadata, Recovery { disk, journals: recovered.journals, opened: head.opened, files: head.files }))
}

impl<D: Disk> Recovery<D> {
    /// Once every core's store is open: the old journals go, and their files are shared out.
    pub(super) async fn end(mut self, plan: &Plan) -> Result<(), Fatal> {
        for _ in 0..self.files.len() {
            self.opened.recv().await.ok_or_else(|| gone(()))?;
        }
        let adoptable =
            retire(&self.disk, &plan.paths, &self.journals).await.map_err(|error| recovery_failed(&error))?;
        let mut shares: Vec<_> = self.files.iter().map(|_| Vec::new()).collect();
        let cores = shares.len();
        for (place, file) in adoptable.into_iter().enumerate() {
            shares[place % cores].push(file);
        }
        for (files, share) in self.files.into_iter().zip(shares) {
            files.send(share).map_err(gone)?;
        }
        Ok(())
    }
}

fn state(image: &Image, topic: TopicId) -> TopicState {
    if image.topic_by_id(topic).is_some() {
        TopicState::Live
    } else if image.tombstones().contains(&topic) {
        TopicState::Deleted
    } else {
        TopicState::Unknown
    }
}

fn metadata_failed(error: &MetadataError) -> Fatal {
    let exit = match error {
        MetadataError::Log(MetadataLogError::Io(..)) => Exit::Storage,
        _ => Exit::DataDirectory,
    };
    Fatal::new(exit, format!("the metadata cannot be read: {}", with_remedy(exit, &error.to_string())))
}

fn recovery_failed(error: &RecoveryError) -> Fatal {
    let exit = match error {
        RecoveryError::Io(..) => Exit::Storage,
        RecoveryError::Damaged(_) => Exit::DataDirectory,
    };
    Fatal::new(exit, format!("the data cannot be recovered: {}", with_remedy(exit, &error.to_string())))
}

/// What to do about damage, where the message does not know anything better.
fn with_remedy(exit: Exit, message: &str) -> String {
    if exit != Exit::DataDirectory || message.contains("restore") {
        return message.to_owned();
    }
    format!(
        "{message}; `millrace dump` shows what is whole; restore the data directory from a replica or a backup"
    )
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Fatal> {
    let mut bytes = [0; N];
    let read: io::Result<()> = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Fatal::new(Exit::Environment, format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes)
}
