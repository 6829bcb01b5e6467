//! DescribeProducers: the producers that the logs of partitions remember, from their owners.

use std::collections::BTreeMap;

use model::limits::PRODUCERS_DESCRIBED_MAX;
use model::{ErrorCode, TopicPartition};
use net::service::Reply;
use protocol::control::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use protocol::control::messages::{DescribeProducersRequest, DescribeProducersResponse};
use protocol::{RequestHeader, Text, message};
use shard::ops::{ActiveProducer, Answer, Question};

use coordination::metadata::topics::check_name;
use coordination::metadata::{Image, Refusal};

use super::{fixed, reply, told_to_each};
use crate::cluster::scatter;
use crate::service::Broker;

/// A code and a sentence, as fields of a response.
type Told = (i16, Option<Text>);
/// What the owner of a partition tells.
type Listed = Result<Vec<ActiveProducer>, ErrorCode>;

const TOO_MANY: &str = "The answer would name too many producers: ask about fewer partitions at a time.";

/// Answers a DescribeProducers request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: DescribeProducersRequest) -> Reply {
    let image = broker.cluster.image();
    let mut asked: BTreeMap<TopicPartition, Listed> = BTreeMap::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let known = known(&image, &topic.name).map_err(|refusal| told_to_each(&refusal));
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let verdict = known.clone().and_then(|()| {
                let found = image.topic(&topic.name).and_then(|topic| topic.partition(index));
                found.ok_or((ErrorCode::UnknownTopicOrPartition.code(), None))
            });
            if let Ok(partition) = verdict {
                // Once, however often it is named.
                asked.entry(partition).or_insert(Err(ErrorCode::UnknownServerError));
            }
            partitions.push((index, verdict));
        }
        topics.push((topic.name, partitions));
    }
    let answer = |answer| if let Answer::Producers(each) = answer { Some(each) } else { None };
    let questions = asked.keys().map(|partition| (*partition, *partition)).collect();
    let lists = scatter(&*broker.cluster, questions, Question::Producers, answer).await.await;
    for (known, list) in asked.values_mut().zip(lists) {
        *known = list.unwrap_or(Err(ErrorCode::UnknownServerError));
    }
    let mut left = PRODUCERS_DESCRIBED_MAX;
    let mut partition = |(index, verdict): (i32, Result<TopicPartition, Told>)| {
        let list = verdict.and_then(|partition| {
            let list = asked.get(&partition).map_or(&Err(ErrorCode::UnknownServerError), |list| list);
            let fits = |list: &&Vec<ActiveProducer>| left == PRODUCERS_DESCRIBED_MAX || list.len() <= left;
            let list = list.as_ref().map_err(|code| *code);
            list.and_then(|list| Some(list).filter(fits).ok_or(ErrorCode::PolicyViolation))
                .map_err(|code| (code.code(), (code == ErrorCode::PolicyViolation).then(|| fixed(TOO_MANY))))
        });
        match list {
            Ok(list) => {
                left = left.saturating_sub(list.len());
                message!(PartitionResponse {
                    partition_index: index,
                    error_message: None,
                    active_producers: list.iter().map(state).collect(),
                })
            }
            Err((code, text)) => {
                message!(PartitionResponse { partition_index: index, error_code: code, error_message: text })
            }
        }
    };
    let topics = topics.into_iter().map(|(name, partitions)| {
        message!(TopicResponse {
            name: name,
            partitions: partitions.into_iter().map(&mut partition).collect()
        })
    });
    let response = message!(DescribeProducersResponse { topics: topics.collect() });
    reply(header, &response)
}

fn known(image: &Image, topic: &str) -> Result<(), Refusal> {
    check_name(topic)?;
    match image.topic(topic) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, super::NO_SUCH_PARTITION)),
    }
}

/// None of them is in a transaction, and no coordinator of one ever wrote here.
fn state(producer: &ActiveProducer) -> ProducerState {
    message!(ProducerState {
        producer_id: producer.producer.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    })
}

#[cfg(test)]
mod tests {
    use model::batch::BatchBuilder;
    use model::{ProducerEpoch, ProducerId, TimestampMs};
    use protocol::control::messages::describe_producers_request::TopicRequest;

    use super::*;
    use crate::service::harness::{Client, produce};
    use crate::service::tests::create;

    #[test]
    fn an_answer_names_so_many_producers_and_no_more() {
        const EACH: usize = 400;
        let client = Client::new();
        create(&client, "t", 2, &[]);
        for id in (0..).take(EACH) {
            let batch = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(0), 0);
            client.response(produce("t", -1, &[(0, batch.value(TimestampMs(1), b"v").build())]));
        }
        let fit = PRODUCERS_DESCRIBED_MAX / EACH;
        // As often as fits, once more, and what has none.
        let mut partition_indexes = vec![0; fit + 1];
        partition_indexes.push(1);
        let topics = vec![message!(TopicRequest { name: "t".into(), partition_indexes: partition_indexes })];
        let response: DescribeProducersResponse =
            client.ask(0, &message!(DescribeProducersRequest { topics: topics }));
        let told = &response.topics[0].partitions;
        let producers = |one: &PartitionResponse| (one.error_code, one.active_producers.len());
        assert!(told[..fit].iter().all(|one| producers(one) == (0, EACH)));
        assert_eq!(producers(&told[fit]), (ErrorCode::PolicyViolation.code(), 0));
        assert_eq!(told[fit].error_message.as_deref(), Some(TOO_MANY));
        assert_eq!(producers(&told[fit + 1]), (0, 0));
    }

    #[test]
    fn what_a_log_remembers_is_told() {
        let client = Client::new();
        create(&client, "t", 2, &[]);
        let now = client.simulation.now_ms();
        let send = |id, epoch, sequence, count: usize, time| {
            let batch = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), sequence);
            let batch = (0..count).fold(batch, |batch, _| batch.value(TimestampMs(time), b"v"));
            client.response(produce("t", -1, &[(1, batch.build())]));
        };
        send(7, 2, 0, 3, now);
        send(7, 2, 3, 1, now + 5);
        send(4, 0, 0, 1, now);
        let topic = |name: &str, indexes: &[i32]| {
            message!(TopicRequest { name: name.into(), partition_indexes: indexes.to_vec() })
        };
        let topics = vec![topic("t", &[1, 0, 2]), topic("nowhere", &[0]), topic("a b", &[0])];
        let response: DescribeProducersResponse =
            client.ask(0, &message!(DescribeProducersRequest { topics: topics }));
        let [known, unknown, wrong] = &response.topics[..] else { panic!("{response:?}") };
        let told: Vec<_> = known.partitions[0]
            .active_producers
            .iter()
            .map(|one| (one.producer_id, one.producer_epoch, one.last_sequence, one.last_timestamp))
            .collect();
        assert_eq!(told, [(4, 0, 0, now), (7, 2, 3, now + 5)]);
        assert_eq!((known.partitions[1].error_code, known.partitions[1].active_producers.len()), (0, 0));
        let fault =
            |one: &PartitionResponse| (one.error_code, one.error_message.as_deref().map(str::to_owned));
        assert_eq!(fault(&known.partitions[2]), (3, None));
        assert_eq!(
            fault(&unknown.partitions[0]),
            (3, Some("This server does not host this topic-partition.".into()))
        );
        assert_eq!(wrong.partitions[0].error_code, ErrorCode::InvalidTopicException.code());
    }
}
