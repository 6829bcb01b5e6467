//! The load generator's binary.

// Until the modes call all of it.
#[allow(dead_code, unused_imports)]
mod report;

fn main() {}
