//! Listeners, connections, admission and back-pressure.

pub mod budget;
pub mod service;
