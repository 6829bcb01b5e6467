//! When the memory for records in flight is used up, what is in flight goes on and new records wait.

use std::sync::Arc;

use coordination::share::limits::{PARTITION_BYTES, RECORD_BYTES};
use shard::lending::Lender;
use shard::shard::ShardSettings;

use super::*;
use crate::service::harness::CORES;

#[test]
fn new_records_wait_for_memory() {
    let lenders: Arc<[_]> = (0..CORES).map(|_| Lender::new(u64::MAX)).collect();
    // Forty records of one share partition are enough.
    let shares_bytes_max = Some(PARTITION_BYTES + 40 * RECORD_BYTES);
    let settings = ShardSettings { lenders, shares_bytes_max, ..ShardSettings::default() };
    let written = [("node.id".to_owned(), "1".to_owned())].into();
    let client = ready(Client::of(&settings, written, |_| {}));
    let (_, topic) = join(&client, "a");
    put(&client, &["x"; 60]);
    let asks = |member, epoch, said| Asks { member, epoch, topic, wait_ms: 100, said };
    assert_eq!(acquired(&fetch(&client, &asks("a", 0, &[]))).0, [(0, 59, 1)]);
    put(&client, &["x"; 60]);
    assert_eq!(acquired(&fetch(&client, &asks("b", 0, &[]))).0, []);
    // Given back, they are another member's; they are in flight already.
    assert_eq!(verdict(&acknowledge(&client, &asks("a", 1, &[(0, 9, RELEASE), (10, 59, ACCEPT)]))), 0);
    assert_eq!(acquired(&fetch(&client, &asks("b", 1, &[]))).0, [(0, 9, 2), (60, 119, 1)]);
    assert_eq!(verdict(&acknowledge(&client, &asks("b", 2, &[(0, 9, ACCEPT), (60, 119, ACCEPT)]))), 0);
    put(&client, &["x"; 60]);
    assert_eq!(acquired(&fetch(&client, &asks("a", 2, &[]))).0, [(120, 179, 1)]);
}
