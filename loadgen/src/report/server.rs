//! What the server's process cost, from `/proc`.

use std::io;
use std::path::Path;

/// Looks at one process.
#[derive(Debug)]
pub struct ServerSampler {
    pid: u32,
}

impl ServerSampler {
    /// Begins to watch a process of this machine. Fails when there is none, or it may not be looked at.
    pub fn new(pid: u32) -> io::Result<Self> {
        Self::below(Path::new("/proc"), pid)
    }

    /// The same with another place for `/proc`.
    pub fn below(_proc: &Path, pid: u32) -> io::Result<Self> {
        Ok(ServerSampler { pid })
    }
}
