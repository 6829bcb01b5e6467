//! AlterPartitionReassignments: replicas can only go where they are.

use coordination::metadata::placement::reassign;
use model::BrokerId;
use net::service::Reply;
use protocol::control::messages::alter_partition_reassignments_request::ReassignablePartition;
use protocol::control::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::control::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use protocol::{RequestHeader, message};

use super::{in_time, reply, told, told_to_each};
use crate::service::Broker;

/// Answers an AlterPartitionReassignments request.
pub fn handle(broker: &Broker, header: &RequestHeader, request: AlterPartitionReassignmentsRequest) -> Reply {
    let image = broker.cluster.image();
    let node = broker.settings.node;
    let resize = request.allow_replication_factor_change;
    let late = in_time(request.timeout_ms).err().filter(|_| !request.topics.is_empty());
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |wanted: &ReassignablePartition| {
            let replicas = wanted.replicas.as_ref();
            let replicas: Option<Vec<_>> = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
            let judged = match &late {
                Some(refusal) => Err(refusal.clone()),
                None => reassign(&image, node, &topic.name, wanted.partition_index, replicas.as_deref()),
            };
            let (code, text) = judged.map_or_else(|refusal| told_to_each(&refusal), |()| (0, None));
            message!(ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code: code,
                error_message: text,
            })
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        message!(ReassignableTopicResponse { name: topic.name, partitions: partitions })
    });
    let mut response =
        message!(AlterPartitionReassignmentsResponse { error_message: None, responses: topics.collect() });
    match &late {
        Some(refusal) => (response.error_code, response.error_message) = told(refusal),
        None if header.api_version >= RESIZE_SINCE => response.allow_replication_factor_change = resize,
        None => {}
    }
    reply(header, &response)
}

/// First version that can forbid another number of replicas.
const RESIZE_SINCE: i16 = 1;

#[cfg(test)]
mod tests {
    use protocol::control::messages::alter_partition_reassignments_request::ReassignableTopic;

    use model::ErrorCode;

    use super::*;
    use crate::service::harness::Client;
    use crate::service::tests::create;

    fn ask(client: &Client, version: i16, partition: i32, replicas: Option<&[i32]>) -> (i16, Option<String>) {
        let partition = message!(ReassignablePartition {
            partition_index: partition,
            replicas: replicas.map(<[i32]>::to_vec),
        });
        let topic = message!(ReassignableTopic { name: "t".into(), partitions: vec![partition] });
        let request = message!(AlterPartitionReassignmentsRequest { topics: vec![topic] });
        let response: AlterPartitionReassignmentsResponse = client.ask(version, &request);
        let told = &response.responses[0].partitions[0];
        let mut late = request;
        late.timeout_ms = 0;
        let timed_out: AlterPartitionReassignmentsResponse = client.ask(version, &late);
        let code = ErrorCode::RequestTimedOut.code();
        assert_eq!((timed_out.error_code, timed_out.responses[0].partitions[0].error_code), (code, code));
        assert_eq!((response.error_code, response.error_message), (0, None));
        (told.error_code, told.error_message.as_deref().map(str::to_owned))
    }

    #[test]
    fn replicas_go_where_they_are() {
        let client = Client::new();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(ask(&client, 0, 0, None), (unknown, Some("Unable to find a topic named t.".into())));
        create(&client, "t", 1, &[]);
        let wrong = |text: &str| (39, Some(format!("The manual partition assignment includes {text}")));
        for version in [0, 1] {
            assert_eq!(ask(&client, version, 0, Some(&[1])), (0, None));
            assert_eq!(ask(&client, version, 0, None), (85, None));
            assert_eq!(
                ask(&client, version, 1, None),
                (unknown, Some("Unable to find partition t:1.".into()))
            );
            assert_eq!(ask(&client, version, 0, Some(&[])), wrong("an empty replica list."));
            assert_eq!(ask(&client, version, 0, Some(&[1, 1])), wrong("the broker 1 more than once."));
            let broker = wrong("broker 2, but no such broker is registered.");
            assert_eq!(ask(&client, version, 0, Some(&[1, 2, 3])), broker);
        }
    }
}
