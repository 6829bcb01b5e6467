//! The one line on standard output: scripts and supervisors wait for it.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process;

/// What is said when the broker serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Where clients connect, with the port that was picked.
    pub kafka: SocketAddr,
    /// Where the admin endpoint is.
    pub admin: SocketAddr,
    /// How long recovery took.
    pub recovered_ms: u64,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kafka, admin, recovered_ms } = self;
        write!(f, "ready kafka={kafka} admin={admin} pid={} recovered_ms={recovered_ms}", process::id())
    }
}

impl Ready {
    /// Prints the line. Nobody may be reading; that is their choice.
    pub fn announce(&self) {
        let mut out = io::stdout().lock();
        if let Err(error) = writeln!(out, "{self}").and_then(|()| out.flush()) {
            tracing::warn!(%error, "the ready line could not be written to standard output");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ready;

    #[test]
    fn the_line_is_an_interface() {
        let ready = Ready {
            kafka: ([127, 0, 0, 1], 9092).into(),
            admin: ([127, 0, 0, 1], 9644).into(),
            recovered_ms: 12,
        };
        let pid = std::process::id();
        assert_eq!(
            ready.to_string(),
            format!("ready kafka=127.0.0.1:9092 admin=127.0.0.1:9644 pid={pid} recovered_ms=12")
        );
    }
}
