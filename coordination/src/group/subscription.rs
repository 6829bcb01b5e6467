//! The topics in a consumer's subscription metadata (`ConsumerProtocolSubscription`), read as version 0: it begins
//! every version.
#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use super::wire::Reader;

/// Adds the topics of `metadata` to `topics`; `None` when the bytes are no subscription.
pub(super) fn read_topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let mut from = Reader::new(metadata);
    from.i16().ok().filter(|version| *version >= 0)?;
    for _ in 0..from.count(false).ok()?? {
        topics.insert(from.string(false).ok()?);
    }
    // What follows in every version is the nullable user data; without it this was something else.
    if let Some(length) = from.count(false).ok()? {
        from.take(length).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Written by Kafka 4.3.1's ConsumerProtocol, versions 0 to 3.
    const WRITTEN: [&str; 4] = [
        "0000000000020005617564697400066f7264657273ffffffff",
        "0001000000020005617564697400066f7264657273ffffffff0000000100066f72646572730000000100000001",
        "0002000000020005617564697400066f7264657273ffffffff0000000100066f7264657273000000010000000100000004",
        "0003000000020005617564697400066f7264657273ffffffff0000000100066f726465727300000001000000010000000400027231",
    ];

    #[test]
    fn every_version_gives_its_topics() {
        for written in WRITTEN {
            let mut topics = BTreeSet::new();
            assert_eq!(read_topics(&bytes(written), &mut topics), Some(()));
            assert!(topics.iter().map(String::as_str).eq(["audit", "orders"]));
        }
    }

    #[test]
    fn a_cut_or_another_thing_gives_none() {
        let whole = bytes(WRITTEN[0]);
        for end in 0..whole.len() {
            assert_eq!(read_topics(&whole[..end], &mut BTreeSet::new()), None, "{end}");
        }
        assert_eq!(read_topics(&bytes("00007fffffff0001"), &mut BTreeSet::new()), None);
        assert_eq!(read_topics(&bytes("ffff00000000ffffffff"), &mut BTreeSet::new()), None);
    }
}
