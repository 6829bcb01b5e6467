//! InitProducerId: an id that nobody else has, from a block that this core reserved durably.

use std::ops::Range;

use coordination::metadata::machine::PRODUCER_ID_BLOCK;
use coordination::metadata::{Command, Outcome, Refusal};
use model::ErrorCode;
use net::service::Reply;
use protocol::control::messages::InitProducerIdRequest;
use protocol::control::messages::init_producer_id_response::InitProducerIdResponse;
use protocol::{RequestHeader, message};

use super::reply;
use crate::cluster::propose;
use crate::service::Broker;

/// Producer ids one core may give out; what is left at a restart is lost.
#[derive(Debug, Default)]
pub struct IdBlock {
    left: Range<i64>,
}

/// Answers an InitProducerId request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: InitProducerIdRequest) -> Reply {
    let id = match request.transactional_id {
        None => next_id(broker).await,
        Some(id) => {
            let text = "transactions are not implemented by this broker yet";
            tracing::info!(
                transactional_id = &*id,
                client = header.client_id.as_deref(),
                text,
                "InitProducerId"
            );
            Err(Refusal::new(ErrorCode::InvalidRequest, text))
        }
    };
    let response = match id {
        Ok(id) => message!(InitProducerIdResponse { producer_id: id, producer_epoch: 0 }),
        Err(refusal) => message!(InitProducerIdResponse {
            error_code: refusal.code.code(),
            producer_id: -1,
            producer_epoch: -1,
        }),
    };
    reply(header, &response)
}

async fn next_id(broker: &Broker) -> Result<i64, Refusal> {
    if let Some(id) = broker.producer_ids.borrow_mut().left.next() {
        return Ok(id);
    }
    match propose(&*broker.cluster, Command::ReserveProducerIds).await? {
        Outcome::ProducerIds(first) => {
            // Another connection may have reserved one meanwhile: its rest is lost, and ids are plenty.
            let mut left = first..first + i64::from(PRODUCER_ID_BLOCK);
            let id = left.next();
            broker.producer_ids.borrow_mut().left = left;
            id.ok_or_else(|| Refusal::new(ErrorCode::UnknownServerError, "an empty block of producer ids"))
        }
        _ => Err(Refusal::new(ErrorCode::UnknownServerError, "no answer")),
    }
}
