//! What share coordinators write is deleted when no start needs it, and nothing of what is known is lost with it.

use protocol::control::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};

use super::*;

const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;
/// Partitions of the topic in these tests.
const PARTITIONS: i32 = 4;

/// Where the logs of `__share_group_state` begin or end, all together.
pub fn offsets(client: &Client, timestamp: i64) -> i64 {
    let one = |index| message!(ListOffsetsPartition { partition_index: index, timestamp: timestamp });
    let partitions = (0..PARTITIONS).map(one).collect();
    let topic = message!(ListOffsetsTopic { name: "__share_group_state".into(), partitions: partitions });
    let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
    let told: ListOffsetsResponse = client.ask(10, &request);
    let found = told.topics[0].partitions.iter();
    found
        .map(|one| {
            assert_eq!(one.error_code, 0);
            one.offset
        })
        .sum()
}

#[test]
fn the_log_of_states_is_pruned() {
    let client = client();
    let (_, topic) = join(&client, "a");
    put(&client, &["0", "1", "2", "3"]);
    let asks = |epoch, said| Asks { member: "a", epoch, topic, wait_ms: 500, said };
    assert_eq!(acquired(&fetch(&client, &asks(0, &[]))).0, [(0, 3, 1)]);
    assert_eq!(verdict(&acknowledge(&client, &asks(1, &[(0, 1, ACCEPT), (3, 3, ACCEPT)]))), 0);
    let known = described(&client);
    let written = offsets(&client, LATEST);
    assert!(written >= 3 && offsets(&client, EARLIEST) == 0, "{written}");
    // It is written once more when it was quiet for five minutes; what is before that goes with the next round.
    rest(&client, 20 * 60_000);
    let end = offsets(&client, LATEST);
    assert!(end > written, "{written} {end}");
    assert_eq!(offsets(&client, EARLIEST), end - 1);
    // Where it begins was told with what became of the record whose lock ran out.
    assert_eq!((known, described(&client)), (Some((0, 1)), Some((2, 1))));
    // And it goes on from there: what the member had is free again since its lock ran out.
    let (_, topic) = join(&client, "b");
    let asks = Asks { member: "b", epoch: 0, topic, wait_ms: 500, said: &[] };
    assert_eq!(acquired(&fetch(&client, &asks)).0, [(2, 2, 2)]);
}
