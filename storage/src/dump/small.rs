//! The small files of journals and partitions: checkpoints, snapshots, indexes.

use std::io::Write;
use std::path::Path;

use super::{Describe, DumpError};
use crate::checkpoint::{AtRest, CLOSED, Checkpoint};
use crate::coordinator_snapshot::CoordinatorSnapshot;
use crate::index::Index;
use crate::paths::parse_segment_file;
use crate::snapshot::Snapshot;

/// Prints a checkpoint: every log of a journal.
pub fn checkpoint(file: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    let Checkpoint { journal, number, needed_from, durable, logs } = Checkpoint::from_bytes(file)?;
    let needed = if needed_from == CLOSED {
        "nothing, closed".to_owned()
    } else {
        format!("frames from {needed_from}")
    };
    writeln!(
        out,
        "checkpoint {number} of journal {journal}: needs {needed}; durable up to frame {durable}; {} logs",
        logs.len()
    )?;
    for (id, at_rest) in &logs {
        let AtRest { handled, ownership, log_start, end, position, incarnation, .. } = at_rest;
        writeln!(
            out,
            "{id} by owner {}.{}: offsets {} to {}, ends at {position} of segment {}, handled up to frame {} entry {}, \
             incarnation {incarnation}, leader epoch {}, snapshot {}, oldest segment {}, {} bytes, compacted to {}",
            ownership.boot,
            ownership.moves,
            log_start.0,
            end.0,
            at_rest.active(),
            handled.sequence,
            handled.entry,
            at_rest.leader_epoch.0,
            at_rest.snapshot.map_or("none".to_owned(), |offset| offset.0.to_string()),
            at_rest.oldest.0,
            at_rest.size,
            at_rest.compacted_to.0,
        )?;
    }
    Ok(())
}

/// Prints a coordinator's snapshot: its records.
pub fn coordinator(file: &[u8], describe: &dyn Describe, out: &mut dyn Write) -> Result<(), DumpError> {
    let CoordinatorSnapshot { offset, records } = CoordinatorSnapshot::from_file(file)?;
    writeln!(out, "coordinator snapshot at offset {}: {} records", offset.0, records.len())?;
    for (key, value) in &records {
        writeln!(out, "{}", describe.coordinator_record(key, value))?;
    }
    Ok(())
}

/// Prints a partition's snapshot: segments, epochs, producers.
pub fn snapshot(file: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    let Snapshot { offset, segments, derived } = Snapshot::from_file(file)?;
    writeln!(out, "snapshot at offset {offset}")?;
    for segment in &segments {
        let (name, size, time, incarnation) =
            (segment.name(), segment.size, segment.max_timestamp_ms, segment.incarnation);
        writeln!(out, "segment {name}: {size} bytes, largest timestamp {time}, incarnation {incarnation}")?;
    }
    for (epoch, start) in &derived.epochs {
        writeln!(out, "leader epoch {epoch} from offset {start}")?;
    }
    for producer in &derived.producers {
        let (id, epoch, time) = (producer.id, producer.epoch, producer.last_timestamp_ms);
        writeln!(out, "producer {id} epoch {epoch}, last timestamp {time}")?;
        for batch in &producer.batches {
            let (first, last) = (batch.first_sequence, batch.last_sequence);
            writeln!(
                out,
                "  sequences {first} to {last}: offsets {} to {}",
                batch.base_offset, batch.last_offset
            )?;
        }
    }
    Ok(())
}

/// Prints a segment's index; its name says which segment.
pub fn index(path: &Path, file: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    let named = path.file_name().and_then(|file| file.to_str()).and_then(parse_segment_file);
    let (name, _) = named
        .ok_or_else(|| "an index is named by the base offset of its segment; this one is not".to_owned())?;
    let (index, incarnation) = Index::from_file(file, name.base)?;
    writeln!(out, "index of segment {name} as of incarnation {incarnation}")?;
    writeln!(out, "{index:#?}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derived::{DerivedSnapshot, ProducerBatch, ProducerSnapshot};
    use crate::journal::JournalId;
    use crate::snapshot::SegmentFacts;
    use model::{Offset, TimestampMs, TopicId, TopicPartition};

    type Dump = fn(&[u8], &mut dyn Write) -> Result<(), DumpError>;

    fn dumped(dump: Dump, file: &[u8]) -> String {
        let mut out = Vec::new();
        dump(file, &mut out).unwrap();
        let mut bad = file.to_vec();
        bad[20] ^= 1;
        assert!(matches!(dump(&bad, &mut Vec::new()), Err(DumpError::Damaged(_))));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn checkpoints_are_listed() {
        let id = TopicPartition { topic: TopicId([1; 16]), partition: 2 };
        let at_rest = AtRest { end: Offset(77), ..AtRest::empty() };
        let journal = JournalId([9; 16]);
        let whole =
            Checkpoint { journal, number: 4, needed_from: CLOSED, durable: 8, logs: vec![(id, at_rest)] };
        let text = dumped(checkpoint, &whole.to_bytes());
        assert!(
            text.starts_with(&format!("checkpoint 4 of journal {journal}: needs nothing, closed;")),
            "{text}"
        );
        assert!(text.contains(&format!("{id} by owner 0.0: offsets 0 to 77,")), "{text}");
    }

    #[test]
    fn snapshots_are_listed() {
        let batch = ProducerBatch { first_sequence: 1, last_sequence: 2, base_offset: 3, last_offset: 4 };
        let producer = ProducerSnapshot { id: 7, epoch: 1, last_timestamp_ms: 9, batches: vec![batch] };
        let segments =
            vec![SegmentFacts { base: 0, size: 4200, max_timestamp_ms: 9, incarnation: 1, generation: 0 }];
        let derived = DerivedSnapshot { epochs: vec![(3, 0)], producers: vec![producer] };
        let text = dumped(snapshot, &Snapshot { offset: 5, segments, derived }.to_file());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "snapshot at offset 5");
        assert_eq!(lines[2], "leader epoch 3 from offset 0");
        assert_eq!(lines[4], "  sequences 1 to 2: offsets 3 to 4");
    }

    #[test]
    fn indexes_go_by_their_name() {
        let mut whole = Index::new(Offset(1000));
        whole.observe(Offset(1000), 100, TimestampMs(1));
        let file = whole.to_file(4);
        let mut out = Vec::new();
        index(Path::new("d/00000000000000001000.index"), &file, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("index of segment 1000 as of incarnation 4\n"), "{text}");
        let mut bad = file.clone();
        bad[20] ^= 1;
        let damaged = index(Path::new("d/00000000000000001000.index"), &bad, &mut Vec::new());
        assert!(matches!(damaged, Err(DumpError::Damaged(_))));
        assert!(index(Path::new("d/00000000000000000000.index"), &file, &mut Vec::new()).is_err());
        assert!(index(Path::new("d/copy.index"), &file, &mut Vec::new()).is_err());
    }
}
