//! Kafka's wire protocol: bytes to versioned messages and back.
