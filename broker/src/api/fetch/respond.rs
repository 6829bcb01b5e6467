//! From what the owners had to the response: what the session leaves out, and topics put together.

use coordination::fetch_session::{Context, PartitionKey, Report, TopicKey, Wish};
use model::{ErrorCode, LeaderEpoch, Offset, TopicId};
use net::service::Chunk;
use protocol::fetch::{EpochEnd, FetchPartitionResponse, FetchResponse, FetchTopicResponse};
use protocol::{LeaderHint, NodeEndpoint, Text, TopicRef};

use super::Outcome;
use crate::service::Broker;

/// The response to a request in `context`; `outcomes` in the order of `wishes`.
pub(super) fn response(
    broker: &Broker,
    context: Context,
    wishes: Vec<(PartitionKey, Wish)>,
    outcomes: Vec<Outcome>,
    read_committed: bool,
) -> FetchResponse<Chunk> {
    let reports: Vec<Report> =
        wishes.into_iter().zip(&outcomes).map(|((key, wish), outcome)| report(key, wish, outcome)).collect();
    let closing = broker.sessions.borrow_mut().finish(broker.cluster.tick(), context, &reports);
    let mut response = FetchResponse::empty(closing.error, closing.session_id);
    if !closing.error.is_ok() {
        return response;
    }
    let epoch = broker.cluster.image().leader_epoch();
    for ((report, outcome), include) in reports.into_iter().zip(outcomes).zip(closing.include) {
        if !include {
            continue;
        }
        let leader = LeaderHint { leader_id: broker.settings.node.0, leader_epoch: epoch };
        let partition = partition(report.key.index, outcome, read_committed, leader);
        if partition.current_leader.is_some() && response.node_endpoints.is_empty() {
            response.node_endpoints.push(endpoint(broker));
        }
        let topic = topic_ref(&report.key.topic);
        match response.topics.last_mut() {
            Some(last) if last.topic == topic => last.partitions.push(partition),
            _ => response.topics.push(FetchTopicResponse { topic, partitions: vec![partition] }),
        }
    }
    response
}

fn report(key: PartitionKey, wish: Wish, outcome: &Outcome) -> Report {
    let (error, high_watermark, log_start, has_news) = match outcome {
        Ok(fetched) => {
            let news = !fetched.records.is_empty() || fetched.diverging.is_some();
            (fetched.error, fetched.high_watermark, fetched.log_start, news)
        }
        Err(code) => (*code, Offset::NONE, Offset::NONE, false),
    };
    Report { key, wish, error, high_watermark, log_start, has_news }
}

fn partition(
    index: i32,
    outcome: Outcome,
    read_committed: bool,
    leader: LeaderHint,
) -> FetchPartitionResponse<Chunk> {
    let mut response = match outcome {
        // As in Kafka: an empty list where it did not look, null where it looked and failed.
        Err(code) => FetchPartitionResponse {
            aborted_transactions: Some(Vec::new()),
            ..FetchPartitionResponse::refused(index, code)
        },
        Ok(fetched) if !fetched.error.is_ok() => FetchPartitionResponse::refused(index, fetched.error),
        Ok(fetched) => FetchPartitionResponse {
            high_watermark: fetched.high_watermark,
            last_stable_offset: fetched.last_stable,
            log_start_offset: fetched.log_start,
            diverging_epoch: fetched.diverging.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset }),
            // Nobody has aborted anything: there are no transactions.
            aborted_transactions: (read_committed && fetched.diverging.is_none()).then(Vec::new),
            records: fetched.records,
            ..FetchPartitionResponse::refused(index, ErrorCode::None)
        },
    };
    // KIP-951: who leads, so that the client need not ask.
    let elsewhere = matches!(response.error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
    if elsewhere && leader.leader_epoch > LeaderEpoch::NONE {
        response.current_leader = Some(leader);
    }
    response
}

fn endpoint(broker: &Broker) -> NodeEndpoint {
    NodeEndpoint {
        node_id: broker.settings.node.0,
        host: Text::from(broker.settings.host.as_str()),
        port: broker.settings.port,
        rack: broker.settings.rack.as_deref().map(Text::from),
    }
}

fn topic_ref(key: &TopicKey) -> TopicRef {
    match key {
        TopicKey::Name(name) => TopicRef { name: Text::from(&**name), id: TopicId::ZERO },
        TopicKey::Id(id) => TopicRef { name: Text::default(), id: *id },
    }
}
