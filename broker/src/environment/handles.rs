//! Open files: how many there may be, and who gets them.

use std::io;

use model::limits::{OPEN_SEGMENTS_MAX, OPEN_SEGMENTS_MIN};
use storage::disk::probe;

/// Handles of a core beside its segments: ring files, its ring of the kernel, snapshots on their way.
const HANDLES_PER_CORE: usize = 48;
/// Handles of the process as a whole: metadata, the admin endpoint, logs.
const HANDLES: usize = 64;
/// Connections that are taken in any case.
const CONNECTIONS_MIN: usize = 16;

/// Raises the soft limit of open files to the hard one: the usual soft limit of 1,024 is for programs that use select(2).
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for what the call writes and outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0
        || limit.rlim_cur >= limit.rlim_max
    {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is initialised and outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "the limit of open files could not be raised");
    }
}

/// Segment files each of `cores` cores may keep open: a quarter of the limit is for all of them, the rest for connections.
#[must_use]
pub fn open_segments_max(cores: usize) -> usize {
    segments_of(probe::machine().open_files.soft, cores)
}

/// Connections that the limit of open files has room for beside the broker's own files: without handles for its journal it
/// could not go on.
#[must_use]
pub fn connections_max(cores: usize) -> usize {
    connections_of(probe::machine().open_files.soft, cores)
}

fn connections_of(open_files: Option<u64>, cores: usize) -> usize {
    let Some(files) = open_files else { return usize::MAX };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let own = segments_of(open_files, cores) * cores + HANDLES_PER_CORE * cores + HANDLES;
    files.saturating_sub(own).max(CONNECTIONS_MIN)
}

fn segments_of(open_files: Option<u64>, cores: usize) -> usize {
    let files = usize::try_from(open_files.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    (files / 4 / cores.max(1)).clamp(OPEN_SEGMENTS_MIN, OPEN_SEGMENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_get_their_part_of_the_handles() {
        assert_eq!(segments_of(Some(20_000), 2), 2500);
        assert_eq!(segments_of(Some(256), 8), OPEN_SEGMENTS_MIN);
        assert_eq!(segments_of(None, 1), OPEN_SEGMENTS_MAX);
        assert_eq!(connections_of(Some(20_000), 2), 20_000 - 5000 - 2 * HANDLES_PER_CORE - HANDLES);
        assert_eq!((connections_of(Some(10), 8), connections_of(None, 1)), (CONNECTIONS_MIN, usize::MAX));
    }
}
