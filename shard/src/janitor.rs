//! Removing the files of deleted topics, on core 0: every core drops its share, then the topic's directory goes.
//!
//! A tombstone stays until the journals that may still name its topic are gone, which is certain at the next start.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use coordination::metadata::{Command, Outcome};
use model::TopicId;
use storage::disk::Disk;
use storage::paths::Paths;

use crate::executor::{self, Queue};
use crate::mesh::Mesh;
use crate::ops::{Answer, Question};
use crate::shard::Shard;

/// How often deleted topics are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Removes what deleted topics left.
pub struct Janitor<D: Disk> {
    shard: Rc<Shard<D>>,
    mesh: Rc<Mesh<Question, Answer>>,
    disk: D,
    paths: Paths,
}

impl<D: Disk> Janitor<D> {
    /// For core 0.
    pub fn new(shard: Rc<Shard<D>>, mesh: Rc<Mesh<Question, Answer>>, disk: D, paths: Paths) -> Self {
        Self { shard, mesh, disk, paths }
    }

    /// Starts it, until the shard stops.
    pub fn start(self) {
        executor::spawn(Queue::Maintain, async move {
            let mut gone = self.forget_old().await;
            while !self.shard.is_stopping() {
                let image = self.shard.image();
                for topic in image
                    .tombstones()
                    .iter()
                    .filter(|topic| !gone.contains(*topic))
                    .copied()
                    .collect::<Vec<_>>()
                {
                    if self.remove(topic).await {
                        gone.insert(topic);
                    }
                }
                self.disk.sleep(LOOK).await;
            }
        });
    }

    /// Topics deleted before this start: no journal names them any more.
    async fn forget_old(&self) -> BTreeSet<TopicId> {
        let old: Vec<TopicId> = self.shard.image().tombstones().iter().copied().collect();
        let mut removed = Vec::new();
        for topic in old {
            if self.remove(topic).await {
                removed.push(topic);
            }
        }
        let gone = removed.iter().copied().collect();
        if !removed.is_empty()
            && let Answer::Metadata(Outcome::Failed(refusal)) =
                self.mesh.call(0, Question::Propose(Command::ForgetTopics(removed))).await.await
        {
            tracing::warn!(?refusal, "deleted topics could not be forgotten; the next start tries again");
        }
        gone
    }

    async fn remove(&self, topic: TopicId) -> bool {
        for core in 0..self.mesh.cores() {
            if let Answer::Failed(what) = self.mesh.call(core, Question::DropTopic(topic)).await.await {
                tracing::warn!(what, "a deleted topic stays on disk for now");
                return false;
            }
        }
        match storage::recovery::remove_topic(&self.disk, &self.paths, topic).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%topic, %error, "a deleted topic stays on disk for now");
                false
            }
        }
    }
}
