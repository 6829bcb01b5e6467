//! Every decision of the broker as pure state machines: no file, socket, thread or clock, and never a wire version.
#![forbid(unsafe_code)]

pub mod effects;
pub mod epochs;
pub mod fetch_session;
pub mod group;
pub mod machine;
pub mod metadata;
pub mod producers;
pub mod replica;
pub mod settings;
pub mod share;
pub mod telemetry;
