//! A segment: its header and every batch that continues the log.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use model::Offset;
use model::batch::{HEADER_BYTES, Header as BatchHeader, RecordBatch};
use model::limits::BLOCK;

use super::DumpError;
use crate::segment::{FIRST_POSITION, Header};

/// Prints a whole segment, batch by batch.
pub fn dump(file: &File, out: &mut dyn Write) -> Result<(), DumpError> {
    let size = file.metadata()?.len();
    let header = Header::read(&read_at(file, 0, BLOCK as u64, size)?)?;
    let Header { partition, base, incarnation, generation } = header;
    let compacted = if generation > 0 { format!(", compacted {generation}") } else { String::new() };
    writeln!(
        out,
        "segment of {partition}, base offset {}, incarnation {incarnation}{compacted}, {size} bytes",
        base.0
    )?;
    let mut position = FIRST_POSITION;
    let mut next = base;
    while let Some(bytes) = batch_at(file, position, size)? {
        let Ok((batch, _)) = RecordBatch::parse(&bytes) else { break };
        let gap = generation > 0 && batch.base_offset() > next && batch.check_crc().is_ok();
        if batch.base_offset() != next && !gap {
            break;
        }
        if let Err(error) = batch.check_crc() {
            return bad_batch(file, position, size, &batch, &error.to_string(), out);
        }
        writeln!(out, "{}", describe(&batch, position))?;
        next = Offset(batch.last_offset().0 + 1);
        position += bytes.len() as u64;
    }
    writeln!(
        out,
        "batches end at {position}, next offset {}; what follows is unused, or still in the journal",
        next.0
    )?;
    Ok(())
}

/// The bytes of the batch at `position`, as many as its header claims and the file has; none when no header is there.
fn batch_at(file: &File, position: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    let head = read_at(file, position, HEADER_BYTES as u64, size)?;
    let Ok(header) = BatchHeader::parse(&head) else { return Ok(None) };
    let bytes = read_at(file, position, header.size_bytes() as u64, size)?;
    Ok((bytes.len() == header.size_bytes()).then_some(bytes))
}

/// Whole blocks are written, so the last batch may lack its end: that is damage only when the log goes on behind it.
fn bad_batch(
    file: &File,
    position: u64,
    size: u64,
    batch: &RecordBatch<'_>,
    error: &str,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let after = batch_at(file, position + batch.size_bytes() as u64, size)?;
    let goes_on =
        after.as_deref().and_then(|bytes| RecordBatch::parse(bytes).ok()).is_some_and(|(next, _)| {
            next.base_offset().0 == batch.last_offset().0 + 1 && next.check_crc().is_ok()
        });
    if goes_on {
        return Err(format!(
            "the batch at {position}, offset {}, is damaged: {error}",
            batch.base_offset().0
        )
        .into());
    }
    writeln!(
        out,
        "batches end at {position}, next offset {}; the batch there is not whole: its end is still in the journal",
        batch.base_offset().0
    )?;
    Ok(())
}

fn describe(batch: &RecordBatch<'_>, position: u64) -> String {
    let (base, last) = (batch.base_offset().0, batch.last_offset().0);
    let codec = batch
        .compression()
        .map_or_else(|_| "unknown codec".to_owned(), |codec| format!("{codec:?}").to_lowercase());
    let codec = if codec == "none" { "uncompressed".to_owned() } else { codec };
    let mut text = format!(
        "offsets {base} to {last} at {position}: {} bytes, {} records, {codec}, leader epoch {}, times {} to {} ({:?})",
        batch.size_bytes(),
        batch.record_count(),
        batch.leader_epoch().0,
        batch.base_timestamp().0,
        batch.max_timestamp().0,
        batch.timestamp_type(),
    );
    if batch.has_producer_id() {
        let (id, epoch) = (batch.producer_id().0, batch.producer_epoch().0);
        text += &format!(
            ", producer {id} epoch {epoch} sequences {} to {}",
            batch.base_sequence(),
            batch.last_sequence()
        );
    }
    let flags = [
        (batch.is_transactional(), ", transactional"),
        (batch.is_control(), ", control"),
        (batch.has_delete_horizon(), ", first time is when tombstones may go"),
    ];
    for (is, word) in flags {
        text += if is { word } else { "" };
    }
    text
}

/// Up to `len` bytes at `position`: fewer at the end of the file, whatever `len` claims.
fn read_at(file: &File, position: u64, len: u64, size: u64) -> io::Result<Vec<u8>> {
    let len = len.min(size.saturating_sub(position));
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    file.read_exact_at(&mut bytes, position)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::batch::builder::BatchBuilder;
    use model::{LeaderEpoch, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition};

    fn batch(base: i64) -> Vec<u8> {
        let value = vec![b'x'; 3000];
        BatchBuilder::new()
            .stored_at(Offset(base), LeaderEpoch(4))
            .producer(ProducerId(9), ProducerEpoch(1), 5)
            .value(TimestampMs(100), &value)
            .value(TimestampMs(101), b"b")
            .build()
    }

    fn segment(batches: &[Vec<u8>]) -> Vec<u8> {
        of_generation(0, batches)
    }

    fn of_generation(generation: u32, batches: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0; BLOCK];
        let partition = TopicPartition { topic: TopicId([3; 16]), partition: 1 };
        Header { partition, base: Offset(20), incarnation: 2, generation }.write(&mut file);
        file.extend(batches.iter().flatten());
        file.resize(file.len().next_multiple_of(BLOCK) + BLOCK, 0);
        file
    }

    fn dumped(bytes: &[u8]) -> (String, Result<(), DumpError>) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("millrace-dump-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let mut out = Vec::new();
        let result = dump(&File::open(&path).unwrap(), &mut out);
        std::fs::remove_file(&path).unwrap();
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn batches_are_listed() {
        let (text, result) = dumped(&segment(&[batch(20), batch(22)]));
        assert!(result.is_ok());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("base offset 20, incarnation 2"), "{text}");
        assert!(
            lines[1].starts_with("offsets 20 to 21 at 4096: ")
                && lines[1].contains("2 records, uncompressed, leader epoch 4"),
            "{text}"
        );
        assert!(lines[1].ends_with("producer 9 epoch 1 sequences 5 to 6"), "{text}");
        assert!(lines[3].contains("next offset 24;"), "{text}");
    }

    #[test]
    fn compaction_leaves_gaps() {
        let (text, result) = dumped(&of_generation(3, &[batch(21), batch(30)]));
        assert!(
            result.is_ok() && text.contains(", compacted 3, ") && text.contains("next offset 32;"),
            "{text}"
        );
    }

    #[test]
    fn a_cut_tail_is_an_end_and_a_rotten_batch_is_damage() {
        let whole = segment(&[batch(20), batch(22)]);
        let mut cut = whole.clone();
        cut[2 * BLOCK..].fill(0);
        let (text, result) = dumped(&cut);
        assert!(result.is_ok() && text.contains("next offset 22; the batch there is not whole"), "{text}");
        let mut rotten = whole;
        rotten[BLOCK + 200] ^= 1;
        assert!(
            dumped(&rotten)
                .1
                .unwrap_err()
                .to_string()
                .starts_with("the batch at 4096, offset 20, is damaged")
        );
    }

    #[test]
    fn stale_batches_and_huge_claims_end_the_log() {
        let (text, result) = dumped(&segment(&[batch(20), batch(30)]));
        assert!(result.is_ok() && text.contains("next offset 22;"), "{text}");
        let mut claim = segment(&[batch(20)]);
        claim[BLOCK + 8..BLOCK + 12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(dumped(&claim).0.contains("batches end at 4096"));
        let mut bad = segment(&[]);
        bad[30] ^= 1;
        assert!(dumped(&bad).1.is_err());
        assert!(dumped(&[]).1.is_err());
    }
}
