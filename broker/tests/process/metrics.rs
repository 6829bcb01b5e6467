//! What a scrape tells of how bytes became durable.

use super::harness::{Broker, Client, Scratch};

#[test]
fn small_appends_are_written_twice_and_large_ones_once() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch.data_dir(), &[]);
    let metric = |name: &str| broker.metric(&format!("millrace_{name}_total{{core=\"0\"}}"));
    let mut client = Client::connect(&broker.ready);
    client.create_topic();
    client.produce(&[b'x'; 100]).unwrap();
    assert!(metric("journal_bytes") > 100);
    assert_eq!(metric("extent_bytes"), 0);
    // The flusher makes the segment's file, so the first ones still go through the journal.
    for _ in 0..40 {
        client.produce(&[b'x'; 250_000]).unwrap();
    }
    let extent_bytes = metric("extent_bytes");
    assert!(extent_bytes > 250_000, "{extent_bytes}");
    assert!(metric("flush_bytes") >= extent_bytes);
}
