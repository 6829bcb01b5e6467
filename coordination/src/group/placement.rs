//! Which partition of `__consumer_offsets` a group lives in: the same as in Kafka, so that its log can be read there.

/// The partition of `group` among `partitions`: Java's hash of the string, as a number from 0, modulo.
#[must_use]
pub fn partition_of(group: &str, partitions: u32) -> u32 {
    let hash =
        group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The smallest number has no positive counterpart; Kafka takes 0 for it.
    let number = hash.checked_abs().map_or(0, i32::unsigned_abs);
    number.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    /// What Kafka 4.3.1's own function says, the smallest hash ("polygenelubricants") among them.
    #[test]
    fn groups_live_where_kafka_puts_them() {
        let known = [
            ("shop", 12),
            ("console-consumer-12345", 6),
            ("größe", 7),
            ("日本", 47),
            ("", 0),
            ("polygenelubricants", 0),
        ];
        for (group, partition) in known {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
        assert_eq!(partition_of("shop", 0), 0);
    }
}
