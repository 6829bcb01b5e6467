//! Bytes to frames: admitted before they are read, cut in place, large ones read straight into their own memory.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future::poll_fn;
use protocol::frame::{FrameError, LENGTH_BYTES, frame_length};

use crate::budget::{Budget, Permit, Waiting, Want};
use crate::buffers::{Buffers, ROOM_MIN};
use crate::control::Control;
use crate::stream::Stream;
use model::limits::{COPIED_FRAME_BYTES_MAX, FRAME_BYTES_FIRST, READ_STEP_BYTES, RECEIVE_BUFFER_BYTES};

/// Why no further frame comes out of a connection.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The socket failed, or ended within a frame.
    Io(io::Error),
    /// The length in front of a frame is not acceptable.
    Length(FrameError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The receiving half of one connection.
#[derive(Debug)]
pub(crate) struct Inbox {
    stream: Rc<Stream>,
    control: Rc<Control>,
    budget: Budget,
    buffers: Rc<Buffers>,
    frame_bytes_max: usize,
    /// What arrived and was not cut off yet; charged to `permit`, byte by byte.
    buffer: BytesMut,
    permit: Permit,
}

/// What a read came to.
enum Filled {
    More,
    End,
    /// No memory for a whole read, or nothing to read yet of the rest of a frame.
    Lacking,
}

impl Inbox {
    pub(crate) fn new(
        stream: Rc<Stream>,
        control: Rc<Control>,
        budget: Budget,
        buffers: Rc<Buffers>,
        frame_bytes_max: usize,
    ) -> Self {
        let permit = budget.empty();
        Self { stream, control, budget, buffers, frame_bytes_max, buffer: BytesMut::new(), permit }
    }

    /// The next frame without its length, with the permit it is charged to; none when the stream ended between two
    /// frames or the connection is to finish.
    pub(crate) async fn next(&mut self) -> Result<Option<(Bytes, Permit)>, ReadError> {
        loop {
            if self.control.draining() {
                return Ok(None);
            }
            let filled = match self.frame_len()? {
                None => self.fill(false).await?,
                Some(len) if self.buffer.len() - LENGTH_BYTES >= len => {
                    self.affordable().await;
                    return Ok((!self.control.draining()).then(|| self.cut(len)));
                }
                Some(len) if self.missing(len) > self.spare() => return self.finish(len).await,
                Some(len) => match self.fill(true).await? {
                    Filled::Lacking => return self.finish(len).await,
                    filled => filled,
                },
            };
            if matches!(filled, Filled::End) {
                return if self.buffer.is_empty() || self.control.draining() {
                    Ok(None)
                } else {
                    Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()))
                };
            }
        }
    }

    /// Length of the frame at the front, when its length has arrived.
    fn frame_len(&self) -> Result<Option<usize>, ReadError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        frame_length(*length, self.frame_bytes_max).map(Some).map_err(ReadError::Length)
    }

    /// Bytes of a frame of `len` bytes that have not arrived.
    fn missing(&self, len: usize) -> usize {
        len + LENGTH_BYTES - self.buffer.len()
    }

    fn spare(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Waits while more is in use than there is. What has arrived is admitted, but what becomes of it may be a thousand times
    /// as much: a few bytes ask for all partitions of a session.
    async fn affordable(&self) {
        let mut waiting = Waiting::new(self.budget.clone());
        let mut waits = self.budget.is_overdrawn();
        poll_fn(|cx| {
            // A byte is a place in the queue; it is given back at once.
            waits = waits && !self.control.draining() && waiting.poll_admit(cx, 1).is_pending();
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Cuts off a frame that has arrived whole.
    fn cut(&mut self, len: usize) -> (Bytes, Permit) {
        self.buffer.advance(LENGTH_BYTES);
        let frame = if len <= COPIED_FRAME_BYTES_MAX {
            let copy = Bytes::copy_from_slice(self.buffer.get(..len).unwrap_or_default());
            self.buffer.advance(len);
            copy
        } else {
            self.buffer.split_to(len).freeze()
        };
        self.control.count_frame();
        (frame, self.permit.split(LENGTH_BYTES + len))
    }

    /// Reads once into the shared-purpose buffer. `partial`: the peer owes us the rest of a frame.
    async fn fill(&mut self, partial: bool) -> Result<Filled, ReadError> {
        if self.buffer.is_empty() {
            self.buffers.give(std::mem::take(&mut self.buffer));
        } else if self.buffer.len() < LENGTH_BYTES && self.spare() < ROOM_MIN {
            let mut fresh = self.buffers.take();
            fresh.extend_from_slice(&self.buffer);
            self.buffer = fresh;
        }
        self.control.set_partial(partial);
        let mut waiting = Waiting::new(self.budget.clone());
        let filled = poll_fn(|cx| self.poll_fill(cx, &mut waiting, partial)).await;
        self.control.set_partial(false);
        Ok(filled?)
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        waiting: &mut Waiting,
        partial: bool,
    ) -> Poll<io::Result<Filled>> {
        if self.control.draining() {
            return Poll::Ready(Ok(Filled::End));
        }
        if self.spare() == 0 {
            // None yet, or only what came of a length.
            let arrived = std::mem::replace(&mut self.buffer, self.buffers.take());
            self.buffer.extend_from_slice(&arrived);
        }
        let room = if self.buffer.len() < LENGTH_BYTES && self.budget.large_ones_wait() {
            // No more than tells whether it is a large one too: the rest of it would wait here in what is for small ones.
            LENGTH_BYTES - self.buffer.len()
        } else {
            self.spare()
        };
        let Poll::Ready(mut permit) = waiting.poll_admit(cx, room) else {
            return if partial { Poll::Ready(Ok(Filled::Lacking)) } else { Poll::Pending };
        };
        let read = self.stream.poll_read(cx, &mut self.buffer, room);
        if let Poll::Ready(Ok(n)) = read {
            permit.give_back(room - n);
            self.permit.merge(permit);
            self.control.count_received(n);
        } else if self.buffer.is_empty() {
            self.buffers.give(std::mem::take(&mut self.buffer));
        } else if read.is_pending() && partial {
            // The rest may be long in coming. What is charged is what arrived, so the buffer, whose other bytes were in use
            // before, goes back: see `finish`.
            return Poll::Ready(Ok(Filled::Lacking));
        } else if read.is_pending() {
            let arrived = BytesMut::from(&self.buffer[..]);
            self.buffer.clear();
            self.buffers.give(std::mem::replace(&mut self.buffer, arrived));
        }
        read.map_ok(|n| if n == 0 { Filled::End } else { Filled::More })
    }

    /// Reads the rest of a frame of `len` bytes straight to where it stays.
    async fn finish(&mut self, len: usize) -> Result<Option<(Bytes, Permit)>, ReadError> {
        let arrived = self.buffer.len();
        let mut frame = BytesMut::with_capacity(len.min(FRAME_BYTES_FIRST).max(arrived));
        frame.extend_from_slice(self.buffer.get(LENGTH_BYTES..).unwrap_or_default());
        self.buffer.clear();
        self.buffers.give(std::mem::take(&mut self.buffer));
        let mut permit = self.permit.split(arrived);
        let mut waiting = Waiting::new(self.budget.clone());
        while frame.len() < len {
            if frame.capacity() == frame.len() {
                // Memory grows with what came, never with what was announced.
                frame.reserve(frame.len().min(len - frame.len()));
            }
            let room = frame.capacity() - frame.len();
            let step = room.min(len - frame.len()).min(READ_STEP_BYTES);
            let read =
                poll_fn(|cx| self.poll_finish(cx, &mut waiting, &mut permit, &mut frame, (len, step))).await;
            self.control.set_partial(false);
            match read? {
                0 if self.control.draining() => return Ok(None),
                0 => return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into())),
                n => self.control.count_received(n),
            }
        }
        self.control.count_frame();
        Ok(Some((frame.freeze(), permit)))
    }

    fn poll_finish(
        &self,
        cx: &mut Context<'_>,
        waiting: &mut Waiting,
        permit: &mut Permit,
        frame: &mut BytesMut,
        (frame_len, step): (usize, usize),
    ) -> Poll<io::Result<usize>> {
        if self.control.draining() {
            return Poll::Ready(Ok(0));
        }
        // While we wait for memory the peer owes nothing.
        self.control.set_partial(false);
        let want = if frame_len > RECEIVE_BUFFER_BYTES { Want::Large } else { Want::Small };
        ready!(waiting.poll_grow(cx, permit, step, want));
        let read = self.stream.poll_read(cx, frame, step);
        let arrived = if let Poll::Ready(Ok(n)) = read { n } else { 0 };
        permit.give_back(step - arrived);
        self.control.set_partial(read.is_pending());
        read
    }
}
