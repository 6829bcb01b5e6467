//! The client's side of Produce, Fetch and ShareFetch: requests to bytes, and answers read where they lie.
//!
//! For the load generator and for tests. As on the server's side, records are never copied: a [`ProduceWriter`] leaves
//! their place to the caller, and those of a fetch are slices of the answer's frame. What comes from a broker is trusted no
//! more than what comes from a client.
#![deny(clippy::indexing_slicing)]

mod fetch;
mod produce;
mod share_fetch;

use bytes::{BufMut, Bytes, BytesMut};
use model::ErrorCode;

pub use fetch::{FetchAnswer, FetchAnswerHead, read_fetch};
pub use produce::ProduceWriter;
pub use share_fetch::{Acquired, ShareAnswer, ShareAnswerHead, read_share_fetch};

use crate::api::{self, ApiKey};
use crate::frame::LENGTH_BYTES;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{DecodeError, LeaderHint};

/// What a client writes in front of every request.
#[derive(Clone, Copy, Debug)]
pub struct ClientHead<'a> {
    /// Which version of the API.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

impl ClientHead<'_> {
    /// Begins a request behind what `out` holds, with room for its length.
    fn begin(&self, mut out: BytesMut, key: ApiKey) -> Writer {
        out.put_bytes(0, LENGTH_BYTES);
        out.put_i16(key.number());
        out.put_i16(self.version);
        out.put_i32(self.correlation_id);
        // The client id keeps its old form in flexible headers too.
        let mut front = Writer::new(out, false);
        front.nullable_string(self.client_id);
        let mut writer = Writer::new(front.out, key.api().is_flexible(self.version));
        writer.tags(&[]);
        writer
    }
}

/// Writes the length of the request that begins at `at`, with `elsewhere` bytes of it not in `out`.
fn finish(out: &mut BytesMut, at: usize, elsewhere: usize) {
    let length = (out.len() - at).saturating_sub(LENGTH_BYTES) + elsewhere;
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    if let Some(field) = out.get_mut(at..at + LENGTH_BYTES) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// A reader of the response in `frame` behind its header, and the correlation id.
fn begin_answer(key: ApiKey, version: i16, frame: &Bytes) -> Result<(i32, Reader<'_>), DecodeError> {
    let flexible = api::find(key.number()).is_some_and(|api| api.is_flexible(version));
    let mut reader = Reader::new(frame, 0, flexible);
    let correlation_id = reader.i32()?;
    reader.skip_tags()?;
    Ok((correlation_id, reader))
}

fn error_code(reader: &mut Reader<'_>) -> Result<ErrorCode, DecodeError> {
    Ok(ErrorCode::from_code(reader.i16()?).unwrap_or(ErrorCode::UnknownServerError))
}

fn leader_hint(reader: &mut Reader<'_>) -> Result<LeaderHint, DecodeError> {
    let hint = LeaderHint { leader_id: reader.i32()?, leader_epoch: model::LeaderEpoch(reader.i32()?) };
    reader.skip_tags()?;
    Ok(hint)
}
