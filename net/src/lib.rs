//! Listeners, connections, admission and back-pressure.
//!
//! A [`server::Server`] holds the connections of one core. Each is one task that admits, reads and cuts requests, hands
//! them to the [`service::Service`] above, and sends the replies in request order.

pub mod answers;
pub mod budget;
mod buffers;
mod connection;
mod control;
mod inbox;
pub mod limits;
pub mod listener;
mod outbox;
pub mod parking;
pub mod pipeline;
pub mod server;
pub mod service;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod traffic;
pub mod watch;
