//! One connection, one task: reads requests, hands them to the service, sends the answers in order.
//!
//! Reading stops while there is no memory, too many requests are in flight, their order cannot be fixed yet (a full
//! queue behind the service), or the peer does not take its answers. TCP then tells the peer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::future::poll_fn;

use crate::budget::Permit;
use crate::control::{Abort, Control};
use crate::inbox::{Inbox, ReadError};
use crate::outbox::{Outbox, WriteEnd};
use crate::service::{Peer, Request, RequestHeader, Service};
use crate::stream::{Stream, yield_if_needed};

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer or our shutdown ended it, between requests, with all answers sent.
    Finished,
    /// The socket failed; nobody's fault that we could name.
    Io(io::Error),
    /// Quiet for too long, or our shutdown could not wait.
    Aborted(Abort),
    /// The peer sent what no client should, or a handler asked for it.
    Closed(Cow<'static, str>),
    /// Its task panicked; the connection is all that is lost.
    Panicked(String),
}

/// What a connection is made of.
pub(crate) struct Connection<S: Service> {
    pub(crate) service: Rc<S>,
    pub(crate) stream: Rc<Stream>,
    pub(crate) control: Rc<Control>,
    pub(crate) inbox: Inbox,
    pub(crate) in_flight_max: usize,
}

impl<S: Service> Connection<S> {
    /// Runs until it ends, whatever happens in it.
    pub(crate) async fn run(self) -> Ended {
        let mut talk = pin!(self.talk());
        poll_fn(move |cx| {
            // What a panic leaves half-changed is dropped with the future and belonged to this connection only: work on
            // partitions runs in tasks that end the process instead.
            catch_unwind(AssertUnwindSafe(|| talk.as_mut().poll(cx)))
                .unwrap_or_else(|panic| Poll::Ready(Ended::Panicked(panic_text(panic.as_ref()))))
        })
        .await
    }

    async fn talk(self) -> Ended {
        let Self { service, stream, control, inbox, in_flight_max } = self;
        let outbox = RefCell::new(Outbox::new(control.clone(), in_flight_max));
        let mut reading = Some(Box::pin(read(service, stream.peer(), inbox, &outbox)));
        let mut fault = None;
        let ended = poll_fn(|cx| {
            control.register(cx.waker());
            if let Some(reason) = control.aborted() {
                return Poll::Ready(Ended::Aborted(reason));
            }
            if let Some(reader) = &mut reading
                && let Poll::Ready(end) = reader.as_mut().poll(cx)
            {
                reading = None;
                fault = end.err();
                outbox.borrow_mut().end();
            }
            if let Some(Ended::Io(_)) = fault {
                return Poll::Ready(Ended::Finished);
            }
            poll_outbox(cx, &outbox, &stream, reading.is_some())
        })
        .await;
        stream.finish();
        match (ended, fault) {
            (Ended::Finished, Some(fault)) => fault,
            (ended, _) => ended,
        }
    }
}

/// Sends what can be sent; wakes the reader, which shares our task, when that made room for it.
fn poll_outbox(
    cx: &mut Context<'_>,
    outbox: &RefCell<Outbox>,
    stream: &Stream,
    reading: bool,
) -> Poll<Ended> {
    let mut outbox = outbox.borrow_mut();
    let had_room = outbox.has_room();
    let end = outbox.poll(cx, stream);
    if reading && !had_room && outbox.has_room() {
        cx.waker().wake_by_ref();
    }
    end.map(|end| match end {
        WriteEnd::Done => Ended::Finished,
        WriteEnd::Close(reason) => Ended::Closed(reason),
        WriteEnd::Io(error) => Ended::Io(error),
    })
}

/// Reads requests and hands them over until the stream ends.
async fn read<S: Service>(
    service: Rc<S>,
    peer: Peer,
    mut inbox: Inbox,
    outbox: &RefCell<Outbox>,
) -> Result<(), Ended> {
    let session = service.connect(peer);
    loop {
        poll_fn(|_| if outbox.borrow().has_room() { Poll::Ready(()) } else { Poll::Pending }).await;
        let Some((frame, permit)) = inbox.next().await.map_err(ended_reading)? else { return Ok(()) };
        let request = parse(&*service, frame, permit)?;
        let ticket = outbox.borrow_mut().open();
        let called = service.call(&session, request).await;
        outbox.borrow_mut().called(ticket, called);
        yield_if_needed().await;
    }
}

fn ended_reading(error: ReadError) -> Ended {
    match error {
        ReadError::Io(error) => Ended::Io(error),
        ReadError::Length(error) => Ended::Closed(error.to_string().into()),
    }
}

/// Reads the request's header and asks the service whether it takes such requests.
fn parse<S: Service>(service: &S, frame: Bytes, permit: Permit) -> Result<Request, Ended> {
    let header = RequestHeader::parse(&frame).map_err(|error| Ended::Closed(error.to_string().into()))?;
    if service.supports(header.api_key, header.api_version) {
        return Ok(Request { header, frame, permit });
    }
    let client = header.client_id.as_deref().unwrap_or("a client without a name");
    let (key, version) = (header.api_key, header.api_version);
    let name = protocol::api::find(key).map_or("unknown", |api| api.name);
    Err(Ended::Closed(
        format!("{client:?} sent API key {key} ({name}) in version {version}: not supported").into(),
    ))
}

/// What a panic said, when it said something.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
