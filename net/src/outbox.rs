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
use crate::limits::{PROGRESS_BYTES_MIN, PROGRESS_WINDOW_PRESSED};
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

/// A reply whose turn has not come, or that has begun and is not known.
struct InTurn {
    ticket: Ticket,
    reply: BoxedLocal<Reply>,
    wait: Duration,
    /// Until it begins, or until it is answered when it is [`much`].
    permit: Option<Permit>,
}

impl InTurn {
    fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, Permit::bytes)
    }

    /// Gives back what others need more than we need to count it. An idle consumer waits most of the time, and ten thousand
    /// of them must not use up what requests need; but what is not charged is not much either, or it could be all memory.
    fn begin(&mut self) {
        self.permit.take_if(|permit| !much(permit.bytes()));
    }
}

/// Whether so many bytes have to get on while others wait for memory.
const fn much(bytes: usize) -> bool {
    bytes as u64 >= PROGRESS_BYTES_MIN
}

/// The sending half of one connection.
pub(crate) struct Outbox {
    control: Rc<Control>,
    pipeline: Pipeline<(Reply, Counted)>,
    pending: Vec<(Ticket, BoxedLocal<Reply>)>,
    /// Replies that begin when their turn has come, oldest first.
    in_turn: VecDeque<InTurn>,
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

    /// Whether another request may be read. Behind requests that take much and are not answered none is, as in Kafka behind
    /// any: so a connection holds one of them, and little beside.
    pub(crate) fn has_room(&self) -> bool {
        self.pipeline.has_room()
            && self.unsent_bytes < self.unsent_bytes_max()
            && self.close.is_none()
            && !much(self.in_turn.iter().map(InTurn::bytes).sum())
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
            Called::InTurn { reply, wait, permit } => {
                self.in_turn.push_back(InTurn { ticket, reply, wait, permit: Some(permit) });
            }
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

    /// Until when the peer itself holds up what takes memory, requests and answers: behind one that waits as it asked, which may
    /// itself take much. What waits for our disk or for other peers is not its doing, and little is in nobody's way.
    fn held_until(&self) -> Option<Instant> {
        let until = self.waits_until?;
        // One that waits for no longer than it may makes room in time: it need not be held against its peer, which may have
        // to ask again and again for nothing.
        let patient = self.in_turn.front().is_some_and(|front| front.wait > PROGRESS_WINDOW_PRESSED);
        let requests = || self.in_turn.iter().skip(usize::from(!patient));
        let answers = self.pipeline.held().map(|(reply, _)| reply.len());
        let bytes: usize = answers.chain(requests().map(InTurn::bytes)).sum();
        // There is one reserve, and whoever needs it could finish.
        let reserve = requests().any(|one| one.permit.as_ref().is_some_and(Permit::has_reserve));
        (much(bytes) || reserve).then_some(until)
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
        let Some(front) = self.in_turn.front_mut() else { return false };
        if !self.pipeline.is_next(front.ticket)
            || self.unsent_bytes >= UNSENT_BYTES_MAX
            || self.close.is_some()
        {
            return false;
        }
        front.begin();
        let Poll::Ready(reply) = front.reply.as_mut().poll(cx) else {
            self.waits_until.get_or_insert_with(|| Instant::now() + front.wait);
            return false;
        };
        self.waits_until = None;
        if let Some(front) = self.in_turn.pop_front() {
            self.complete(front.ticket, reply);
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
mod tests;
