//! The only socket type, and the few things a connection needs of its executor.
//!
//! Reads and writes are polled one call at a time, so that one task can do both without holding a borrow while it
//! waits, and memory is handed to the kernel only when there is something to read.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_lite::future::poll_fn;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;

use crate::service::Peer;

/// A connected TCP socket. Belongs to the executor that made it.
#[derive(Debug)]
pub struct Stream {
    socket: RefCell<TcpStream>,
    peer: Peer,
}

impl Stream {
    /// Takes over an accepted or connected socket.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let peer = Peer { remote: socket.peer_addr()?, local: socket.local_addr()? };
        Ok(Self { socket: RefCell::new(socket), peer })
    }

    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    /// Both ends.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// Appends at most `len_max` arriving bytes to `buffer`, within its spare capacity; 0 is the end of the stream.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        len_max: usize,
    ) -> Poll<io::Result<usize>> {
        let filled = buffer.len();
        let spare = buffer.spare_capacity_mut();
        let len = spare.len().min(len_max);
        assert!(len > 0, "reading into a full buffer would look like the end of the stream");
        let mut socket = self.socket.borrow_mut();
        // SAFETY: `spare` is memory of `buffer`, valid for writes of `len` bytes and borrowed exclusively until the
        // poll returns. The socket is unbuffered, so glommio passes the slice to recv(2) and nothing else: it is
        // written and never read. Zeroing it first would cost as much as half the copy out of the kernel.
        let target = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), len) };
        let read = Pin::new(&mut *socket).poll_read(cx, target);
        if let Poll::Ready(Ok(n)) = read {
            assert!(n <= len, "the kernel claims {n} bytes in a buffer of {len}");
            // SAFETY: recv(2) has written `n` bytes behind the first `filled`, and `n` is within the capacity.
            unsafe { buffer.set_len(filled + n) };
        }
        read
    }

    /// Sends a prefix of `pieces` and says how many bytes of them.
    pub fn poll_write(&self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut socket = self.socket.borrow_mut();
        Pin::new(&mut *socket).poll_write_vectored(cx, pieces)
    }

    /// Sends all of `bytes`. For tools and tests: connections gather their pieces.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await?;
            bytes = bytes.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads until `buffer` has `len` bytes; `UnexpectedEof` when the stream ends before. For tools and tests.
    pub async fn read_to(&self, buffer: &mut BytesMut, len: usize) -> io::Result<()> {
        while buffer.len() < len {
            let missing = len - buffer.len();
            buffer.reserve(missing);
            if poll_fn(|cx| self.poll_read(cx, buffer, missing)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Tells the other end that nothing more will come.
    pub fn finish(&self) {
        let socket = self.socket.borrow();
        // A peer that is gone already makes this fail; there is nobody left to tell.
        let _ = socket.poll_shutdown(&mut Context::from_waker(Waker::noop()), Shutdown::Write);
    }
}

/// Runs a task beside the caller, on its executor and in its task queue.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits.
pub(crate) async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Lets others run when this task has used up its slice.
pub(crate) async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

/// Runs `future` on an executor of its own, for tests of this crate.
#[cfg(test)]
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let executor = glommio::LocalExecutorBuilder::default().io_memory(1 << 20).make().unwrap();
    executor.run(future)
}
