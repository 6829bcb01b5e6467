//! Where replicas go: today every partition has one, on this broker.

use model::{BrokerId, ErrorCode};

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

/// Whether `factor` replicas (-1: the broker's default) can be had.
///
/// # Errors
/// `INVALID_REPLICATION_FACTOR` unless it is 1 or -1.
pub fn check_factor(factor: i16) -> Result<(), Refusal> {
    let text = match factor {
        -1 | 1 => return Ok(()),
        2.. => format!("Unable to replicate the partition {factor} time(s): only 1 broker(s) are registered"),
        _ => "Replication factor must be larger than 0, or -1 to use the default".to_owned(),
    };
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text))
}

/// Whether replicas a client chose exist: exactly one each, this broker.
///
/// # Errors
/// `INVALID_REPLICA_ASSIGNMENT` with the partition it fails for.
pub fn check_assignment(
    node: BrokerId,
    first_partition: u32,
    assignment: &Assignment,
) -> Result<(), Refusal> {
    for (partition, replicas) in (first_partition..).zip(assignment) {
        let text = match replicas.as_slice() {
            [only] if *only == node => continue,
            [] => format!("Partition {partition} has no replicas"),
            [first, rest @ ..] if rest.contains(first) => {
                format!("Partition {partition} names broker {} twice", first.0)
            }
            many => {
                let foreign = many.iter().find(|id| **id != node).unwrap_or(&node);
                format!("Partition {partition} names broker {}, which is not registered", foreign.0)
            }
        };
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_here_is_all_there_is() {
        let node = BrokerId(1);
        assert!(check_factor(-1).is_ok() && check_factor(1).is_ok());
        assert!(check_factor(0).is_err() && check_factor(2).is_err() && check_factor(-2).is_err());
        assert!(check_assignment(node, 0, &vec![vec![node], vec![node]]).is_ok());
        let why = |replicas: Vec<BrokerId>| check_assignment(node, 3, &vec![replicas]).unwrap_err().message;
        assert!(why(vec![BrokerId(2)]).contains("Partition 3 names broker 2"));
        assert!(why(vec![node, node]).contains("twice"));
        assert!(why(vec![]).contains("no replicas"));
    }
}
