//! What a hostile body becomes in memory at worst: bodies made of the smallest structures that each API has, up to the
//! largest size that is taken.

use bytes::Bytes;
use model::limits::{DECODED_BYTES_MAX, ELEMENTS_MAX};
use protocol::control::{self, KafkaRequest, messages as m};

use super::memory;

/// A tagged field without content, and how many there are.
const TAG: [u8; 3] = [1, 100, 0];

/// A body of many equal elements: what comes before their array, one element, what comes after.
struct Shape {
    version: i16,
    before: Vec<u8>,
    element: Vec<u8>,
    after: Vec<u8>,
}

impl Shape {
    fn new(version: i16, before: &[u8], element: &[u8], after: &[u8]) -> Self {
        Self { version, before: before.to_vec(), element: element.to_vec(), after: after.to_vec() }
    }

    /// The largest body that is not above `bytes_max`; with `just_grown` the largest whose last element made the
    /// vector of elements grow.
    fn body(&self, bytes_max: usize, just_grown: bool) -> Bytes {
        let fixed = self.before.len() + self.after.len() + 5;
        let mut count = (bytes_max.saturating_sub(fixed) / self.element.len()).min(ELEMENTS_MAX);
        if just_grown && count > 4 {
            count = (1 << (count - 1).ilog2()) + 1;
        }
        let mut body = self.before.clone();
        let mut prefix = count + 1;
        while prefix > 0x7f {
            body.push(u8::try_from(prefix & 0x7f).unwrap() | 0x80);
            prefix >>= 7;
        }
        body.push(u8::try_from(prefix).unwrap());
        body.extend(self.element.repeat(count));
        body.extend(&self.after);
        Bytes::from(body)
    }
}

/// Decodes each shape at the largest size that is taken, and at smaller ones.
fn hold<M: KafkaRequest>(shapes: &[Shape]) {
    let key = M::API_KEY.value();
    let bytes_max = control::body_bytes_max(key);
    let sizes = [bytes_max, bytes_max / 3, bytes_max / 10, 10_000, 1000, 100, 50];
    let cases = shapes.iter().flat_map(|shape| [(shape, false), (shape, true)]);
    for ((shape, just_grown), size) in cases.flat_map(|case| sizes.map(|size| (case, size))) {
        let body = shape.body(size, just_grown);
        let (bytes, version) = (body.len(), shape.version);
        let (decoded, peak) = memory::peak_of(|| control::decode::<M>(version, body));
        let what = format!("key {key} version {version} of {:?}", shape.element);
        assert!(decoded.is_ok(), "{what}: {:?}", decoded.err());
        let admitted = control::decoded_bytes(key, bytes).unwrap();
        assert!(admitted <= DECODED_BYTES_MAX);
        assert!(peak <= admitted, "{what}: {bytes} bytes took {peak} and were admitted for {admitted}");
    }
}

/// A topic without a name and with so many partitions, each of so many zeros and a tagged field.
fn topic(partitions: u8, zeros: usize) -> Vec<u8> {
    let partition = [&vec![0; zeros], &TAG[..]].concat();
    [&[1, partitions + 1], &partition.repeat(usize::from(partitions))[..], &TAG].concat()
}

#[test]
fn lists_of_names() {
    hold::<m::DeleteTopicsRequest>(&[
        Shape::new(5, &[], &[1], &[0; 5]),
        Shape::new(6, &[], &[&[0; 17], &TAG[..]].concat(), &[0; 5]),
    ]);
    hold::<m::MetadataRequest>(&[
        Shape::new(9, &[], &[1, 0], &[0; 4]),
        Shape::new(9, &[], &[1, 1, 100, 0], &[0; 4]),
        Shape::new(13, &[], &[&[0; 17], &TAG[..]].concat(), &[0; 3]),
    ]);
    hold::<m::DescribeTopicPartitionsRequest>(&[
        Shape::new(0, &[], &[1, 0], &[0, 0, 0, 1, 0xff, 0]),
        Shape::new(0, &[], &[1, 1, 100, 0], &[0, 0, 0, 1, 0xff, 0]),
    ]);
}

#[test]
fn settings() {
    hold::<m::DescribeConfigsRequest>(&[
        Shape::new(4, &[], &[2, 1, 0, 0], &[0; 3]),
        Shape::new(4, &[], &[2, 1, 2, 1, 0], &[0; 3]),
        Shape::new(4, &[], &[2, 1, 2, 1, 1, 100, 0], &[0; 3]),
        // One resource, many keys.
        Shape::new(4, &[2, 2, 1], &[1], &[0; 4]),
    ]);
    hold::<m::AlterConfigsRequest>(&[
        Shape::new(2, &[], &[2, 1, 1, 0], &[0; 2]),
        Shape::new(2, &[], &[2, 1, 2, 1, 0, 0, 0], &[0; 2]),
        Shape::new(2, &[], &[2, 1, 2, 1, 0, 1, 100, 0, 0], &[0; 2]),
        Shape::new(2, &[2, 2, 1], &[1, 0, 0], &[0; 3]),
        Shape::new(2, &[2, 2, 1], &[1, 0, 1, 100, 0], &[0; 3]),
    ]);
    hold::<m::IncrementalAlterConfigsRequest>(&[
        Shape::new(1, &[], &[2, 1, 1, 0], &[0; 2]),
        Shape::new(1, &[], &[2, 1, 2, 1, 0, 0, 0, 0], &[0; 2]),
        Shape::new(1, &[], &[2, 1, 2, 1, 0, 0, 1, 100, 0, 0], &[0; 2]),
        Shape::new(1, &[2, 2, 1], &[1, 0, 0, 0], &[0; 3]),
        Shape::new(1, &[2, 2, 1], &[1, 0, 0, 1, 100, 0], &[0; 3]),
    ]);
}

#[test]
fn topics_and_partitions_to_create() {
    hold::<m::CreateTopicsRequest>(&[
        Shape::new(7, &[], &[1, 0, 0, 0, 0, 0, 0, 1, 1, 0], &[0; 6]),
        Shape::new(7, &[], &[1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 2, 1, 0, 0, 0], &[0; 6]),
        // One topic, many settings; many assignments.
        Shape::new(7, &[2, 1, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0], &[0; 7]),
        Shape::new(7, &[2, 1, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 1, 100, 0], &[0; 7]),
        Shape::new(7, &[2, 1, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 0], &[1, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    hold::<m::CreatePartitionsRequest>(&[
        Shape::new(3, &[], &[1, 0, 0, 0, 0, 0, 0], &[0; 6]),
        Shape::new(3, &[], &[1, 0, 0, 0, 0, 2, 1, 0, 0], &[0; 6]),
        Shape::new(3, &[2, 1, 0, 0, 0, 0], &[1, 0], &[0; 7]),
        Shape::new(3, &[2, 1, 0, 0, 0, 0], &[1, 1, 100, 0], &[0; 7]),
    ]);
}

#[test]
fn questions_about_partitions() {
    for partitions in [0, 1, 2, 5, 9] {
        hold::<m::ListOffsetsRequest>(&[Shape::new(11, &[0; 5], &topic(partitions, 16), &[0; 5])]);
        hold::<m::OffsetForLeaderEpochRequest>(&[Shape::new(4, &[0; 4], &topic(partitions, 12), &[0])]);
        hold::<m::DeleteRecordsRequest>(&[Shape::new(2, &[], &topic(partitions, 12), &[0; 5])]);
    }
    hold::<m::ListOffsetsRequest>(&[Shape::new(11, &[0; 5], &[1, 1, 0], &[0; 5])]);
    hold::<m::ListOffsetsRequest>(&[Shape::new(11, &[0, 0, 0, 0, 0, 2, 1], &[0; 17], &[0; 6])]);
}

#[test]
fn groups() {
    let tagged = |bytes: &[u8]| [bytes, &TAG[..]].concat();
    hold::<m::JoinGroupRequest>(&[
        Shape::new(9, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], &[1, 1, 0], &[0; 2]),
        Shape::new(9, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], &tagged(&[1, 1]), &[0; 2]),
    ]);
    hold::<m::SyncGroupRequest>(&[
        Shape::new(5, &[1, 0, 0, 0, 0, 1, 0, 0, 0], &[1, 1, 0], &[0]),
        Shape::new(5, &[1, 0, 0, 0, 0, 1, 0, 0, 0], &tagged(&[1, 1]), &[0]),
    ]);
    hold::<m::LeaveGroupRequest>(&[
        Shape::new(5, &[1], &[1, 0, 0, 0], &[0]),
        Shape::new(5, &[1], &tagged(&[1, 0, 0]), &[0]),
    ]);
    hold::<m::DescribeGroupsRequest>(&[Shape::new(6, &[], &[1], &[0; 2])]);
    hold::<m::ConsumerGroupDescribeRequest>(&[Shape::new(1, &[], &[1], &[0; 2])]);
    // Names of topics; topics of which no partition is owned, and one of which many are.
    let before = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let no_names = [&before[..], &[0, 0, 0]].concat();
    let one = [&no_names[..], &[2], &[0; 16]].concat();
    hold::<m::ConsumerGroupHeartbeatRequest>(&[
        Shape::new(1, &before, &[1], &[0, 0, 0, 0]),
        Shape::new(1, &no_names, &[&[0; 16][..], &[1, 0]].concat(), &[0]),
        Shape::new(1, &no_names, &tagged(&[&[0; 16][..], &[1]].concat()), &[0]),
        Shape::new(1, &one, &[0; 4], &[0, 0]),
    ]);
    hold::<m::DeleteGroupsRequest>(&[Shape::new(2, &[], &[1], &[0])]);
    hold::<m::ListGroupsRequest>(&[Shape::new(5, &[], &[1], &[1, 0])]);
    hold::<m::FindCoordinatorRequest>(&[Shape::new(6, &[0], &[1], &[0])]);
}

#[test]
fn share_groups() {
    let tagged = |bytes: &[u8]| [bytes, &TAG[..]].concat();
    hold::<m::ShareGroupDescribeRequest>(&[Shape::new(1, &[], &[1], &[0; 2])]);
    hold::<m::ShareGroupHeartbeatRequest>(&[Shape::new(1, &[1, 1, 0, 0, 0, 0, 0], &[1], &[0])]);
    // Topics without partitions; one topic of many partitions; one partition of many batches; one batch of many types.
    let id = [0; 16];
    let fetch = [&[1, 1][..], &[0; 26]].concat();
    let one_topic = |before: &[u8]| [before, &[2], &id[..]].concat();
    let one_partition = |before: &[u8]| [&one_topic(before)[..], &[2, 0, 0, 0, 0]].concat();
    let one_batch = |before: &[u8]| [&one_partition(before)[..], &[2], &[0; 16]].concat();
    hold::<m::ShareFetchRequest>(&[
        Shape::new(2, &fetch, &[&id[..], &[1, 0]].concat(), &[1, 0]),
        Shape::new(2, &fetch, &tagged(&[&id[..], &[1]].concat()), &[1, 0]),
        Shape::new(2, &one_topic(&fetch), &[0, 0, 0, 0, 1, 0], &[0, 1, 0]),
        Shape::new(2, &one_partition(&fetch), &[&[0; 16][..], &[1, 0]].concat(), &[0, 0, 1, 0]),
        Shape::new(2, &one_batch(&fetch), &[1], &[0, 0, 0, 1, 0]),
    ]);
    let said = [1, 1, 0, 0, 0, 0, 0];
    hold::<m::ShareAcknowledgeRequest>(&[
        Shape::new(2, &said, &[&id[..], &[1, 0]].concat(), &[0]),
        Shape::new(2, &one_topic(&said), &[0, 0, 0, 0, 1, 0], &[0, 0]),
        Shape::new(2, &one_partition(&said), &[&[0; 16][..], &[1, 0]].concat(), &[0, 0, 0]),
        Shape::new(2, &one_batch(&said), &[1], &[0, 0, 0, 0]),
    ]);
    hold::<m::DescribeShareGroupOffsetsRequest>(&[
        Shape::new(1, &[], &[1, 0, 0], &[0]),
        Shape::new(1, &[], &tagged(&[1, 1]), &[0]),
        Shape::new(1, &[2, 1], &[1, 1, 0], &[0, 0]),
        Shape::new(1, &[2, 1, 2, 1], &[0; 4], &[0, 0, 0]),
    ]);
    hold::<m::AlterShareGroupOffsetsRequest>(&[
        Shape::new(0, &[1], &[1, 1, 0], &[0]),
        Shape::new(0, &[1], &tagged(&[1, 1]), &[0]),
        Shape::new(0, &[1, 2, 1], &[0; 13], &[0, 0]),
    ]);
    hold::<m::DeleteShareGroupOffsetsRequest>(&[
        Shape::new(0, &[1], &[1, 0], &[0]),
        Shape::new(0, &[1], &tagged(&[1]), &[0]),
    ]);
}

#[test]
fn the_rest_of_administration() {
    let tagged = |bytes: &[u8]| [bytes, &TAG[..]].concat();
    // Topics without a name: without partitions, with tags; one topic of many partitions.
    let topics = |version, before: &[u8], after: &[u8]| {
        let one = [before, &[2, 1]].concat();
        [
            Shape::new(version, before, &[1, 1, 0], after),
            Shape::new(version, before, &tagged(&[1, 1]), after),
            Shape::new(version, before, &[1, 2, 0, 0, 0, 0, 0], after),
            Shape::new(version, &one, &[0; 4], &[&[0], after].concat()),
        ]
    };
    hold::<m::DescribeLogDirsRequest>(&topics(5, &[], &[0]));
    hold::<m::DescribeProducersRequest>(&topics(0, &[], &[0]));
    hold::<m::ElectLeadersRequest>(&topics(2, &[0], &[0; 5]));
    hold::<m::ListPartitionReassignmentsRequest>(&topics(0, &[0; 4], &[0]));
    hold::<m::AlterReplicaLogDirsRequest>(&[
        Shape::new(2, &[], &[1, 1, 0], &[0]),
        Shape::new(2, &[], &[1, 2, 1, 1, 0, 0], &[0]),
        Shape::new(2, &[], &tagged(&[1, 3, 1, 1, 1, 100, 0, 1, 1, 1, 100, 0]), &[0]),
        Shape::new(2, &[2, 1], &tagged(&[1, 1]), &[0; 2]),
    ]);
    hold::<m::AlterPartitionReassignmentsRequest>(&[
        Shape::new(1, &[0; 5], &[1, 1, 0], &[0]),
        Shape::new(1, &[0; 5], &[1, 2, 0, 0, 0, 0, 0, 0, 0], &[0]),
        Shape::new(1, &[0, 0, 0, 0, 0, 2, 1], &[0, 0, 0, 0, 1, 0], &[0; 2]),
        Shape::new(1, &[0, 0, 0, 0, 0, 2, 1], &tagged(&[0, 0, 0, 0, 1]), &[0; 2]),
    ]);
    hold::<m::DescribeQuorumRequest>(&[
        Shape::new(2, &[], &[1, 1, 0], &[0]),
        Shape::new(2, &[], &tagged(&[1, 2, 0, 0, 0, 0, 1, 100, 0]), &[0]),
        Shape::new(2, &[2, 1], &[0; 5], &[0; 2]),
    ]);
    hold::<m::DescribeClientQuotasRequest>(&[
        Shape::new(1, &[], &[1, 0, 0, 0], &[0; 2]),
        Shape::new(1, &[], &tagged(&[1, 0, 0]), &[0; 2]),
    ]);
    hold::<m::AlterClientQuotasRequest>(&[
        Shape::new(1, &[], &[1, 1, 0], &[0; 2]),
        Shape::new(1, &[], &tagged(&[2, 1, 0, 1, 100, 0, 1]), &[0; 2]),
        Shape::new(1, &[2], &[1, 0, 0], &[1, 0, 0, 0]),
        Shape::new(1, &[2, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0]),
    ]);
    hold::<m::DescribeUserScramCredentialsRequest>(&[
        Shape::new(0, &[], &[1, 0], &[0]),
        Shape::new(0, &[], &tagged(&[1]), &[0]),
    ]);
    hold::<m::AlterUserScramCredentialsRequest>(&[
        Shape::new(0, &[], &[1, 0, 0], &[1, 0]),
        Shape::new(0, &[1], &[1, 0, 0, 0, 0, 0, 1, 1, 0], &[0]),
        Shape::new(0, &[1], &tagged(&[1, 0, 0, 0, 0, 0, 1, 1]), &[0]),
    ]);
    hold::<m::UpdateFeaturesRequest>(&[
        Shape::new(2, &[0; 4], &[1, 0, 0, 0, 0], &[0; 2]),
        Shape::new(2, &[0; 4], &tagged(&[1, 0, 0, 0]), &[0; 2]),
    ]);
}

#[test]
fn committed_offsets() {
    for partitions in [0, 1, 2, 5, 9] {
        hold::<m::OffsetCommitRequest>(&[Shape::new(
            9,
            &[1, 0, 0, 0, 0, 1, 0],
            &topic(partitions, 17),
            &[0],
        )]);
    }
    hold::<m::OffsetCommitRequest>(&[Shape::new(9, &[1, 0, 0, 0, 0, 1, 0], &[1, 1, 0], &[0])]);
    hold::<m::OffsetFetchRequest>(&[
        // Many groups, with no topic and with one; one group of many topics; one topic of many partitions.
        Shape::new(9, &[], &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 2]),
        Shape::new(9, &[], &[1, 0, 0, 0, 0, 0, 2, 1, 1, 0, 0], &[0; 2]),
        Shape::new(9, &[], &[&[1, 0, 0, 0, 0, 0, 2, 1, 1][..], &TAG, &TAG].concat(), &[0; 2]),
        Shape::new(9, &[2, 1, 0, 0, 0, 0, 0], &[1, 1, 0], &[0; 3]),
        Shape::new(9, &[2, 1, 0, 0, 0, 0, 0], &[&[1, 1], &TAG[..]].concat(), &[0; 3]),
        Shape::new(9, &[2, 1, 0, 0, 0, 0, 0, 2, 1], &[0; 4], &[0; 4]),
    ]);
}

#[test]
fn more_elements_than_any_request_needs_are_refused() {
    let body = |count: u32| {
        let names = [1, 0].repeat(usize::try_from(count).unwrap());
        // A prefix of three bytes is wide enough for the counts here.
        let prefix = count + 1;
        let low = |shift: u32| u8::try_from(prefix >> shift & 0x7f).unwrap();
        Bytes::from([&[low(0) | 0x80, low(7) | 0x80, low(14)], &names[..], &[0; 4]].concat())
    };
    let most = u32::try_from(ELEMENTS_MAX).unwrap();
    assert!(control::decode::<m::MetadataRequest>(9, body(most)).is_ok());
    assert!(control::decode::<m::MetadataRequest>(9, body(most + 1)).is_err());
}
