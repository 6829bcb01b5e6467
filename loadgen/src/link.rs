//! A connection to a broker: requests out, frames in.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::{self, poll_fn};
use net::stream::Stream;
use protocol::ApiKey;
use protocol::control::{self, RequestResponsePair};
use protocol::frame::LENGTH_BYTES;

use crate::cluster::Versions;
use crate::run;

/// How long a connection or one small answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest frame that is believed: what a broker's answer may be, plus what one huge batch may add.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Most pieces that the system takes at once (IOV_MAX).
const PIECES_MAX: usize = 1024;
/// A frame larger than the buffer makes it grow by this at least.
const GROWTH_MIN: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    correlation: Cell<i32>,
}

impl Link {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = within(PATIENCE, Stream::connect(address)).await?;
        Ok(Self { stream, correlation: Cell::new(0) })
    }

    /// A number for the next request.
    pub fn next_correlation(&self) -> i32 {
        let next = self.correlation.get().wrapping_add(1) & i32::MAX;
        self.correlation.set(next);
        next
    }

    /// Sends all of `pieces`.
    pub async fn send(&self, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Removes empty ones in front, which would look like a socket that takes nothing.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let some = &pieces[..pieces.len().min(PIECES_MAX)];
            let sent = poll_fn(|cx| self.stream.poll_write(cx, some)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut pieces, sent);
        }
        Ok(())
    }

    /// Asks and waits for the answer, on a connection where nothing else is outstanding.
    pub async fn call<M: RequestResponsePair>(
        &self,
        client_id: &str,
        versions: &Versions,
        key: ApiKey,
        request: &M,
        patience: Duration,
    ) -> io::Result<M::Response> {
        let version = versions.of(key).map_err(io::Error::other)?;
        self.ask(client_id, version, request).await?;
        let frame = within(patience, Inbox::new(4 << 10).next(self)).await?;
        control::decode_response(version, &frame).map(|(_, response)| response).map_err(io::Error::other)
    }

    /// Sends a request whose answer somebody else reads.
    pub async fn ask<M: RequestResponsePair>(
        &self,
        client_id: &str,
        version: i16,
        request: &M,
    ) -> io::Result<()> {
        let frame = control::encode_request(version, self.next_correlation(), Some(client_id), request)
            .map_err(io::Error::other)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?.to_be_bytes();
        self.send(&mut [IoSlice::new(&length), IoSlice::new(&frame)]).await
    }

    /// Reads at most `len_max` bytes to throw away; 0 is the end.
    pub async fn skip(&self, buffer: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        buffer.clear();
        buffer.reserve(len_max);
        poll_fn(|cx| self.stream.poll_read(cx, buffer, len_max)).await
    }
}

/// Waits for `future`, but not for ever.
pub async fn within<T>(patience: Duration, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future::or(future, async {
        run::sleep(patience).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// The receiving side of a connection. One buffer is used again and again as long as its frames are let go of before the
/// next one is asked for, so that what arrives is in the cache when it is looked at.
#[derive(Debug)]
pub struct Inbox {
    buffer: BytesMut,
    room: usize,
}

impl Inbox {
    /// With a buffer of `room` bytes; larger frames enlarge it.
    pub fn new(room: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(room), room }
    }

    /// The next frame without its length.
    pub async fn next(&mut self, link: &Link) -> io::Result<Bytes> {
        loop {
            let missing = match self.buffer.first_chunk::<LENGTH_BYTES>() {
                None => LENGTH_BYTES - self.buffer.len(),
                Some(length) => {
                    let length = u32::from_be_bytes(*length) as usize;
                    if length > FRAME_BYTES_MAX {
                        return Err(io::Error::other("an answer of impossible length"));
                    }
                    if self.buffer.len() >= LENGTH_BYTES + length {
                        self.buffer.advance(LENGTH_BYTES);
                        return Ok(self.buffer.split_to(length).freeze());
                    }
                    LENGTH_BYTES + length - self.buffer.len()
                }
            };
            // An empty buffer goes back to the beginning of its memory.
            // Memory grows with what came, not with what was announced.
            let room = if self.buffer.is_empty() {
                self.room
            } else {
                missing.min(self.buffer.len().max(GROWTH_MIN))
            };
            self.buffer.reserve(room);
            let spare = self.buffer.capacity() - self.buffer.len();
            if poll_fn(|cx| link.stream.poll_read(cx, &mut self.buffer, spare)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// What to call a broken connection in a table of errors.
pub fn error_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}
