//! IncrementalAlterConfigs: change settings of topics, one by one.
