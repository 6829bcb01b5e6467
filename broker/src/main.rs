//! The Millrace broker.
fn main() {}
