//! The one trait a connection calls up into, and what travels both ways. Nothing here knows an API.
//!
//! A call has two ends. Its `await` ends when the request's place in the order of its partitions is fixed; the
//! connection then takes the next request. The reply comes later, and replies leave in the order of their requests.

use std::any::Any;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::BoxedLocal;
pub use protocol::RequestHeader;

pub use crate::budget::Permit;

/// What connections of one core call. Shared by all of them, so `&self` everywhere.
#[expect(
    async_fn_in_trait,
    reason = "its futures stay on the core of their connection, so none need be `Send`"
)]
pub trait Service: 'static {
    /// State of one connection: client software, principal, fetch sessions it opened... Dropped when it ends.
    type Session: 'static;

    /// A connection was accepted.
    fn connect(&self, peer: Peer) -> Rc<Self::Session>;

    /// Whether a request of this key and version may reach [`Self::call`]; otherwise the connection closes with one
    /// log line. ApiVersions is to be answered in every version (with an error), so it is always supported.
    fn supports(&self, api_key: i16, api_version: i16) -> bool;

    /// Whether requests wait for memory that answers hold: peers that do not take theirs are closed then.
    fn is_waited_for(&self) -> bool {
        false
    }

    /// Takes one request. Until this future ends no further request of the connection is read, so it should end as
    /// soon as the request is queued where its order is decided; a full queue then stops the reading by itself.
    async fn call(&self, session: &Rc<Self::Session>, request: Request) -> Called;
}

/// The two ends of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Who connected.
    pub remote: SocketAddr,
    /// To which of our addresses.
    pub local: SocketAddr,
}

/// One request, whole.
#[derive(Debug)]
pub struct Request {
    /// Key, version, correlation id, client id, and where the body starts in `frame`.
    pub header: RequestHeader,
    /// The frame behind its length, header included. Cheap to slice; slices keep it alive.
    pub frame: Bytes,
    /// The memory this request is charged with: drop it when the request's bytes are no longer needed.
    pub permit: Permit,
}

/// What a call came to.
pub enum Called {
    /// Answered already.
    Now(Reply),
    /// Will be answered. Polled by the connection whatever its place in the order; dropped when the connection ends.
    Later(BoxedLocal<Reply>),
    /// The same for an answer that takes much memory: not polled before its turn to be sent has come, so that a connection
    /// holds about one of them however many it asks for.
    InTurn {
        /// The answer.
        reply: BoxedLocal<Reply>,
        /// How long the peer itself asked it to wait, from its turn on.
        wait: Duration,
        /// The memory that the request takes: while it waits for its turn, and when that is much, until it is answered.
        permit: Permit,
    },
}

/// What becomes of one request.
#[derive(Debug)]
pub enum Reply {
    /// Send this in the request's turn.
    Send(Response),
    /// Send nothing (acks=0).
    Silent,
    /// Close the connection once the answers before it are sent; the reason is logged once.
    Close(Cow<'static, str>),
}

impl Reply {
    /// A response of one piece.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self::Send(Response::from(bytes))
    }

    /// Bytes of its response.
    pub(crate) fn len(&self) -> usize {
        if let Self::Send(response) = self { response.len() } else { 0 }
    }
}

/// A response, complete but for the four bytes of length that the connection puts in front.
#[derive(Debug, Default)]
pub struct Response {
    /// Sent one after the other.
    pub pieces: Vec<Chunk>,
    /// The memory it is charged with until it is sent, when it is: see [`crate::answers`].
    pub permit: Option<Permit>,
    /// Where its memory is accounted for otherwise; dropped with it.
    pub loan: Option<Box<dyn Any>>,
}

impl Response {
    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Chunk::len).sum()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Self {
        vec![Chunk::Bytes(bytes)].into()
    }
}

impl From<Vec<Chunk>> for Response {
    fn from(pieces: Vec<Chunk>) -> Self {
        Self { pieces, permit: None, loan: None }
    }
}

/// Memory that does not leave its core: a journal frame or a block read from a segment.
pub type SharedBytes = Rc<dyn AsRef<[u8]>>;

/// One piece of a response; sent without copying it.
#[derive(Clone)]
pub enum Chunk {
    /// Bytes that may have come from another core.
    Bytes(Bytes),
    /// A range of memory of this core. The range must lie inside; the connection closes otherwise.
    Shared(SharedBytes, Range<usize>),
}

impl Chunk {
    /// Bytes of this piece.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Shared(_, range) => range.len(),
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; none when a shared range lies outside of its memory.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Shared(memory, range) => (**memory).as_ref().get(range.clone()),
        }
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// A fetch's answer is encoded straight to the chunks of a response.
impl protocol::fetch::Piece for Chunk {
    fn size_bytes(&self) -> usize {
        self.len()
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Shared(_, range) => write!(f, "Shared({range:?})"),
        }
    }
}
