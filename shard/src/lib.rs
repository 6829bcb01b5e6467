//! One core: what it owns, the mesh between cores and the driver.

pub mod ops;
