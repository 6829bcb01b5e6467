//! Telemetry of clients (KIP-714): their requests judged, their pushes made into metrics for the admin endpoint.
//!
//! One for all cores, as clients take any connection they like, behind a lock: requests come here seldom and only on helper
//! threads, where reading a push may take its time.

mod otlp;
mod text;

use std::fmt;
use std::io::Read;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coordination::metadata::Image;
use coordination::telemetry::Client;
use coordination::telemetry::instances::{Instances, Push, Told};
use model::batch::Compression;
use model::{ErrorCode, Tick};
use storage::decompress;

use text::Families;

/// Bytes of what all clients pushed, as text.
const PUSHED_BYTES_MAX: usize = 8 << 20;
/// Bytes that a push may become when it is decompressed.
const DECOMPRESSED_BYTES_MAX: u64 = 8 << 20;

/// See the module.
pub struct Telemetry {
    bytes_max: usize,
    instances: Mutex<Instances<Arc<Families>>>,
    /// Clients whose connection ended. A lock of its own, held for a moment: connections end on cores.
    gone: Mutex<Vec<[u8; 16]>>,
}

impl Telemetry {
    /// Takes pushes of so many bytes at most, as they come.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let instances = Mutex::new(Instances::new(PUSHED_BYTES_MAX));
        Arc::new(Self { bytes_max, instances, gone: Mutex::default() })
    }

    /// The largest push.
    #[must_use]
    pub const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// A client asks what it is to push. May take some ms.
    ///
    /// # Errors
    /// As [`Instances::ask`].
    pub fn ask(&self, image: &Image, now: Tick, client: &Client) -> Result<Told, ErrorCode> {
        let mut instances = self.instances();
        instances.follow(image);
        instances.ask(now, client)
    }

    /// A client pushes. May take some ten ms.
    ///
    /// # Errors
    /// As [`Instances::judge`]; `INVALID_RECORD` where nothing can be made of it.
    pub fn push(
        &self,
        image: &Image,
        now: Tick,
        client: &Client,
        push: Push,
        metrics: &Bytes,
    ) -> Result<(), ErrorCode> {
        {
            let mut instances = self.instances();
            instances.follow(image);
            instances.judge(now, client, push, self.bytes_max)?;
        }
        if metrics.is_empty() {
            return Ok(());
        }
        let families = Families::read(client, &decompressed(push.codec, metrics)?).map_err(|error| {
            tracing::debug!(client = client.id, %error, "a push of metrics cannot be read");
            ErrorCode::InvalidRecord
        })?;
        self.instances().keep(&client.instance, families.bytes(), Arc::new(families));
        Ok(())
    }

    /// What all clients pushed last, as OpenMetrics text.
    #[must_use]
    pub fn text(&self, now: Tick) -> String {
        let (pushed, clients, bytes) = {
            let mut instances = self.instances();
            instances.expire(now);
            let pushed: Vec<_> = instances.pushed().cloned().collect();
            (pushed, instances.len(), instances.pushed_bytes())
        };
        text::joined(&pushed, clients, bytes)
    }

    /// The connection of a client belongs to it until it ends.
    pub fn connected(self: &Arc<Self>, instance: [u8; 16]) -> Connected {
        Connected { telemetry: Arc::clone(self), instance }
    }

    fn instances(&self) -> MutexGuard<'_, Instances<Arc<Families>>> {
        // Nothing is half done in there when a thread ends.
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner));
        gone.iter().for_each(|instance| instances.forget(instance));
        instances
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

/// A connection of a client: dropped with it, and the client is forgotten, as in Kafka.
#[derive(Debug)]
pub struct Connected {
    telemetry: Arc<Telemetry>,
    /// Whose it is.
    pub instance: [u8; 16],
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.telemetry.gone.lock().unwrap_or_else(PoisonError::into_inner).push(self.instance);
    }
}

fn decompressed(codec: i8, metrics: &Bytes) -> Result<Bytes, ErrorCode> {
    let codec = u8::try_from(codec)
        .ok()
        .and_then(Compression::from_id)
        .ok_or(ErrorCode::UnsupportedCompressionType)?;
    if codec == Compression::None {
        return Ok(metrics.clone());
    }
    let mut bytes = Vec::new();
    let read = decompress::reader(codec, metrics.to_vec(), DECOMPRESSED_BYTES_MAX)
        .and_then(|mut reader| reader.read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes.into()),
        Err(error) => {
            tracing::debug!(%error, "a push of metrics cannot be decompressed");
            Err(ErrorCode::InvalidRecord)
        }
    }
}

#[cfg(test)]
mod tests;
