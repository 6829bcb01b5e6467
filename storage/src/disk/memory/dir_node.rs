//! One simulated directory: the names processes see, the names a power cut is sure to leave, and the changes in between.

use std::collections::{BTreeMap, BTreeSet};

use super::file_system::NodeId;
use crate::disk::random::Random;

/// Number of a name change, unique in its file system.
pub(super) type ChangeId = u64;

/// A change of names that no directory sync covered yet.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    /// A name appeared, or now means another node.
    Link { name: String, node: NodeId },
    /// A name went away.
    Unlink { name: String, node: NodeId },
    /// One atomic step within the directory.
    Rename { from: String, to: String, node: NodeId },
    /// The old half of a rename into another directory; it never outlives the loss of `arrival`, the new half there.
    Leave { name: String, node: NodeId, to_dir: NodeId, arrival: ChangeId },
}

/// The state of one directory.
#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    live: BTreeMap<String, NodeId>,
    durable: BTreeMap<String, NodeId>,
    unsynced: Vec<(ChangeId, NameChange)>,
}

impl DirNode {
    /// The names processes see.
    pub const fn live(&self) -> &BTreeMap<String, NodeId> {
        &self.live
    }

    /// Every node that a name may mean after a power cut or now.
    pub fn mentioned(&self) -> impl Iterator<Item = NodeId> {
        let unsynced = self.unsynced.iter().map(|(_, change)| match change {
            NameChange::Link { node, .. }
            | NameChange::Unlink { node, .. }
            | NameChange::Rename { node, .. }
            | NameChange::Leave { node, .. } => *node,
        });
        self.live.values().chain(self.durable.values()).copied().chain(unsynced)
    }

    /// Whether every name is durable.
    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Applies a change for processes and remembers that it is not durable.
    pub fn change(&mut self, id: ChangeId, change: NameChange) {
        apply(&mut self.live, &change);
        self.unsynced.push((id, change));
    }

    /// Makes the changes that are `covered` durable; returns the arrivals that have to become durable in other directories.
    pub fn persist(&mut self, covered: impl Fn(ChangeId) -> bool) -> Vec<(NodeId, ChangeId)> {
        let (durable, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|(id, _)| covered(*id));
        self.unsynced = later;
        let mut arrivals = Vec::new();
        for (_, change) in durable {
            apply(&mut self.durable, &change);
            if let NameChange::Leave { to_dir, arrival, .. } = change {
                arrivals.push((to_dir, arrival));
            }
        }
        arrivals
    }

    /// Chooses which unsynced changes outlive a power cut, by adding their numbers to `kept`.
    pub fn choose_survivors(&self, kept: &mut BTreeSet<ChangeId>, random: &mut Random) {
        for (id, change) in &self.unsynced {
            if random.one_in(2) {
                kept.insert(*id);
                if let NameChange::Leave { arrival, .. } = change {
                    kept.insert(*arrival);
                }
            }
        }
    }

    /// Leaves what was durable and the changes in `kept`.
    pub fn power_cut(&mut self, kept: &BTreeSet<ChangeId>) {
        for (id, change) in std::mem::take(&mut self.unsynced) {
            if kept.contains(&id) {
                apply(&mut self.durable, &change);
            }
        }
        self.live = self.durable.clone();
    }
}

/// Names are compared with the node they meant, because a change may apply after another one was lost.
fn apply(names: &mut BTreeMap<String, NodeId>, change: &NameChange) {
    let gone = match change {
        NameChange::Link { name, node } => {
            names.insert(name.clone(), *node);
            None
        }
        NameChange::Rename { from, to, node } => {
            names.insert(to.clone(), *node);
            (from != to).then_some((from, node))
        }
        NameChange::Unlink { name, node } | NameChange::Leave { name, node, .. } => Some((name, node)),
    };
    if let Some((name, node)) = gone
        && names.get(name) == Some(node)
    {
        names.remove(name);
    }
}
