//! Every decision of the broker as pure state machines.
