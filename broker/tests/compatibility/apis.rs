//! API by API, version by version.

use std::fmt::Write;

use protocol::api::{APIS, Api, find};

/// What Apache Kafka 4.3.1 answers to ApiVersions: key, name, first and last version. Behind them, what differs here, or what is
/// missing without it.
#[rustfmt::skip]
const KAFKA: &[(i16, &str, i16, i16, &str)] = &[
    (0, "Produce", 0, 13, "Transactional batches are refused (INVALID_REQUEST). Answered when the records are on stable storage, whatever acks=1 says."),
    (1, "Fetch", 4, 18, "No follower may fetch: its connection is closed. No preferred replica. An answer has 1 MiB of records at most, or one batch that is larger, whatever `fetch.max.bytes` says; the client asks again for the rest. A smaller `fetch.max.bytes` is obeyed."),
    (2, "ListOffsets", 1, 11, "Local and tiered offsets are those of a topic without tiered storage."),
    (3, "Metadata", 0, 13, "A topic that is made on request is there in the same answer; Kafka answers with an error first."),
    (8, "OffsetCommit", 2, 10, "Kept on stable storage before the answer. Offsets inside transactions are not there yet."),
    (9, "OffsetFetch", 1, 10, ""),
    (10, "FindCoordinator", 0, 6, "Keys of transactions are refused (INVALID_REQUEST), and those of share partitions, which brokers ask for."),
    (11, "JoinGroup", 0, 9, "A group has 2000 members at most."),
    (12, "Heartbeat", 0, 4, ""),
    (13, "LeaveGroup", 0, 5, ""),
    (14, "SyncGroup", 0, 5, ""),
    (15, "DescribeGroups", 0, 6, ""),
    (16, "ListGroups", 0, 5, "Groups are classic ones, by the consumer protocol, or share groups."),
    (17, "SaslHandshake", 0, 1, "SASL."),
    (18, "ApiVersions", 0, 4, "Features are told as far as they are here: all of Kafka's but `streams.version` and `transaction.version`."),
    (19, "CreateTopics", 2, 7, "Replication factor 1 or -1, and assignments to this broker only. Settings as in the list of topics' settings below."),
    (20, "DeleteTopics", 1, 6, ""),
    (21, "DeleteRecords", 0, 2, ""),
    (22, "InitProducerId", 0, 5, "A transactional id is refused (INVALID_REQUEST)."),
    (23, "OffsetForLeaderEpoch", 2, 4, ""),
    (24, "AddPartitionsToTxn", 0, 5, "Transactions."),
    (25, "AddOffsetsToTxn", 0, 4, "Transactions."),
    (26, "EndTxn", 0, 5, "Transactions."),
    (27, "WriteTxnMarkers", 1, 2, "Transactions."),
    (28, "TxnOffsetCommit", 0, 5, "Transactions: offsets inside them."),
    (29, "DescribeAcls", 1, 3, "Access control."),
    (30, "CreateAcls", 1, 3, "Access control."),
    (31, "DeleteAcls", 1, 3, "Access control."),
    (32, "DescribeConfigs", 1, 4, "Topics, brokers, groups and subscriptions to clients' metrics. Loggers are refused (INVALID_REQUEST)."),
    (33, "AlterConfigs", 0, 2, "Topics, brokers, groups and subscriptions to clients' metrics. A resource that is named twice is refused; Kafka does not answer."),
    (34, "AlterReplicaLogDirs", 1, 2, "There is one directory, the data directory: a log can go where it is, and no other directory is known (LOG_DIR_NOT_FOUND)."),
    (35, "DescribeLogDirs", 1, 5, "One directory, the data directory. Sizes are those of the batches, without what files have around them."),
    (36, "SaslAuthenticate", 0, 2, "SASL."),
    (37, "CreatePartitions", 0, 3, ""),
    (38, "CreateDelegationToken", 1, 3, "Delegation tokens."),
    (39, "RenewDelegationToken", 1, 2, "Delegation tokens."),
    (40, "ExpireDelegationToken", 1, 2, "Delegation tokens."),
    (41, "DescribeDelegationToken", 1, 3, "Delegation tokens."),
    (42, "DeleteGroups", 0, 2, ""),
    (43, "ElectLeaders", 0, 2, "Every partition has its preferred and only leader: ELECTION_NOT_NEEDED."),
    (44, "IncrementalAlterConfigs", 0, 1, "Topics, brokers, groups and subscriptions to clients' metrics; levels of loggers are refused (INVALID_REQUEST)."),
    (45, "AlterPartitionReassignments", 0, 1, "The only assignment that can be is the one there is; nothing is ever under way."),
    (46, "ListPartitionReassignments", 0, 0, "Nothing is ever under way."),
    (47, "OffsetDelete", 0, 0, ""),
    (48, "DescribeClientQuotas", 0, 1, "Nobody has quotas."),
    (49, "AlterClientQuotas", 0, 1, "Quotas are not there yet: setting one is refused (INVALID_REQUEST); removing one that is not there succeeds. An address is not a host name."),
    (50, "DescribeUserScramCredentials", 0, 0, "Nobody has credentials (RESOURCE_NOT_FOUND)."),
    (51, "AlterUserScramCredentials", 0, 0, "SASL is not there yet: setting credentials is refused (UNSUPPORTED_SASL_MECHANISM)."),
    (55, "DescribeQuorum", 0, 2, "The quorum is this broker, at the listener of clients. Its log is counted from 1."),
    (57, "UpdateFeatures", 0, 2, "`streams.version` and `transaction.version` are not known. A level that somebody chose is kept; Kafka keeps all of them."),
    (60, "DescribeCluster", 0, 2, "One broker, which is the controller."),
    (61, "DescribeProducers", 0, 0, "No producer is in a transaction."),
    (64, "UnregisterBroker", 0, 0, "There is one broker: it cannot be unregistered while it runs (INVALID_REQUEST), others are not registered."),
    (65, "DescribeTransactions", 0, 0, "Transactions."),
    (66, "ListTransactions", 0, 2, "Transactions."),
    (68, "ConsumerGroupHeartbeat", 0, 1, "A group has 2000 members, 64 regular expressions of 4096 bytes each, and a member names 10,000 topics at most."),
    (69, "ConsumerGroupDescribe", 0, 1, ""),
    (71, "GetTelemetrySubscriptions", 0, 0, "Kafka names it only where a receiver of clients' metrics is plugged in. Sums are wanted from their beginning, not since the last push."),
    (72, "PushTelemetry", 0, 0, "Kafka names it only where a receiver of clients' metrics is plugged in. Gauges and sums are told at `/metrics/clients` of the admin endpoint; histograms are passed over."),
    (74, "ListConfigResources", 0, 1, "No loggers are listed."),
    (75, "DescribeTopicPartitions", 0, 0, ""),
    (76, "ShareGroupHeartbeat", 1, 1, "A member names 1000 topics at most. The hash of the topics it reads is ours: a group that comes from Kafka begins one epoch more."),
    (77, "ShareGroupDescribe", 1, 1, ""),
    (78, "ShareFetch", 1, 2, "`group.share.max.share.sessions` is for each core. Locks end up to 50 ms later than they could. An answer has 1 MiB of records at most, or one batch that is larger."),
    (79, "ShareAcknowledge", 1, 2, ""),
    (80, "AddRaftVoter", 0, 1, "Voters of the controllers' quorum."),
    (81, "RemoveRaftVoter", 0, 0, "Voters of the controllers' quorum."),
    (83, "InitializeShareGroupState", 0, 0, "Share groups, between brokers."),
    (84, "ReadShareGroupState", 0, 0, "Share groups, between brokers."),
    (85, "WriteShareGroupState", 0, 1, "Share groups, between brokers."),
    (86, "DeleteShareGroupState", 0, 0, "Share groups, between brokers."),
    (87, "ReadShareGroupStateSummary", 0, 1, "Share groups, between brokers."),
    (88, "StreamsGroupHeartbeat", 0, 0, "Streams groups."),
    (89, "StreamsGroupDescribe", 0, 0, "Streams groups."),
    (90, "DescribeShareGroupOffsets", 0, 1, ""),
    (91, "AlterShareGroupOffsets", 0, 0, ""),
    (92, "DeleteShareGroupOffsets", 0, 0, ""),
];

/// The table, as Markdown.
pub fn section() -> String {
    let mut text = format!(
        "## APIs\n\nOf the {} APIs that Kafka 4.3.1 names in ApiVersions, {} are here. One that is not (-) is not named by this broker \
         either: clients and\ntools say that the version is not supported before they send anything, and a request that is sent \
         nevertheless closes its connection,\nas does a version outside of those listed (ApiVersions itself answers with an error, as \
         in Kafka). What differs is said; where nothing\nis said, nothing is known to differ.\n\n\
         | key | API | Kafka | here | what differs, or what is missing without it |\n|---|---|---|---|---|\n",
        KAFKA.len(),
        APIS.len()
    );
    for (key, name, min, max, note) in KAFKA {
        let here = find(*key).map_or_else(|| "-".to_owned(), |api| versions(api.advertised_min(), api.max));
        let note = match find(*key) {
            Some(api) => format!("{}{note}", advertised(api)),
            None => (*note).to_owned(),
        };
        writeln!(text, "| {key} | {name} | {} | {here} | {} |", versions(*min, *max), note.trim()).unwrap();
    }
    text
}

fn versions(min: i16, max: i16) -> String {
    if min == max { min.to_string() } else { format!("{min}-{max}") }
}

/// Said of an API that states more versions than it answers.
fn advertised(api: &Api) -> String {
    if api.advertised_min() == api.min {
        return String::new();
    }
    format!(
        "Versions from {} on are answered; the lower ones are stated for old clients, as in Kafka. ",
        api.min
    )
}

#[test]
fn what_is_served_is_kafkas() {
    assert!(KAFKA.is_sorted_by_key(|row| row.0));
    for api in APIS {
        let row = KAFKA.iter().find(|row| row.0 == api.key.number()).unwrap();
        assert_eq!(row.1, api.name);
        assert!(row.2 <= api.advertised_min() && api.max <= row.3, "{} states more than Kafka", api.name);
    }
}
