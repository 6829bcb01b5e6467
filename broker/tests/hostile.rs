//! Bad days: what peers may send and do, and what running out of things comes to. Each case shows the answer, that memory
//! stays in its budget, and that a client beside it that behaves well feels nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod harness;

#[path = "hostile/batches.rs"]
mod batches;
#[path = "hostile/behind.rs"]
mod behind;
#[path = "hostile/beside.rs"]
mod beside;
#[path = "hostile/bombs.rs"]
mod bombs;
#[path = "hostile/consumers.rs"]
mod consumers;
#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/deaf.rs"]
mod deaf;
#[path = "hostile/ends.rs"]
mod ends;
#[path = "hostile/fields.rs"]
mod fields;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/groups.rs"]
mod groups;
#[path = "hostile/large.rs"]
mod large;
#[path = "hostile/names.rs"]
mod names;
#[path = "hostile/patient.rs"]
mod patient;
#[path = "hostile/unfinished.rs"]
mod unfinished;
#[path = "hostile/wire.rs"]
mod wire;
