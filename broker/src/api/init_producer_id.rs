//! InitProducerId: an id that nobody else has, from a block that this core reserved durably.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll, Waker};

use coordination::metadata::machine::PRODUCER_ID_BLOCK;
use coordination::metadata::{Command, Outcome, Refusal};
use model::{ErrorCode, ProducerEpoch, ProducerId};
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
    /// Somebody is getting the next block; the others wait for it rather than get one each.
    reserving: bool,
    waiting: Vec<Waker>,
}

/// Answers an InitProducerId request.
pub async fn handle(broker: &Broker, header: &RequestHeader, request: InitProducerIdRequest) -> Reply {
    let id = match judge(&request) {
        Ok(()) => next_id(broker).await,
        Err(refusal) => {
            let client = header.client_id.as_deref();
            tracing::info!(client, "InitProducerId is refused: {}", refusal.message);
            Err(refusal)
        }
    };
    let response = match id {
        Ok(id) => message!(InitProducerIdResponse { producer_id: id, producer_epoch: 0 }),
        Err(refusal) => message!(InitProducerIdResponse {
            error_code: refusal.code.code(),
            producer_id: ProducerId::NONE.0,
            producer_epoch: ProducerEpoch::NONE.0,
        }),
    };
    reply(header, &response)
}

/// Whether a new id may be given. A producer that has one already gets another: without a transactional id nothing
/// ties it to the old one.
fn judge(request: &InitProducerIdRequest) -> Result<(), Refusal> {
    let refused = |text: &str| Err(Refusal::new(ErrorCode::InvalidRequest, text));
    let has_id = request.producer_id != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return refused("a producer id comes with its epoch, and an epoch with its producer id");
    }
    match &request.transactional_id {
        None => Ok(()),
        Some(_) => refused("transactions are not implemented by this broker yet"),
    }
}

async fn next_id(broker: &Broker) -> Result<i64, Refusal> {
    let block = &broker.producer_ids;
    loop {
        if let Some(id) = block.borrow_mut().left.next() {
            return Ok(id);
        }
        if let Some(reservation) = Reservation::begin(block) {
            match propose(&*broker.cluster, Command::ReserveProducerIds).await? {
                Outcome::ProducerIds(first) => {
                    block.borrow_mut().left = first..first.saturating_add(PRODUCER_ID_BLOCK.into());
                }
                _ => return Err(Refusal::new(ErrorCode::UnknownServerError, "no answer")),
            }
            drop(reservation);
        } else {
            poll_fn(|cx| block.borrow_mut().poll_reserved(cx)).await;
        }
    }
}

impl IdBlock {
    fn poll_reserved(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.reserving {
            return Poll::Ready(());
        }
        self.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

/// One reservation under way. However it ends, even with the connection that began it, the next one may begin.
struct Reservation<'a>(&'a RefCell<IdBlock>);

impl<'a> Reservation<'a> {
    fn begin(block: &'a RefCell<IdBlock>) -> Option<Self> {
        let others = std::mem::replace(&mut block.borrow_mut().reserving, true);
        // Made only if it is ours: dropping it ends the reservation.
        if others { None } else { Some(Self(block)) }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut block = self.0.borrow_mut();
            block.reserving = false;
            std::mem::take(&mut block.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_lite::future::{poll_once, zip};
    use net::service::Reply;
    use protocol::control::messages::InitProducerIdResponse;
    use protocol::control::{decode_response, encode_request};

    use super::*;
    use crate::service::harness::{Client, joined};

    fn ask(client: &Client, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        client.ask(5, request)
    }

    fn idempotent() -> InitProducerIdRequest {
        message!(InitProducerIdRequest { transactional_id: None })
    }

    #[test]
    fn ids_are_never_given_twice() {
        let client = Client::new();
        let mut given = BTreeSet::new();
        for _ in 0..=2 * PRODUCER_ID_BLOCK {
            let answer = ask(&client, &idempotent());
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            assert!(given.insert(answer.producer_id));
        }
    }

    #[test]
    fn one_reservation_serves_all_that_wait() {
        let client = Client::new();
        let frame = || encode_request(5, 7, None, &idempotent()).unwrap();
        let id = |reply: Reply| match reply {
            Reply::Send(response) => {
                decode_response::<InitProducerIdResponse>(5, &joined(&response)).unwrap().1.producer_id
            }
            other => panic!("no response but {other:?}"),
        };
        let (first, second) = client.simulation.run_until(async {
            // A client that goes away while its reservation is under way.
            let mut gone = Box::pin(client.begin(frame()));
            assert!(poll_once(&mut gone).await.is_none());
            drop(gone);
            let (first, second) = zip(client.begin(frame()), client.begin(frame())).await;
            (id(first.await), id(second.await))
        });
        assert_eq!(second, first + 1, "from one block");
    }

    #[test]
    fn transactions_and_half_an_identity_are_refused() {
        let client = Client::new();
        let refused = |request: &InitProducerIdRequest| {
            let answer = ask(&client, request);
            assert_eq!(
                (answer.error_code, answer.producer_id, answer.producer_epoch),
                (ErrorCode::InvalidRequest.code(), -1, -1)
            );
        };
        refused(&message!(InitProducerIdRequest { transactional_id: Some("t".into()) }));
        let with = |producer_id: i64, producer_epoch: i16| {
            message!(InitProducerIdRequest {
                transactional_id: None,
                producer_id: producer_id,
                producer_epoch: producer_epoch,
            })
        };
        refused(&with(7, -1));
        refused(&with(-1, 7));
        let again = ask(&client, &with(7, 3));
        assert_eq!((again.error_code, again.producer_epoch), (0, 0));
    }
}
