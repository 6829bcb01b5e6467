//! Free space: appends are refused before the disk is full.

use std::io;
use std::time::Duration;

use model::limits::RING_FILES;

use crate::derived::Derived;
use crate::disk::{Disk, Space};
use crate::store::Store;

impl<D: Disk, S: Derived> Store<D, S> {
    /// How large the file system of the data directory is.
    pub async fn space(&self) -> io::Result<Space> {
        self.disk.space(self.paths.root()).await
    }

    /// Polls for free space: refuses appends before the disk is full, and accepts them again with some distance.
    pub(crate) async fn watch_space(&self) {
        while !self.closing.get() {
            self.asks_space.set(true);
            let free = self.disk.free_bytes(self.paths.root()).await;
            self.asks_space.set(false);
            self.moved.notify();
            if let Ok(free) = free {
                let unmade = self.journal.ring.spare_files() as u64 * (self.options.plan.ring / RING_FILES);
                let needed =
                    self.options.free_bytes_min + self.frame_bytes.get().min(self.options.plan.ring) + unmade;
                let full = self.is_stalled()
                    || free < if self.disk_full.get() { needed + needed / 4 } else { needed };
                if full != self.disk_full.get() {
                    if full {
                        tracing::error!(
                            free,
                            needed,
                            "the disk is too full: produce is refused until space is free"
                        );
                    } else {
                        tracing::warn!(free, needed, "space is free again: produce is accepted");
                    }
                    self.disk_full.set(full);
                }
            }
            self.disk.sleep(Duration::from_millis(1000)).await;
        }
    }
}
