//! Replies to bytes: driven until they are known, put in request order, sent as pieces without copying them.

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future::BoxedLocal;

use crate::control::Control;
use crate::limits::PROGRESS_BYTES_MIN;
use crate::pipeline::{Pipeline, Ticket};
use crate::service::{Called, Chunk, Permit, Reply, Response};
use crate::stream::Stream;
use crate::traffic::{Traffic, add};
use model::limits::{UNSENT_BYTES_MAX, WRITE_PIECES_MAX};

/// Why nothing more is sent.
#[derive(Debug)]
pub(crate) enum WriteEnd {
    /// All answers were sent and no more requests will come.
    Done,
    /// A reply asked for the end, or a response could not be sent.
    Close(Cow<'static, str>),
    /// The socket failed.
    Io(io::Error),
}

/// Something to send.
#[derive(Debug)]
enum Piece {
    Length([u8; 4]),
    Chunk(Chunk),
    /// Nothing more of a response: its memory is given back with this.
    End {
        #[expect(dead_code, reason = "held until it is dropped")]
        permit: Option<Permit>,
        #[expect(dead_code, reason = "held until it is dropped")]
        loan: Option<Box<dyn Any>>,
        #[expect(dead_code, reason = "held until it is dropped")]
        counted: Counted,
    },
}

/// Bytes of an answer in the counter of all answers; taken out when dropped.
#[derive(Debug)]
struct Counted {
    traffic: Rc<Traffic>,
    bytes: u64,
}

impl Counted {
    fn new(traffic: Rc<Traffic>, reply: &Reply) -> Self {
        let bytes = match reply {
            Reply::Send(response) if response.permit.is_some() || response.loan.is_some() => 0,
            reply => reply.len() as u64,
        };
        add(&traffic.answer_bytes, bytes);
        Self { traffic, bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.traffic.answer_bytes.set(self.traffic.answer_bytes.get() - self.bytes);
    }
}

impl Piece {
    fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Length(length) => Some(length),
            Self::Chunk(chunk) => chunk.as_slice(),
            Self::End { .. } => Some(&[]),
        }
    }
}

/// The sending half of one connection.
pub(crate) struct Outbox {
    control: Rc<Control>,
    pipeline: Pipeline<(Reply, Counted)>,
    pending: Vec<(Ticket, BoxedLocal<Reply>)>,
    /// Replies that begin when their turn has come, oldest first, and how long each may wait then.
    in_turn: VecDeque<(Ticket, BoxedLocal<Reply>, Duration)>,
    /// The first of them has begun and may wait until then.
    waits_until: Option<Instant>,
    unsent: VecDeque<Piece>,
    /// Bytes of the first piece that are sent already.
    sent_of_first: usize,
    unsent_bytes: usize,
    /// No more requests will come; the end once all is sent.
    ending: bool,
    close: Option<Cow<'static, str>>,
}

impl Outbox {
    pub(crate) fn new(control: Rc<Control>, in_flight_max: usize) -> Self {
        Self {
            control,
            pipeline: Pipeline::new(in_flight_max),
            pending: Vec::new(),
            in_turn: VecDeque::new(),
            waits_until: None,
            unsent: VecDeque::new(),
            sent_of_first: 0,
            unsent_bytes: 0,
            ending: false,
            close: None,
        }
    }

    /// Whether another request may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.pipeline.has_room() && self.unsent_bytes < self.unsent_bytes_max() && self.close.is_none()
    }

    /// While answers take more than their share, only who takes all of its own may ask for more.
    fn unsent_bytes_max(&self) -> usize {
        if self.control.traffic().is_crowded() { 1 } else { UNSENT_BYTES_MAX }
    }

    /// Takes the place of a request that is about to be handed over.
    pub(crate) fn open(&mut self) -> Ticket {
        self.pipeline.open()
    }

    /// What the handing over came to.
    pub(crate) fn called(&mut self, ticket: Ticket, called: Called) {
        match called {
            Called::Now(reply) => self.complete(ticket, reply),
            Called::Later(reply) => self.pending.push((ticket, reply)),
            Called::InTurn(reply, wait) => self.in_turn.push_back((ticket, reply, wait)),
        }
    }

    fn complete(&mut self, ticket: Ticket, reply: Reply) {
        let counted = Counted::new(Rc::clone(self.control.traffic()), &reply);
        self.pipeline.complete(ticket, (reply, counted));
    }

    /// No more requests will come.
    pub(crate) fn end(&mut self) {
        self.ending = true;
    }

    /// Drives replies and sends what is ready; ready when the connection is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<WriteEnd> {
        self.drive(cx);
        let end = loop {
            self.enqueue();
            if self.drive_in_turn(cx) {
                continue;
            }
            if self.unsent.is_empty() {
                break self.end_when_sent();
            }
            match self.poll_send(cx, stream) {
                Poll::Pending => break None,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => break Some(end),
            }
        };
        let unsent = !self.unsent.is_empty();
        self.control.set_busy(self.pipeline.in_flight() > 0 || unsent, unsent, self.held_until());
        end.map_or(Poll::Pending, Poll::Ready)
    }

    /// Until when the peer itself holds up answers that take memory: behind one that waits as it asked. What waits for our disk
    /// or for other peers is not its doing, and small answers are in nobody's way.
    fn held_until(&self) -> Option<Instant> {
        let until = self.waits_until?;
        let bytes = self.pipeline.held().map(|(reply, _)| reply.len() as u64).sum::<u64>();
        (bytes >= PROGRESS_BYTES_MIN).then_some(until)
    }

    fn end_when_sent(&mut self) -> Option<WriteEnd> {
        if let Some(reason) = self.close.take() {
            return Some(WriteEnd::Close(reason));
        }
        (self.ending && self.pipeline.in_flight() == 0).then_some(WriteEnd::Done)
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some((ticket, reply)) = self.pending.get_mut(index) {
            if let Poll::Ready(reply) = reply.as_mut().poll(cx) {
                let ticket = *ticket;
                self.complete(ticket, reply);
                drop(self.pending.swap_remove(index));
            } else {
                index += 1;
            }
        }
    }

    /// Drives the reply whose turn it is; whether it is known now. It is begun once the answers before it are on their way, so
    /// that reading goes on while they are sent.
    fn drive_in_turn(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((ticket, reply, wait)) = self.in_turn.front_mut() else { return false };
        if !self.pipeline.is_next(*ticket) || self.unsent_bytes >= UNSENT_BYTES_MAX || self.close.is_some() {
            return false;
        }
        let Poll::Ready(reply) = reply.as_mut().poll(cx) else {
            self.waits_until.get_or_insert_with(|| Instant::now() + *wait);
            return false;
        };
        self.waits_until = None;
        if let Some((ticket, ..)) = self.in_turn.pop_front() {
            self.complete(ticket, reply);
        }
        true
    }

    /// Moves answers whose turn it is behind what is unsent.
    fn enqueue(&mut self) {
        while self.close.is_none() && self.unsent_bytes < UNSENT_BYTES_MAX {
            match self.pipeline.take() {
                None => break,
                Some((Reply::Silent, _)) => {}
                Some((Reply::Close(reason), _)) => self.close = Some(reason),
                Some((Reply::Send(response), counted)) => self.enqueue_response(response, counted),
            }
        }
    }

    fn enqueue_response(&mut self, response: Response, counted: Counted) {
        let len = response.len();
        let Ok(length) = i32::try_from(len) else {
            self.close = Some(format!("a response of {len} bytes does not fit a frame").into());
            return;
        };
        if response.pieces.iter().any(|piece| piece.as_slice().is_none()) {
            self.close = Some("a piece of a response lies outside of its memory".into());
            return;
        }
        self.unsent.push_back(Piece::Length(length.to_be_bytes()));
        self.unsent.extend(response.pieces.into_iter().filter(|piece| !piece.is_empty()).map(Piece::Chunk));
        self.unsent.push_back(Piece::End { permit: response.permit, loan: response.loan, counted });
        self.unsent_bytes += size_of_val(&length) + len;
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<Result<(), WriteEnd>> {
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.unsent) {
            let skipped = if count == 0 { self.sent_of_first } else { 0 };
            *slice =
                IoSlice::new(piece.as_slice().and_then(|bytes| bytes.get(skipped..)).unwrap_or_default());
            count += 1;
        }
        stream.poll_write(cx, slices.get(..count).unwrap_or_default()).map(|sent| match sent {
            Ok(0) => Err(WriteEnd::Io(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                self.sent(n);
                Ok(())
            }
            Err(error) => Err(WriteEnd::Io(error)),
        })
    }

    fn sent(&mut self, bytes: usize) {
        self.control.count_sent(bytes);
        self.unsent_bytes -= bytes;
        let mut done = self.sent_of_first + bytes;
        while let Some(first) = self.unsent.front() {
            let len = first.as_slice().map_or(0, <[u8]>::len);
            if done < len {
                break;
            }
            done -= len;
            self.unsent.pop_front();
        }
        self.sent_of_first = done;
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};

    use super::{Called, Outbox, PROGRESS_BYTES_MIN, Reply};
    use crate::control::Control;
    use crate::traffic::Traffic;

    /// Whether an answer of this many bytes counts as held by the peer behind a request that came to `front`.
    fn held_behind(front: Called, bytes: usize) -> bool {
        let control = Rc::new(Control::new(Rc::new(Traffic::new(u64::MAX))));
        let mut outbox = Outbox::new(control, 2);
        let (first, second) = (outbox.open(), outbox.open());
        outbox.called(first, front);
        outbox.called(second, Called::Now(Reply::bytes(vec![0; bytes].into())));
        let mut cx = Context::from_waker(Waker::noop());
        outbox.drive(&mut cx);
        outbox.enqueue();
        outbox.drive_in_turn(&mut cx);
        outbox.held_until().is_some_and(|until| Instant::now() < until)
    }

    #[test]
    fn answers_are_held_by_the_peer_only_behind_a_wait_it_asked_for() {
        let large = usize::try_from(PROGRESS_BYTES_MIN).unwrap();
        let waits_for = |wait| Called::InTurn(Box::pin(std::future::pending()), wait);
        assert!(held_behind(waits_for(Duration::MAX / 4), large));
        assert!(!held_behind(waits_for(Duration::MAX / 4), large - 1), "small ones are in nobody's way");
        assert!(!held_behind(waits_for(Duration::ZERO), large), "it waits for our memory or disk");
        assert!(!held_behind(Called::Later(Box::pin(std::future::pending())), large), "so may this");
    }
}
