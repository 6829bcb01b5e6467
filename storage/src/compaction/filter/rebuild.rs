//! A batch with those of its records that stay.

use std::io::{self, Write};
use std::ops::Range;

use model::TimestampMs;
use model::batch::{Codec, Compression, RecordBatch, rewrite};

use super::{Filtered, Judged};
use crate::compress::Writer;
use crate::records::Records;
use crate::records::plain::Plain;

/// What a codec may add to a small batch; one that becomes twice as large besides stays as it is.
const GROWTH_BYTES: usize = 64 << 10;
/// As many bytes go to a codec before it is looked how many came out.
const PIECE_BYTES: usize = 32 << 10;

/// Appends the batch with those of its records, without their codec, that stay. With a new `horizon` their times are relative to that.
pub(super) fn here(
    batch: &RecordBatch<'_>,
    records: Plain<'_>,
    judged: &Judged,
    horizon: Option<TimestampMs>,
    out: &mut Filtered,
) -> io::Result<()> {
    append(batch, judged, horizon, out, |target| match horizon {
        Some(horizon) => {
            let mut records = records;
            let mut index = 0;
            while let Some(record) = records.next()? {
                if judged.has(index) {
                    record.write_at(moved(batch, record.timestamp_delta, horizon), target)?;
                }
                index += 1;
            }
            Ok(())
        }
        None => {
            let payload = records.payload();
            runs(records, judged, |run| target.write_all(payload.get(run).unwrap_or_default()))
        }
    })
}

/// The same of records that come out of their codec once more.
pub(super) fn streaming(
    batch: &RecordBatch<'_>,
    mut records: Records<'_>,
    judged: &Judged,
    horizon: Option<TimestampMs>,
    out: &mut Filtered,
) -> io::Result<()> {
    append(batch, judged, horizon, out, |target| {
        let mut index = 0;
        while let Some(record) = records.next()? {
            if judged.has(index) {
                match horizon {
                    Some(horizon) => {
                        record.write_at(moved(batch, record.timestamp_delta, horizon), target)?;
                    }
                    None => record.write(target)?,
                }
            }
            index += 1;
        }
        Ok(())
    })
}

/// A time relative to the horizon, so that it stays what it was.
fn moved(batch: &RecordBatch<'_>, timestamp_delta: i64, horizon: TimestampMs) -> i64 {
    batch.base_timestamp().0.wrapping_add(timestamp_delta).wrapping_sub(horizon.0)
}

/// Calls `copy` with the places of records that stay, those that follow each other together.
fn runs(
    mut records: Plain<'_>,
    judged: &Judged,
    mut copy: impl FnMut(Range<usize>) -> io::Result<()>,
) -> io::Result<()> {
    let mut run = 0..0;
    let mut index = 0;
    while let Some(place) = records.next_place()? {
        if judged.has(index) {
            if run.is_empty() {
                run.start = place.start;
            }
            run.end = place.end;
        } else if !run.is_empty() {
            copy(std::mem::take(&mut run))?;
        }
        index += 1;
    }
    if run.is_empty() { Ok(()) } else { copy(run) }
}

/// Appends a batch whose records `write` writes.
fn append(
    batch: &RecordBatch<'_>,
    judged: &Judged,
    horizon: Option<TimestampMs>,
    out: &mut Filtered,
    write: impl FnOnce(&mut Target) -> io::Result<()>,
) -> io::Result<()> {
    let compression = batch.compression().map_err(io::Error::other)?;
    let most = 2 * batch.size_bytes() + GROWTH_BYTES;
    let start = out.bytes.len();
    // It rarely becomes larger.
    out.bytes.reserve_exact(batch.size_bytes());
    out.bytes.extend_from_slice(batch.header().as_bytes());
    if compression == Compression::None {
        // They go right to where they stay.
        let mut target = Target { writer: Writer::None(std::mem::take(&mut out.bytes)), most: start + most };
        let written = write(&mut target);
        out.bytes = target.writer.finish()?;
        written?;
    } else {
        let writer = Writer::onto(Codec::usual(compression), std::mem::take(&mut out.packed))?;
        let mut target = Target { writer, most };
        write(&mut target)?;
        let packed = target.writer.finish()?;
        out.bytes.extend_from_slice(&packed);
        out.packed = packed;
    }
    let left = judged.left(batch, horizon);
    rewrite::seal(out.bytes.get_mut(start..).unwrap_or_default(), left);
    Ok(())
}

/// Takes records until they become too much.
struct Target {
    writer: Writer,
    most: usize,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(PIECE_BYTES));
        let written = self.writer.write(now)?;
        if self.writer.written() > self.most {
            return Err(io::Error::other("its producer's codec is far better at it"));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
