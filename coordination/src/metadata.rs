//! What the cluster knows of itself: topics, their settings, ids. An event-sourced state machine whose records a
//! driver keeps durable, and an immutable image of the result for every core.

pub mod alter;
pub mod broker_config;
pub mod configs;
pub mod delta;
pub mod eligible;
pub mod features;
pub mod image;
pub mod machine;
pub mod placement;
pub mod topics;

pub use broker_config::BrokerConfig;
pub use configs::{Overrides, TopicDefaults, TopicSettings};
pub use delta::Record;
pub use image::{Image, Topic};
pub use machine::{Command, Effect, Input, Metadata, Outcome};
pub use topics::{MorePartitions, NewTopic, Policy, Refusal, TopicRef};
