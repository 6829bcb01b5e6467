//! Classic consumer groups, as a member sees them: for groups that only come and go, and for those that consume.

mod assignor;
mod membership;
mod offsets;

pub use membership::{Membership, Standing};
