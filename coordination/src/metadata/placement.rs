//! Where replicas go: today every partition has one, on this broker.

use model::{BrokerId, ErrorCode};

use super::image::Image;
use super::topics::Refusal;

/// Replicas of a partition as a client wrote them: one list per partition, in partition order.
pub type Assignment = Vec<Vec<BrokerId>>;

/// Where one partition lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its leader, only replica and only in-sync replica.
    pub leader: BrokerId,
}

/// Where any partition lives in a cluster of `node` alone.
#[must_use]
pub const fn place(node: BrokerId) -> Placement {
    Placement { leader: node }
}

/// Whether `factor` is a number of replicas, or -1 for the broker's default.
///
/// # Errors
/// `INVALID_REPLICATION_FACTOR`.
pub fn check_factor(factor: i16) -> Result<(), Refusal> {
    if factor == -1 || factor > 0 {
        return Ok(());
    }
    let text = "Replication factor must be larger than 0, or -1 to use the default value.";
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text))
}

/// Whether there are brokers for so many replicas.
///
/// # Errors
/// `INVALID_REPLICATION_FACTOR`.
pub fn check_reach(factor: i16) -> Result<(), Refusal> {
    if factor <= 1 {
        return Ok(());
    }
    let text = format!(
        "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached \
         because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
    );
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text))
}

/// Whether replicas a client chose exist: exactly one for each partition, this broker.
///
/// # Errors
/// `INVALID_REPLICA_ASSIGNMENT` with the first rule that is broken.
pub fn check_assignment(node: BrokerId, assignment: &Assignment) -> Result<(), Refusal> {
    assignment.iter().try_for_each(|replicas| check_replicas(node, replicas))
}

/// The same of one partition.
///
/// # Errors
/// As [`check_assignment`].
pub fn check_replicas(node: BrokerId, replicas: &[BrokerId]) -> Result<(), Refusal> {
    // Kafka looks at them in the order of their ids.
    let text = match replicas.iter().filter(|id| **id != node).min() {
        _ if replicas.is_empty() => "an empty replica list.".to_owned(),
        // One that exists may be there twice below the first that does not.
        Some(foreign) if replicas.iter().filter(|id| **id == node).count() < 2 || *foreign < node => {
            format!("broker {}, but no such broker is registered.", foreign.0)
        }
        None if replicas.len() == 1 => return Ok(()),
        _ => format!("the broker {} more than once.", node.0),
    };
    let text = format!("The manual partition assignment includes {text}");
    Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text))
}

/// Whether the replicas of a partition may become these, or a change of them may be taken back. In a cluster of `node` alone nothing
/// changes, their number neither.
///
/// # Errors
/// With Kafka's code for the first rule that is broken; without a sentence where the code says all.
pub fn reassign(
    image: &Image,
    node: BrokerId,
    topic: &str,
    partition: i32,
    replicas: Option<&[BrokerId]>,
) -> Result<(), Refusal> {
    let unknown = |text| Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text));
    let Some(found) = image.topic(topic) else {
        return unknown(format!("Unable to find a topic named {topic}."));
    };
    if found.partition(partition).is_none() {
        return unknown(format!("Unable to find partition {topic}:{partition}."));
    }
    let Some(replicas) = replicas else {
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, ""));
    };
    check_replicas(node, replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_here_is_all_there_is() {
        let node = BrokerId(3);
        assert!(check_factor(-1).is_ok() && check_factor(1).is_ok());
        assert!(check_factor(0).is_err() && check_factor(-2).is_err() && check_factor(2).is_ok());
        assert!(check_reach(2).is_err() && check_reach(1).is_ok() && check_reach(-1).is_ok());
        assert!(check_assignment(node, &vec![vec![node], vec![node]]).is_ok());
        let why = |replicas: &[i32]| {
            let replicas = replicas.iter().copied().map(BrokerId).collect();
            check_assignment(node, &vec![vec![node], replicas]).unwrap_err().message
        };
        assert!(why(&[4]).ends_with("includes broker 4, but no such broker is registered."));
        assert!(why(&[5, 3, 4]).contains("broker 4"));
        assert!(why(&[3, 3]).ends_with("includes the broker 3 more than once."));
        assert!(why(&[4, 3, 3]).ends_with("the broker 3 more than once."), "ids in order");
        assert!(why(&[3, 3, 2]).contains("broker 2"));
        assert!(why(&[]).ends_with("includes an empty replica list."));
    }
}
