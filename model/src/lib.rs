//! The nouns of the broker. Pure: no file, socket, thread or clock.
#![forbid(unsafe_code)]

pub mod batch;
pub mod epoch;
pub mod error_code;
pub mod id;
pub mod limits;
pub mod offset;
pub mod time;

pub use epoch::{LeaderEpoch, OwnershipEpoch, ProducerEpoch};
pub use error_code::ErrorCode;
pub use id::{BrokerId, ProducerId, TopicId, TopicPartition};
pub use offset::{Offset, OffsetDelta};
pub use time::{Tick, TimestampMs};
