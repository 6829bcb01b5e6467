//! Kafka's wire protocol: bytes to versioned messages and back.
//!
//! Produce, Fetch and the request header have codecs of their own that borrow from the frame; everything else
//! passes through `kafka-wire`, which nothing but [`control`] names. What is served, in which versions, stands in
//! one table: [`api::APIS`].
#![forbid(unsafe_code)]

pub mod api;
pub mod client;
pub mod control;
mod error;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod produce;
mod reader;
mod topic;
mod writer;

pub use api::{Api, ApiKey};
pub use error::{DecodeError, EncodeError};
pub use header::RequestHeader;
pub use kafka_wire_core::{StrBytes as Text, Uuid};
pub use topic::{LeaderHint, NodeEndpoint, TOPIC_ID_SINCE, TopicRef};
