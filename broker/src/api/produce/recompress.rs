//! Batches in the compression that their topic asks for (`compression.type`). It is made on a thread where that may take its time, for
//! one request at a time on a core: what becomes of a request may be far larger than what was admitted.

use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use coordination::metadata::Topic;
use model::ErrorCode;
use model::batch::{Codec, Header, RecordBatch};
use net::service::Permit;
use storage::recompress::{Refused, recompress};
use storage::signal::Gate;

use super::{Plan, Verdict};
use crate::cluster::apart;
use crate::service::Broker;

/// What the topic wants a batch compressed with, if it is not.
pub(super) fn wanted(topic: &Topic, batch: &[u8]) -> Option<Codec> {
    let codec = topic.settings.codec?;
    let is = Header::parse(batch).ok()?.compression().ok()?;
    (is != codec.compression).then_some(codec)
}

/// The turn of a request at the gate.
pub(super) struct Turn(Rc<Gate>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Recompresses what is to be. The turn is to be kept until the request is answered: then it has grown.
pub(super) async fn all(broker: &Broker, plan: &mut Plan, permit: &mut Permit) -> Option<Turn> {
    let others = mem::take(&mut plan.other);
    if others.is_empty() {
        return None;
    }
    broker.recompressing.enter().await;
    let turn = Turn(Rc::clone(&broker.recompressing));
    let admitted = permit.bytes();
    let (mut bytes, mut refused) = (admitted, Vec::new());
    let mut left = broker.settings.recompressed_bytes_max;
    for other in others {
        let append = &mut plan.appends[other.append].1;
        let batch = mem::take(&mut append.batch);
        let before = batch.len();
        let bytes_max = other.bytes_max.min(left);
        let made = apart(&*broker.cluster, move || made(&batch, other.codec, bytes_max)).await;
        match made.unwrap_or_else(|| Err((ErrorCode::UnknownServerError, String::new()))) {
            Ok(made) => {
                left -= made.len();
                bytes = bytes + made.len() - before.min(bytes);
                permit.settle(bytes.max(1));
                append.batch = made;
            }
            Err((code, text)) => {
                plan.topics[other.place.0].1[other.place.1].1 = Verdict::Refused(code, text);
                refused.push(other.append);
            }
        }
    }
    for append in refused.into_iter().rev() {
        plan.appends.remove(append);
    }
    (permit.bytes() > admitted).then_some(turn)
}

fn made(batch: &Bytes, codec: Codec, bytes_max: usize) -> Result<Bytes, (ErrorCode, String)> {
    let (batch, _) = RecordBatch::parse(batch).map_err(|error| (error.error_code(), error.to_string()))?;
    recompress(&batch, codec, bytes_max).map(Bytes::from).map_err(|refused| {
        let code = match refused {
            Refused::Invalid(_) => ErrorCode::InvalidRecord,
            Refused::TooLarge => ErrorCode::MessageTooLarge,
        };
        (code, refused.to_string())
    })
}
