//! One replica of one partition: how far its log is safe, and who waits for that.

pub mod leader;
pub mod waiters;
