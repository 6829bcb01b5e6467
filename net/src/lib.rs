//! Listeners, connections, admission and back-pressure.
