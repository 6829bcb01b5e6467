//! Groups as a member sees them: classic ones, that only come and go or consume, and share groups.

mod assignor;
mod coordinator;
mod membership;
mod offsets;
mod share;

use std::io;

use crate::cluster::error_name;

pub use coordinator::find_request;
pub use membership::{Membership, Standing};
pub use share::{Beat, JOINS, ShareMembership, heartbeat, places};

/// An error as one of the connection: the answer is to find the coordinator again.
fn refuse(code: i16) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(error_name(code))) }
}
