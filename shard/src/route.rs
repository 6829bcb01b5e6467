//! Which core owns a partition: a pure function of its identity and the number of cores.

use model::TopicPartition;

/// The owner among `cores` cores. Partitions of one topic go to successive cores.
#[must_use]
pub fn owner_of(id: TopicPartition, cores: usize) -> usize {
    let mut seed = [0; 8];
    for (at, byte) in id.topic.0.iter().enumerate() {
        seed[at % 8] ^= *byte;
    }
    let spread = u64::from_le_bytes(seed).wrapping_add(u64::from(id.partition));
    usize::try_from(spread % (cores.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TopicId;

    #[test]
    fn partitions_of_a_topic_spread_evenly() {
        let owners = |cores| {
            let mut counts = vec![0; cores];
            for partition in 0..12 {
                counts[owner_of(TopicPartition { topic: TopicId([9; 16]), partition }, cores)] += 1;
            }
            counts
        };
        assert_eq!(owners(1), [12]);
        assert_eq!(owners(4), [3, 3, 3, 3]);
    }
}
