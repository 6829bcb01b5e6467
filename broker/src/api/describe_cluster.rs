//! DescribeCluster: the brokers, the controller and the cluster's id.
