//! What members of a classic group tell each other through the coordinator: subscriptions, and the range assignment.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

/// The assignor's name.
pub const NAME: &str = "range";

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

/// A subscription to `topics` (version 0).
pub fn subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(i32::try_from(topics.len()).unwrap_or(0));
    topics.iter().for_each(|topic| put_text(&mut out, topic));
    out.put_i32(-1);
    out.freeze()
}

/// An assignment (version 0).
fn assignment(topics: &BTreeMap<&str, Vec<i32>>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(i32::try_from(topics.len()).unwrap_or(0));
    for (topic, partitions) in topics {
        put_text(&mut out, topic);
        out.put_i32(i32::try_from(partitions.len()).unwrap_or(0));
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(-1);
    out.freeze()
}

/// Assigns the partitions of each topic (name and count) to the members, who all subscribe to all of them: per topic, ranges in the
/// order of member ids, the first ones one longer where it does not come out even.
pub fn range(topics: &[(String, i32)], members: &[String]) -> Vec<(String, Bytes)> {
    let mut sorted: Vec<&String> = members.iter().collect();
    sorted.sort();
    let count = i32::try_from(sorted.len().max(1)).unwrap_or(i32::MAX);
    let of = |(number, member): (i32, &&String)| {
        let mut own = BTreeMap::new();
        for (topic, partitions) in topics {
            let (each, extra) = (partitions / count, partitions % count);
            let first = each * number + number.min(extra);
            let end = first + each + i32::from(number < extra);
            if first < end {
                own.insert(topic.as_str(), (first..end).collect());
            }
        }
        ((*member).clone(), assignment(&own))
    };
    (0..).zip(&sorted).map(of).collect()
}

/// Reads an assignment: topics and partitions; none if it is not one.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let bytes = &mut bytes;
    let _version = i16::from_be_bytes(take(bytes)?);
    let topics = u32::from_be_bytes(take(bytes)?);
    let mut assigned = Vec::new();
    for _ in 0..topics {
        let length = usize::from(u16::from_be_bytes(take(bytes)?));
        let (name, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let mut partitions = Vec::new();
        for _ in 0..u32::from_be_bytes(take(bytes)?) {
            partitions.push(i32::from_be_bytes(take(bytes)?));
        }
        assigned.push((String::from_utf8(name.to_vec()).ok()?, partitions));
    }
    Some(assigned)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_owner() {
        let topics = [("a".to_owned(), 7), ("b".to_owned(), 2)];
        let members = ["z".to_owned(), "x".to_owned(), "y".to_owned()];
        let assigned = range(&topics, &members);
        let of = |member: &str| {
            let (_, bytes) = assigned.iter().find(|(name, _)| name == member).unwrap();
            parse(bytes).unwrap()
        };
        let list = |topic: &str, partitions: &[i32]| (topic.to_owned(), partitions.to_vec());
        assert_eq!(of("x"), [list("a", &[0, 1, 2]), list("b", &[0])]);
        assert_eq!(of("y"), [list("a", &[3, 4]), list("b", &[1])]);
        assert_eq!(of("z"), [list("a", &[5, 6])]);
    }

    #[test]
    fn what_is_no_assignment_is_none() {
        let (_, good) = range(&[("a".to_owned(), 3)], &["m".to_owned()]).remove(0);
        for length in 1..good.len() - 4 {
            assert_eq!(parse(&good[..length]), None, "{length} bytes");
        }
        assert_eq!(parse(&[]), Some(Vec::new()));
    }
}
