//! DescribeTopicPartitions: topics and their partitions, a page at a time.
