//! DeleteRecords: move the log start of partitions forward.
