//! AlterReplicaLogDirs: there is one directory, and every log is in it already.

use std::collections::BTreeMap;

use coordination::metadata::Image;
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use protocol::control::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use protocol::{RequestHeader, Text, message};

use super::{partition_named, reply};
use crate::service::Broker;

/// Answers an AlterReplicaLogDirs request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: AlterReplicaLogDirsRequest) -> Reply {
    let image = broker.cluster.image();
    // A partition that is named twice goes where it is named last, as in Kafka.
    let mut topics: BTreeMap<Text, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for dir in request.dirs {
        let here = *dir.path == *broker.settings.data_dir;
        for topic in dir.topics {
            for index in topic.partitions {
                let code = judge(&image, here, &topic.name, index);
                topics.entry(topic.name.clone()).or_default().insert(index, code);
            }
        }
    }
    let results = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, code)| {
            message!(AlterReplicaLogDirPartitionResult { partition_index: index, error_code: code.code() })
        });
        message!(AlterReplicaLogDirTopicResult { topic_name: name, partitions: partitions.collect() })
    });
    reply(header, &message!(AlterReplicaLogDirsResponse { results: results.collect() }))
}

/// Kafka names the directory of a log on its way `TOPIC-PARTITION.` with 32 digits and `-future` behind it; that must be a name.
const FUTURE_BYTES: usize = "-.".len() + 32 + "-future".len();
const FILE_NAME_BYTES_MAX: usize = 255;

fn judge(image: &Image, here: bool, topic: &str, index: i32) -> ErrorCode {
    if topic.len() + index.to_string().len() + FUTURE_BYTES > FILE_NAME_BYTES_MAX {
        return ErrorCode::InvalidTopicException;
    }
    if !here {
        return ErrorCode::LogDirNotFound;
    }
    partition_named(image, topic, index).err().unwrap_or(ErrorCode::None)
}

#[cfg(test)]
mod tests {
    use protocol::control::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;
    use crate::service::harness::Client;
    use crate::service::tests::create;

    #[test]
    fn a_log_is_where_it_is() {
        let client = Client::new();
        let long = "x".repeat(214);
        create(&client, "t", 2, &[]);
        create(&client, &long, 1, &[]);
        let ask = |version, path: &str, name: &str, index| {
            let topic = message!(AlterReplicaLogDirTopic { name: name.into(), partitions: vec![index] });
            let dir = message!(AlterReplicaLogDir { path: path.into(), topics: vec![topic] });
            let request = message!(AlterReplicaLogDirsRequest { dirs: vec![dir] });
            let response: AlterReplicaLogDirsResponse = client.ask(version, &request);
            response.results[0].partitions[0].error_code
        };
        for version in [1, 2] {
            assert_eq!(ask(version, "/data", "t", 1), 0);
            assert_eq!(ask(version, "/data", "t", 2), ErrorCode::UnknownTopicOrPartition.code());
            assert_eq!(ask(version, "/data/", "t", 1), ErrorCode::LogDirNotFound.code());
            assert_eq!(ask(version, "/elsewhere", "nowhere", 0), ErrorCode::LogDirNotFound.code());
            assert_eq!(ask(version, "/data", &long, 0), ErrorCode::InvalidTopicException.code());
            assert_eq!(ask(version, "/data", &long[1..], 0), ErrorCode::UnknownTopicOrPartition.code());
        }
    }
}
