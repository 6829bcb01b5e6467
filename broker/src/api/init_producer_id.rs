//! InitProducerId: an id for an idempotent producer, from blocks that are reserved durably and never given out twice.
