//! What each entry of the metadata log is wrapped in, and how a log file is read back.
//!
//! Every commit begins at a block of its own and is padded to whole blocks, so no write ever touches a block that
//! holds acknowledged entries; a commit that did not finish is dropped whole. Drawn in `docs/formats/metadata.md`.
#![deny(clippy::indexing_slicing)]

use model::limits::BLOCK;

use crate::bytes_at::{len_u32, u16_at, u32_at, u64_at};

/// Bytes before the payload.
pub const ENVELOPE_BYTES: usize = 48;
/// Bytes of one entry's payload; a longer one is never written and is damage when read.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// One entry of the metadata log. What is in it is the caller's business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Term of the leader that wrote it, from 1.
    pub term: u64,
    /// Its place in the log, from 1, without gaps.
    pub index: u64,
    /// What it is; 0 is never used.
    pub kind: u16,
    /// Version of its payload's layout.
    pub version: u16,
    /// Its fields.
    pub payload: Vec<u8>,
}

/// The end of a chain of entries: each names the checksum of the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Link {
    /// Term of the last entry.
    pub term: u64,
    /// Index of the last entry.
    pub index: u64,
    /// Checksum of the last entry.
    pub crc: u32,
}

/// Appends `entries` as one commit behind `link` to `out`, which ends at a block boundary and does so again.
pub fn encode_commit(out: &mut Vec<u8>, mut link: Link, entries: &[Entry]) -> Link {
    debug_assert!(out.len().is_multiple_of(BLOCK));
    let durable = link.index;
    let commit_end = durable + entries.len() as u64;
    for entry in entries {
        assert_eq!(entry.index, link.index + 1, "the log has no gaps");
        out.resize(envelope_place(out.len()), 0);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&len_u32(entry.payload.len()).to_le_bytes());
        out.extend_from_slice(&entry.index.to_le_bytes());
        out.extend_from_slice(&entry.term.to_le_bytes());
        out.extend_from_slice(&durable.to_le_bytes());
        out.extend_from_slice(&link.crc.to_le_bytes());
        out.extend_from_slice(&entry.kind.to_le_bytes());
        out.extend_from_slice(&entry.version.to_le_bytes());
        out.extend_from_slice(&commit_end.to_le_bytes());
        out.extend_from_slice(&entry.payload);
        let crc = crc32fast::hash(out.get(start + 4..).unwrap_or_default());
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        link = Link { term: entry.term, index: entry.index, crc };
    }
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    link
}

/// Where an envelope goes that could begin at `at`: its fixed part never crosses into another block.
const fn envelope_place(at: usize) -> usize {
    if BLOCK - at % BLOCK < ENVELOPE_BYTES { at.next_multiple_of(BLOCK) } else { at }
}

/// What a log file holds behind its header block.
#[derive(Debug)]
pub struct Scan {
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// Checksums of the entries.
    pub crcs: Vec<u32>,
    /// Where the next commit goes: the block after the last whole entry.
    pub end: usize,
    /// Whether anything but zeros lies at or behind `end`: a commit that did not finish.
    pub torn: bool,
}

/// Reads `file` from its second block. The first entry must follow `link`.
///
/// # Errors
/// The position of an entry that is damaged although a later commit says that it had been durable.
pub fn scan(file: &[u8], mut link: Link) -> Result<Scan, usize> {
    let mut scan = Scan { entries: Vec::new(), crcs: Vec::new(), end: BLOCK, torn: false };
    let mut at = BLOCK;
    let mut commit_begin = 0;
    loop {
        at = envelope_place(at);
        let rest = file.get(at..).unwrap_or_default();
        if !at.is_multiple_of(BLOCK) && rest.iter().take(ENVELOPE_BYTES).all(|byte| *byte == 0) {
            at = at.next_multiple_of(BLOCK);
            continue;
        }
        let Some(raw) = Raw::parse(rest).filter(|raw| raw.follows(link)) else { break };
        link = raw.link();
        at += ENVELOPE_BYTES + raw.entry.payload.len();
        let finished = raw.commit_end == link.index;
        scan.crcs.push(link.crc);
        scan.entries.push(raw.entry);
        if finished {
            scan.end = at.next_multiple_of(BLOCK);
            commit_begin = scan.entries.len();
        }
    }
    let lost = link.index + 1;
    let later = (at / BLOCK + 1) * BLOCK;
    let mut blocks = file.get(later..).unwrap_or_default().chunks(BLOCK).enumerate();
    if blocks.any(|(i, _)| {
        let bytes = file.get(later + i * BLOCK..).unwrap_or_default();
        Raw::parse(bytes).is_some_and(|raw| raw.durable >= lost)
    }) {
        return Err(at);
    }
    scan.entries.truncate(commit_begin);
    scan.crcs.truncate(commit_begin);
    scan.torn = file.get(scan.end.min(file.len())..).unwrap_or_default().iter().any(|byte| *byte != 0);
    Ok(scan)
}

struct Raw {
    entry: Entry,
    crc: u32,
    previous_crc: u32,
    durable: u64,
    commit_end: u64,
}

impl Raw {
    /// The entry at the start of `bytes`, if its checksum holds.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let length = usize::try_from(u32_at(bytes, 4)).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)?;
        let whole = bytes.get(..ENVELOPE_BYTES + length)?;
        let (crc, kind) = (u32_at(whole, 0), u16_at(whole, 36));
        if kind == 0 || crc32fast::hash(whole.get(4..)?) != crc {
            return None;
        }
        let entry = Entry {
            index: u64_at(whole, 8),
            term: u64_at(whole, 16),
            kind,
            version: u16_at(whole, 38),
            payload: whole.get(ENVELOPE_BYTES..)?.to_vec(),
        };
        let (previous_crc, durable, commit_end) = (u32_at(whole, 32), u64_at(whole, 24), u64_at(whole, 40));
        Some(Self { entry, crc, previous_crc, durable, commit_end })
    }

    fn follows(&self, link: Link) -> bool {
        self.entry.index == link.index + 1 && self.entry.term >= link.term && self.previous_crc == link.crc
    }

    fn link(&self) -> Link {
        Link { term: self.entry.term, index: self.entry.index, crc: self.crc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, payload: &[u8]) -> Entry {
        Entry { term: 3, index, kind: 17, version: 2, payload: payload.to_vec() }
    }

    fn file(commits: &[&[Entry]]) -> Vec<u8> {
        let mut file = vec![0; BLOCK];
        let mut link = Link::default();
        for commit in commits {
            link = encode_commit(&mut file, link, commit);
        }
        file
    }

    #[test]
    fn golden_bytes() {
        let mut bytes = Vec::new();
        let link = Link { term: 2, index: 8, crc: 0x0102_0304 };
        let end = encode_commit(&mut bytes, link, &[entry(9, b"abc")]);
        assert_eq!(bytes.len(), BLOCK);
        let hex: String = bytes[..51].iter().map(|byte| format!("{byte:02x}")).collect();
        let crc: String = end.crc.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "03000000",         // length
            "0900000000000000", // index
            "0300000000000000", // term
            "0800000000000000", // durable index
            "04030201",         // previous checksum
            "1100",             // kind
            "0200",             // version
            "0900000000000000", // last index of the commit
            "616263",           // payload
        );
        assert_eq!(hex, crc + expected);
        assert_eq!(end.crc, 0x504b_93c6);
    }

    #[test]
    fn entries_are_read_back_whatever_their_size() {
        let big = vec![7; 3 * BLOCK];
        for left in [0, 1, ENVELOPE_BYTES - 1, ENVELOPE_BYTES, ENVELOPE_BYTES + 1] {
            let to_the_brim = vec![9; BLOCK - ENVELOPE_BYTES - left];
            let first = [entry(1, b""), entry(2, &big), entry(3, b"x")];
            let second = [entry(4, &to_the_brim), entry(5, b"")];
            let scan = scan(&file(&[&first, &second, &[entry(6, b"y")]]), Link::default()).unwrap();
            assert!(!scan.torn);
            let indexes: Vec<_> = scan.entries.iter().map(|entry| entry.index).collect();
            assert_eq!(indexes, [1, 2, 3, 4, 5, 6], "{left} bytes left in the block");
            assert_eq!(scan.entries[1].payload, big);
        }
    }

    #[test]
    fn a_torn_tail_is_cut_and_damage_before_it_is_found() {
        let big = vec![7; 2 * BLOCK];
        let whole = file(&[&[entry(1, b"a")], &[entry(2, &big), entry(3, b"b")]]);
        // Any one block of the last commit is missing.
        for block in 2..5 {
            let mut torn = whole.clone();
            torn[block * BLOCK..(block + 1) * BLOCK].fill(0);
            let scan = scan(&torn, Link::default()).unwrap();
            assert_eq!((scan.entries.len(), scan.end, scan.torn), (1, 2 * BLOCK, true), "block {block}");
        }
        // The first commit must have been durable, because the second was written.
        let mut rotten = whole;
        rotten[BLOCK + 5] ^= 1;
        assert_eq!(scan(&rotten, Link::default()).unwrap_err(), BLOCK);
    }

    #[test]
    fn entries_of_another_chain_are_not_taken() {
        let bytes = file(&[&[entry(1, b"a")]]);
        let other = Link { crc: 1, ..Link::default() };
        let scan = scan(&bytes, other).unwrap();
        assert!(scan.entries.is_empty() && scan.torn);
    }
}
