//! DescribeConfigs: settings of topics and of the broker, where each comes from and what it means.
