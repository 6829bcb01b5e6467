//! The states of a group's partitions are begun together.

use super::upkeep::{LATEST, offsets};
use super::*;

const PARTITIONS: i64 = 400;
/// One after the other they take some 300.
const BEGUN_WITHIN_MS: i64 = 100;

#[test]
fn many_states_are_begun_in_few_commits() {
    let client = Client::new();
    assert_eq!(create(&client, "t", i32::try_from(PARTITIONS).unwrap(), &[]), 0);
    let key = message!(FindCoordinatorRequest { coordinator_keys: vec!["g".into()] });
    let found: FindCoordinatorResponse = client.ask(6, &key);
    assert_eq!(found.coordinators[0].error_code, 0);
    assert_eq!(beat(&client, "a", 0).error_code, 0);
    let begun = client.simulation.now_ms();
    while offsets(&client, LATEST) < PARTITIONS {
        rest(&client, 1);
        let ms = client.simulation.now_ms() - begun;
        assert!(ms < BEGUN_WITHIN_MS, "{} states after {ms} ms", offsets(&client, LATEST));
    }
}
