//! One listening socket per core on the same port; the kernel spreads connections over them.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::pin;
use std::task::Poll;

use futures_lite::future::poll_fn;
use glommio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use crate::control::Control;
use crate::stream::Stream;

/// Connections the kernel completes before we accept them, per core.
const BACKLOG: i32 = 1024;

/// A port held for us, on which nobody listens yet: clients are refused until the cores say they are ready.
#[derive(Debug)]
pub struct Reservation {
    address: SocketAddr,
    sockets: Vec<Socket>,
    /// Bound without port sharing before all others, so another broker's listener on the port fails it.
    _probe: Socket,
}

impl Reservation {
    /// Reserves `address` for `cores` listeners; port 0 picks a free one. Fails when somebody else has the port, even
    /// somebody who would share it.
    pub fn new(address: SocketAddr, cores: usize) -> io::Result<Self> {
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        // It stays bound, not listening, while we start: from here on it must not be in our own way.
        probe.set_reuse_port(true)?;
        let bound = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let sockets = (0..cores).map(|_| {
            let shared = socket(bound)?;
            shared.set_reuse_port(true)?;
            shared.bind(&bound.into())?;
            Ok(shared)
        });
        Ok(Self { address: bound, sockets: sockets.collect::<io::Result<_>>()?, _probe: probe })
    }

    /// The address, with the port that was picked.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// One socket for each core, to be sent there and opened when it is ready.
    #[must_use]
    pub fn into_sockets(self) -> Vec<ReservedSocket> {
        self.sockets.into_iter().map(ReservedSocket).collect()
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run that wait for their end do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A bound socket that does not listen yet.
#[derive(Debug)]
pub struct ReservedSocket(Socket);

impl ReservedSocket {
    /// Listens, on the executor of the caller.
    pub fn listen(self) -> io::Result<Listener> {
        self.0.listen(BACKLOG)?;
        let listener = StdListener::from(self.0);
        let address = listener.local_addr()?;
        // SAFETY: the descriptor is a listening socket that we own and give away here; nobody else closes it.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        Ok(Listener { listener, address })
    }
}

/// A listening socket of one core.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; none when `stop` says to drain.
    pub(crate) async fn accept(&self, stop: &Control) -> io::Result<Option<Stream>> {
        loop {
            let mut accepted = pin!(self.listener.accept());
            let socket = poll_fn(|cx| {
                stop.register(cx.waker());
                if stop.draining() { Poll::Ready(None) } else { accepted.as_mut().poll(cx).map(Some) }
            });
            match socket.await {
                None => return Ok(None),
                // A peer that has reset its connection meanwhile has no address any more: nobody's fault, and no reason
                // for the next one to wait.
                Some(socket) => match Stream::new(socket?) {
                    Ok(stream) => return Ok(Some(stream)),
                    Err(error) => debug!(%error, "a connection was gone before it was accepted"),
                },
            }
        }
    }
}
