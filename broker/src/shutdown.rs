//! Signals: the first SIGTERM or SIGINT asks for a clean stop, the second ends the process at once.
//!
//! They are received by a thread of their own and not on a core, so that the second one works even when every core hangs.

use std::io;
use std::mem::MaybeUninit;
use std::process;
use std::thread;

use tokio::sync::watch;
use tracing::{info, warn};

const HANDLED: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Proof that the signals are blocked on this thread, and so on all that it starts from now on.
#[derive(Debug)]
pub struct Blocked(libc::sigset_t);

/// Ignores the signal that comes with a write beyond the largest file allowed: the write fails too, and whoever made it
/// knows what to do and to say, while the signal would end the process without a word.
fn ignore_file_size() -> io::Result<()> {
    // SAFETY: no handler runs, and nothing else of the process sets this signal.
    match unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Blocks the signals. Must come before any other thread is started: threads inherit what is blocked.
///
/// # Errors
/// What the system says.
pub fn block() -> io::Result<Blocked> {
    ignore_file_size()?;
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set it is given, and `sigaddset` changes an initialised one.
    let set = unsafe {
        if libc::sigemptyset(set.as_mut_ptr()) != 0
            || HANDLED.iter().any(|signal| libc::sigaddset(set.as_mut_ptr(), *signal) != 0)
        {
            return Err(io::Error::last_os_error());
        }
        set.assume_init()
    };
    // SAFETY: `set` is initialised, and null means that the previous mask is not wanted.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(Blocked(set)),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Whether a stop was asked for. Cheap to clone; may be waited for on any executor or thread.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Waits until a stop is asked for.
    pub async fn requested(&mut self) {
        // An error means that nobody can ask any more, which only happens while the process ends.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

/// Starts the thread that receives the signals.
///
/// # Errors
/// When no thread can be started.
pub fn watch(blocked: Blocked) -> io::Result<Shutdown> {
    let (request, shutdown) = watch::channel(false);
    thread::Builder::new().name("signals".to_owned()).spawn(move || receive(&blocked, &request))?;
    Ok(Shutdown(shutdown))
}

fn receive(blocked: &Blocked, request: &watch::Sender<bool>) {
    loop {
        let mut signal = 0;
        // SAFETY: the set is initialised and `signal` outlives the call.
        if unsafe { libc::sigwait(&raw const blocked.0, &raw mut signal) } != 0 {
            continue;
        }
        match signal {
            libc::SIGHUP => info!("SIGHUP: there are no certificates to read again"),
            // Twice: whoever asks does not want to wait. To the data this is a crash, which it survives.
            _ if *request.borrow() => {
                warn!(signal = name(signal), "asked to stop again: ending at once");
                process::exit(128 + signal);
            }
            _ => {
                info!(signal = name(signal), "stopping");
                request.send_replace(true);
            }
        }
    }
}

const fn name(signal: libc::c_int) -> &'static str {
    match signal {
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        _ => "SIGHUP",
    }
}
