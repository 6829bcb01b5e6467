//! A disk that rots, fills up or fails under the real binary: what clients are answered, what the log and the metrics say, and
//! that everything else that was acknowledged is there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "power_cut/broker.rs"]
mod broker;
#[path = "disk_faults/dumps.rs"]
mod dumps;
#[path = "disk_faults/failing.rs"]
mod failing;
#[path = "disk_faults/fixture.rs"]
mod fixture;
#[path = "disk_faults/full.rs"]
mod full;
#[path = "disk_faults/rot.rs"]
mod rot;
#[path = "harness/share_group.rs"]
mod share_group;
#[path = "disk_faults/shares.rs"]
mod shares;
#[path = "power_cut/wire.rs"]
mod wire;
