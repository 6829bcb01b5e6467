//! The load generator's binary.

// Until the modes call all of it.
#[allow(dead_code)]
mod report;

fn main() {}
