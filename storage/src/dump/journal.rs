//! A ring file of a journal: its frames and their entries, from the first to where they end.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::limits::{BLOCK, FRAME_HEADER_BYTES, SEGMENT_READ_BYTES};

use super::DumpError;
use crate::bytes_at::{array, to_usize, u16_at, u32_at};
use crate::checkpoint::{CLOSED, Checkpoint};
use crate::journal::entry::{Entry, EntryKind, of_file_word};
use crate::journal::extent::Claim;
use crate::journal::frame::{FrameHeader, JournalId};
use crate::journal::ring::FRAMES_START;
use crate::paths::Paths;

/// The first frame of its journal that a start would read, going by the checkpoints beside the ring file at `path`. None when it
/// does not lie in its journal's directory or none of the checkpoints there is whole.
pub fn needed_from(path: &Path, file: &[u8]) -> Option<u64> {
    let journal = JournalId(array(file.get(..32)?, 8));
    let directory = fs::canonicalize(path).ok()?.parent()?.to_owned();
    let slots: Vec<_> = ["checkpoint-0", "checkpoint-1"]
        .iter()
        .filter_map(|name| fs::read(directory.join(name)).ok())
        .collect();
    // Before there is a checkpoint nothing is recycled.
    let unwritten = slots.is_empty() && directory.file_name()?.to_str() == Some(&journal.to_string());
    let whole = slots.iter().filter_map(|bytes| Checkpoint::from_bytes(bytes).ok());
    let newest = whole.filter(|one| one.journal == journal).max_by_key(|one| one.number);
    newest.map(|one| one.needed_from).or_else(|| unwritten.then_some(1))
}

/// Prints a whole ring file, of a journal of which frames from `needed_from` on are needed, when that is known; looks into the
/// segments that it speaks of when it lies in a data directory.
pub fn dump(
    file: &[u8],
    data_dir: Option<&Path>,
    needed_from: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let head = file.get(..32).ok_or_else(|| "journal file is shorter than its header".to_owned())?;
    if u32_at(head, 28) != crc32fast::hash(&head[..28]) {
        return Err("journal file header fails its checksum".to_owned().into());
    }
    let journal = JournalId(array(head, 8));
    writeln!(out, "journal {journal}, file {}, format {}", u32_at(head, 24), u16_at(head, 4))?;
    let mut position = to_usize(FRAMES_START);
    let mut before: Option<FrameHeader> = None;
    while let Some((header, payload)) =
        whole_frame(file, position, journal).filter(|(header, _)| follows(before, header))
    {
        writeln!(
            out,
            "frame {} at {position}: {} bytes, {} entries, durable up to {}",
            header.sequence, header.length, header.entries, header.durable_sequence
        )?;
        entries(payload, &header, data_dir, out)?;
        position += header.length as usize;
        before = Some(header);
    }
    match before {
        Some(last) => end(file, position, &last, out),
        None => no_frame(file, journal, needed_from, out),
    }
}

/// The frame at `position`, when header and payload are whole and it belongs to `journal`.
fn whole_frame(file: &[u8], position: usize, journal: JournalId) -> Option<(FrameHeader, &[u8])> {
    let frame = file.get(position..)?;
    let header = FrameHeader::parse(frame).filter(|header| header.journal == journal && header.length > 0)?;
    Some((header, header.payload_of(frame)?))
}

fn follows(before: Option<FrameHeader>, header: &FrameHeader) -> bool {
    before.is_none_or(|before| {
        header.sequence == before.sequence + 1 && header.previous_crc == before.header_crc
    })
}

fn entries(
    mut payload: &[u8],
    header: &FrameHeader,
    data_dir: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    for index in 0..header.entries {
        let Some((entry, bytes, rest)) = Entry::read(payload) else {
            return Err(format!(
                "frame {}: entry {index} is malformed though its checksum holds",
                header.sequence
            )
            .into());
        };
        let found = data_dir.map_or("", |data_dir| look(data_dir, &entry, bytes));
        writeln!(out, "  {}{found}", describe(&entry, bytes))?;
        payload = rest;
    }
    Ok(())
}

fn describe(entry: &Entry, payload: &[u8]) -> String {
    let bytes = payload.len();
    let Entry { kind, flags, partition, ownership, leader_epoch, base_offset, end_offset, segment, position } =
        entry;
    let (base, end, segment) = (base_offset.0, end_offset.0, segment.0);
    let what = match kind {
        EntryKind::Append => {
            format!("offsets {base} to {end}, {bytes} bytes at {position} of segment {segment}")
        }
        EntryKind::Fragment => {
            let last = if flags & crate::journal::entry::LAST == 0 { "" } else { ", the last part" };
            format!("offsets {base} to {end}, {bytes} bytes at {position} of segment {segment}{last}")
        }
        EntryKind::Extent => match Claim::read(entry, payload) {
            Some(claim) => {
                let last = if flags & crate::journal::entry::LAST == 0 { "" } else { ", whole" };
                let (bytes, Claim { from, to, crc }) = (claim.to - position, claim);
                format!(
                    "offsets {base} to {end}, {bytes} bytes at {position} of segment {segment}{last}; \
                     {from} to {to} there have CRC {crc:08x}"
                )
            }
            None => "makes no sense".to_owned(),
        },
        EntryKind::Redo => {
            format!("{bytes} bytes at {position} of segment {segment}, {}", file(*base_offset))
        }
        EntryKind::Truncate => {
            format!("to offset {end}, position {position} of segment {segment}, {}", file(*base_offset))
        }
        EntryKind::LogStart => format!("at offset {base}"),
        EntryKind::Roll => format!("to segment {segment}, incarnation {base}"),
        EntryKind::EpochStart => format!("at offset {base}"),
        EntryKind::Delete => "its earlier entries count no more".to_owned(),
    };
    let (boot, moves, leader) = (ownership.boot, ownership.moves, leader_epoch.0);
    format!("{kind:?} {partition} by owner {boot}.{moves}, leader epoch {leader}: {what}")
}

fn file(word: model::Offset) -> String {
    match of_file_word(word) {
        (incarnation, 0) => format!("incarnation {incarnation}"),
        (incarnation, generation) => format!("incarnation {incarnation}, generation {generation}"),
    }
}

/// What the segment of an EXTENT says to it. It is no damage when that differs: the log may have been cut off there since.
fn look(data_dir: &Path, entry: &Entry, payload: &[u8]) -> &'static str {
    let claim = Claim::read(entry, payload).filter(|_| entry.kind == EntryKind::Extent);
    let Some(claim) = claim else { return "" };
    let Ok(file) = File::open(Paths::new(data_dir).segment(entry.partition, entry.segment)) else {
        return ", and there is no such segment";
    };
    let mut crc = crc32fast::Hasher::new();
    let mut step = vec![0; SEGMENT_READ_BYTES];
    let mut at = claim.from;
    while at < claim.to {
        let len = step.len().min(to_usize(claim.to - at));
        if file.read_exact_at(&mut step[..len], at).is_err() {
            return ", and the segment is shorter";
        }
        crc.update(&step[..len]);
        at += len as u64;
    }
    if crc.finalize() == claim.crc { ", and so they do" } else { ", and now they have another" }
}

/// Says what stands where the chain of frames ends. A later frame that knew the missing one as durable makes it damage.
fn end(file: &[u8], position: usize, last: &FrameHeader, out: &mut dyn Write) -> Result<(), DumpError> {
    let missing = last.sequence + 1;
    if let Some((at, witness)) = witness(file, position, last.journal, missing) {
        return Err(damaged(missing, position, witness, at));
    }
    let stale = headers(file, position, last.journal).count();
    writeln!(
        out,
        "frames end at {position} of {} bytes; {stale} of an earlier turn or unfinished behind",
        file.len()
    )?;
    Ok(())
}

/// Says why there is not even one whole frame.
///
/// A header lies within one sector: on disk it is the old one or the new one whole, and where the first frame of a file stands, the
/// old one is a frame's too, or zeros. So a header that is none is damage. Its frame may have been written over in part by the
/// beginning of a turn that did not get far; of a frame that is not needed any more that is no loss, and of one that is needed it
/// cannot be, since the ring comes to its file again only then.
fn no_frame(
    file: &[u8],
    journal: JournalId,
    needed_from: Option<u64>,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let start = to_usize(FRAMES_START);
    let head = file.get(start..start + FRAME_HEADER_BYTES).unwrap_or_default();
    if head.iter().all(|byte| *byte == 0) {
        writeln!(out, "no frame was written yet")?;
        return Ok(());
    }
    let Some(first) = FrameHeader::parse(head) else {
        return Err(format!("the frame at {start} is damaged: its header fails its checksum").into());
    };
    if first.journal != journal {
        writeln!(out, "no frame was written yet; those that are there are of journal {}", first.journal)?;
        return Ok(());
    }
    let sequence = first.sequence;
    match (witness(file, start, journal, sequence), needed_from) {
        (None, _) => writeln!(out, "frame {sequence} at {start} was not finished")?,
        (Some((at, witness)), Some(needed)) if sequence >= needed => {
            return Err(damaged(sequence, start, witness, at));
        }
        (Some(_), Some(needed)) => {
            let needed = if needed == CLOSED { "none".to_owned() } else { format!("those from {needed} on") };
            writeln!(out, "frame {sequence} at {start} is not whole, nor needed: of frames, {needed} are")?;
        }
        (Some(_), None) => writeln!(
            out,
            "frame {sequence} at {start} is not whole: damage, or a turn that had just begun; a checkpoint of the journal beside \
             this file would tell"
        )?,
    }
    Ok(())
}

fn damaged(sequence: u64, at: usize, witness: u64, witness_at: usize) -> DumpError {
    format!(
        "frame {sequence} at {at} is damaged: frame {witness} at {witness_at} says that it had been durable"
    )
    .into()
}

/// Whole headers of a journal's frames, from a place on: where each stands.
fn headers(file: &[u8], from: usize, journal: JournalId) -> impl Iterator<Item = (usize, FrameHeader)> {
    let header = move |at: usize| Some((at, FrameHeader::parse(file.get(at..)?)?));
    (from..file.len()).step_by(BLOCK).filter_map(header).filter(move |(_, one)| one.journal == journal)
}

/// The first frame that says that `missing` was durable: where it stands, and its number.
fn witness(file: &[u8], from: usize, journal: JournalId, missing: u64) -> Option<(usize, u64)> {
    let mut later = headers(file, from, journal).filter(|(_, one)| one.sequence > missing);
    later.find(|(_, one)| one.durable_sequence >= missing).map(|(at, one)| (at, one.sequence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes_at::put;
    use crate::journal::frame::{self, Link};
    use model::limits::ENTRY_HEADER_BYTES;
    use model::{Offset, OwnershipEpoch, TopicId, TopicPartition};

    const JOURNAL: JournalId = JournalId([7; 16]);

    fn ring_file(frames: u64) -> Vec<u8> {
        let mut file = vec![0; BLOCK];
        put(&mut file, 0, b"MLJR");
        put(&mut file, 4, &1_u16.to_le_bytes());
        put(&mut file, 8, &JOURNAL.0);
        put(&mut file, 24, &3_u32.to_le_bytes());
        let crc = crc32fast::hash(&file[..28]);
        put(&mut file, 28, &crc.to_le_bytes());
        let mut previous_crc = 0;
        for sequence in 1..=frames {
            let mut frame = vec![0; BLOCK];
            let partition = TopicPartition { topic: TopicId([1; 16]), partition: 2 };
            let entry = Entry {
                base_offset: Offset(10),
                end_offset: Offset(12),
                position: 4096,
                ..Entry::of(EntryKind::Append, partition, OwnershipEpoch { boot: 1, moves: 0 })
            };
            entry.write(5, &mut frame[FRAME_HEADER_BYTES..]);
            let link = Link {
                journal: JOURNAL,
                sequence,
                durable_sequence: sequence - 1,
                previous_crc,
                again: false,
            };
            previous_crc = frame::seal(&mut frame, ENTRY_HEADER_BYTES + 5, 1, link).header_crc;
            file.extend_from_slice(&frame);
        }
        file.extend_from_slice(&[0; 2 * BLOCK]);
        file
    }

    fn dumped(file: &[u8]) -> (String, Result<(), DumpError>) {
        dumped_beside(file, None)
    }

    fn dumped_beside(file: &[u8], needed_from: Option<u64>) -> (String, Result<(), DumpError>) {
        let mut out = Vec::new();
        let result = dump(file, None, needed_from, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn frames_and_entries_are_listed() {
        let (text, result) = dumped(&ring_file(2));
        assert!(result.is_ok());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("journal {JOURNAL}, file 3, format 1"));
        assert_eq!(lines[1], "frame 1 at 4096: 4096 bytes, 1 entries, durable up to 0");
        assert!(lines[2].starts_with("  Append 01010101"), "{text}");
        assert!(lines[2].ends_with("offsets 10 to 12, 5 bytes at 4096 of segment 0"), "{text}");
        assert_eq!(lines[5], "frames end at 12288 of 20480 bytes; 0 of an earlier turn or unfinished behind");
    }

    #[test]
    fn an_extent_is_held_against_its_segment() {
        let dir = std::env::temp_dir().join(format!("millrace-dump-{}", std::process::id()));
        let partition = TopicPartition { topic: TopicId([1; 16]), partition: 2 };
        let entry = Entry {
            position: 4100,
            ..Entry::of(EntryKind::Extent, partition, OwnershipEpoch { boot: 1, moves: 0 })
        };
        let mut payload = (2 * 4096 - 4_u64).to_le_bytes().to_vec();
        payload.extend(crc32fast::hash(&[7; 2 * BLOCK]).to_le_bytes());
        assert!(describe(&entry, &payload).ends_with("4096 to 12288 there have CRC 83cddc00"));
        assert_eq!(look(&dir, &entry, &payload), ", and there is no such segment");
        let path = Paths::new(&dir).segment(partition, Offset(0));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (bytes, said) in [
            (vec![7; 3 * BLOCK], ", and so they do"),
            (vec![8; 3 * BLOCK], ", and now they have another"),
            (vec![7; 3 * BLOCK - 1], ", and the segment is shorter"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(look(&dir, &entry, &payload), said);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_torn_tail_is_an_end_and_a_hole_is_damage() {
        let mut torn = ring_file(3);
        torn[3 * BLOCK + 100] ^= 1;
        assert!(dumped(&torn).1.is_ok(), "the last frame may be torn");
        let mut hole = ring_file(3);
        hole[2 * BLOCK + 100] ^= 1;
        let (text, result) = dumped(&hole);
        assert_eq!(text.matches("frame 1 at").count(), 1);
        assert_eq!(
            result.unwrap_err().to_string(),
            "frame 2 at 8192 is damaged: frame 3 at 12288 says that it had been durable"
        );
    }

    #[test]
    fn a_first_frame_that_rots_is_damage_unless_it_may_be_torn() {
        let mut payload = ring_file(3);
        payload[BLOCK + 100] ^= 1;
        for needed in [0, 1] {
            assert_eq!(
                dumped_beside(&payload, Some(needed)).1.unwrap_err().to_string(),
                "frame 1 at 4096 is damaged: frame 2 at 8192 says that it had been durable"
            );
        }
        for (needed, told) in [
            (Some(2), "is not whole, nor needed: of frames, those from 2 on are"),
            (Some(CLOSED), "is not whole, nor needed: of frames, none are"),
            (None, "damage, or a turn that had just begun"),
        ] {
            let (text, result) = dumped_beside(&payload, needed);
            assert!(result.is_ok() && text.contains(told), "{text}");
        }
        let mut alone = ring_file(1);
        alone[BLOCK + 100] ^= 1;
        let (text, result) = dumped_beside(&alone, Some(1));
        assert!(result.is_ok() && text.contains("frame 1 at 4096 was not finished"), "{text}");
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut header = ring_file(1);
            header[BLOCK + bit / 8] ^= 1 << (bit % 8);
            for needed in [None, Some(CLOSED)] {
                let error = dumped_beside(&header, needed).1.unwrap_err().to_string();
                assert_eq!(error, "the frame at 4096 is damaged: its header fails its checksum", "bit {bit}");
            }
        }
        assert!(dumped(&ring_file(0)).0.contains("no frame was written yet"));
    }

    #[test]
    fn a_damaged_header_is_noticed() {
        let mut bad = ring_file(1);
        bad[9] ^= 1;
        assert!(matches!(dumped(&bad).1, Err(DumpError::Damaged(_))));
        assert!(matches!(dumped(&bad[..10]).1, Err(DumpError::Damaged(_))));
    }
}
