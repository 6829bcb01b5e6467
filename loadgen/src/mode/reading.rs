//! What consumers of every kind want to know of the records of a batch.

use model::batch::{Compression, Record, RecordBatch, Records};

use crate::report::{Interval, Measure};
use crate::stamp::{Stamp, Stamping};

/// See the module.
#[derive(Debug)]
pub struct Reading {
    /// What to read of them.
    pub stamping: Stamping,
    /// This run.
    pub run: u32,
    /// Whether stamps of other runs count too.
    pub any_run: bool,
    /// Nanoseconds since 1970 when the bytes were there.
    pub now_unix_ns: u64,
    /// Memory for decompressed records.
    pub scratch: Vec<u8>,
}

impl Reading {
    /// Gives every record of a batch to `each`, until one cannot be read. With verification, damage is counted.
    pub fn each(
        &mut self,
        batch: &RecordBatch<'_>,
        found: &mut Interval,
        mut each: impl FnMut(&Record<'_>, &Self, &mut Interval),
    ) {
        let verify = self.stamping == Stamping::Full;
        if verify && let Err(error) = batch.check_crc() {
            found.error(&format!("damaged batch: {error}"), 1);
            found.verification.damaged += 1;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let payload = match batch.compression() {
            Ok(Compression::None) => batch.payload(),
            Ok(compression) => {
                scratch.clear();
                if let Err(error) = crate::codec::decompress(compression, batch.payload(), &mut scratch) {
                    found.error(&format!("cannot decompress: {error}"), 1);
                    found.verification.damaged += u64::from(verify);
                }
                &scratch
            }
            Err(_) => &[],
        };
        for record in Records::new(payload, batch.record_count()) {
            let Ok(record) = record else {
                found.verification.damaged += u64::from(verify);
                break;
            };
            each(&record, self, found);
        }
        self.scratch = scratch;
    }

    /// Counts how long a value was on its way, if it says when it was to be sent.
    pub fn latency(&self, value: &[u8], found: &mut Interval) {
        if let Some((unix_ns, run)) = Stamp::time(value)
            && (run == self.run || self.any_run)
        {
            found.record_n(Measure::EndToEnd, self.now_unix_ns.saturating_sub(unix_ns) / 1000, 1);
        }
    }
}
