//! Whether the generator itself was the bottleneck.
