//! What is sent.

use std::time::Duration;

use super::Plan;
use crate::cli::{Acks, LoadArgs};
use crate::clock::Ns;
use crate::codec::Codec;
use crate::payload::{Keys, Sizes, Values};
use crate::schedule::Arrival;
use crate::stamp::Stamping;
use crate::units::{nanos, real};

/// Most requests in flight of which brokers remember the order (KIP-98 and after).
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// Records a second of all producers together; none is a closed loop.
    pub rate: Option<f64>,
    /// Spacing of the open loop.
    pub arrival: Arrival,
    /// Sizes of values.
    pub sizes: Sizes,
    /// Part of them that compresses away.
    pub compressibility: f64,
    /// Keys.
    pub keys: Keys,
    /// Compression.
    pub codec: Codec,
    /// Bytes of a full batch.
    pub batch_bytes: usize,
    /// Bytes of the batches of one request, before compression: one batch in any case.
    pub request_bytes: usize,
    /// How long the first record of a batch waits.
    pub linger: Ns,
    /// Requests outstanding per connection.
    pub in_flight: usize,
    /// As on the wire.
    pub acks: i16,
    /// Whether brokers deduplicate.
    pub idempotent: bool,
    /// Producers.
    pub producers: u32,
    /// What records carry.
    pub stamping: Stamping,
    /// Bytes of key and value on average.
    pub record_bytes: f64,
}

impl Plan {
    /// Adds what is sent. `stamping` is the least that records carry.
    ///
    /// # Errors
    /// What is typed makes no sense.
    pub fn send(&mut self, args: &LoadArgs, stamping: Stamping) -> Result<(), String> {
        let stamping = if self.verify { Stamping::Full } else { stamping };
        let idempotent = args.idempotence.unwrap_or(self.verify && args.acks == Acks::All);
        if idempotent && args.acks != Acks::All {
            return Err("--idempotence needs --acks all".to_owned());
        }
        if idempotent && args.in_flight > IDEMPOTENT_IN_FLIGHT_MAX {
            return Err(format!("--idempotence allows --in-flight {IDEMPOTENT_IN_FLIGHT_MAX} at most"));
        }
        if args.rate.is_none() && !args.closed_loop && !args.unthrottled {
            return Err("give --rate, or say --closed-loop or --unthrottled".to_owned());
        }
        if args.acks == Acks::None && self.verify {
            return Err("--verify cannot tell what is lost with --acks 0".to_owned());
        }
        let values =
            Values::new(args.record_size.clone(), args.compressibility, stamping.bytes(), self.seed)?;
        let record_bytes = values.mean_bytes() + real(args.keys.bytes() as u64);
        self.load = Some(Load {
            rate: args.rate.map(|rate| rate.records(record_bytes)),
            arrival: args.arrival,
            sizes: args.record_size.clone(),
            compressibility: args.compressibility,
            keys: args.keys,
            codec: args.codec,
            batch_bytes: args.batch_bytes,
            request_bytes: if args.closed_loop { 0 } else { args.request_bytes },
            linger: nanos(args.linger),
            in_flight: args.in_flight as usize,
            acks: match args.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            idempotent,
            producers: args.producers,
            stamping,
            record_bytes,
        });
        Ok(())
    }
}

impl Load {
    pub(super) fn describe(&self, say: &mut impl FnMut(&str, String)) {
        match self.rate {
            Some(rate) => say("rate", format!("{rate:.0} records/s, {:?}", self.arrival).to_lowercase()),
            None => say("rate", "closed loop".to_owned()),
        }
        say("record size", self.sizes.to_string());
        say("compressibility", self.compressibility.to_string());
        say("keys", self.keys.to_string());
        say("codec", self.codec.name().to_owned());
        say("batch bytes", self.batch_bytes.to_string());
        match self.request_bytes {
            0 => say("request", "one batch".to_owned()),
            bytes => say("request bytes", bytes.to_string()),
        }
        say("linger", humantime::format_duration(Duration::from_nanos(self.linger)).to_string());
        say("in flight", self.in_flight.to_string());
        say("acks", if self.acks < 0 { "all".to_owned() } else { self.acks.to_string() });
        say("idempotence", self.idempotent.to_string());
        say("producers", self.producers.to_string());
    }
}
