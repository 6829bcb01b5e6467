//! The metadata files as text.

use std::io::Write;

use super::envelope::{self, Entry, Link};
use super::{HARD_STATE, LINK_BYTES, LOG, SNAPSHOT, decode_link};
use crate::bytes_at::{i32_at, u64_at};
use crate::dump::{Describe, DumpError};

/// Prints a log, a snapshot or a hard state.
pub fn dump(file: &[u8], describe: &dyn Describe, out: &mut dyn Write) -> Result<(), DumpError> {
    if file.starts_with(&LOG.magic) {
        log(file, describe, out)
    } else if file.starts_with(&SNAPSHOT.magic) {
        snapshot(file, describe, out)
    } else {
        hard_state(file, out)
    }
}

fn link_of(body: &[u8]) -> Result<Link, DumpError> {
    decode_link(body).ok_or_else(|| "the header is too short".to_owned().into())
}

fn log(file: &[u8], describe: &dyn Describe, out: &mut dyn Write) -> Result<(), DumpError> {
    let first = link_of(&LOG.open(file)?)?;
    writeln!(out, "metadata log behind entry {} of term {}", first.index, first.term)?;
    let scan = envelope::scan(file, first)
        .map_err(|at| format!("the entry at {at} is damaged: a later one says that it had been durable"))?;
    for Entry { term, index, kind, version, payload } in &scan.entries {
        writeln!(out, "entry {index} term {term}: {}", describe.record(*kind, *version, payload))?;
    }
    let behind = if scan.torn { "; a commit that did not finish lies behind" } else { "" };
    writeln!(out, "entries end at {} of {} bytes{behind}", scan.end, file.len())?;
    Ok(())
}

fn snapshot(file: &[u8], describe: &dyn Describe, out: &mut dyn Write) -> Result<(), DumpError> {
    let body = SNAPSHOT.open(file)?;
    let last = link_of(&body)?;
    writeln!(out, "metadata snapshot after entry {} of term {}", last.index, last.term)?;
    for line in describe.state(body.get(LINK_BYTES..).unwrap_or_default()) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn hard_state(file: &[u8], out: &mut dyn Write) -> Result<(), DumpError> {
    let body = HARD_STATE.open(file)?;
    if body.len() < 20 {
        return Err("the hard state is too short".to_owned().into());
    }
    let (term, vote, commit) = (u64_at(&body, 0), i32_at(&body, 8), u64_at(&body, 12));
    writeln!(out, "metadata hard state: term {term}, vote {vote}, committed up to entry {commit}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::tests::Sizes;
    use crate::metadata_log::encode_link;
    use model::limits::BLOCK;

    fn dumped(file: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        dump(file, &Sizes, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn entries_are_listed_and_damage_is_found() {
        let mut file = LOG.seal(&encode_link(Link::default()));
        file.resize(BLOCK, 0);
        let entry = |index| Entry { term: 1, index, kind: 16, version: 0, payload: vec![5; 4] };
        let link = envelope::encode_commit(&mut file, Link::default(), &[entry(1), entry(2)]);
        envelope::encode_commit(&mut file, link, &[entry(3)]);
        let text = dumped(&file).unwrap();
        assert!(text.contains("entry 2 term 1: type 16 version 0, 4 bytes\n"), "{text}");
        assert!(text.ends_with("entries end at 12288 of 12288 bytes\n"), "{text}");
        file[BLOCK + 50] ^= 1;
        assert!(dumped(&file).unwrap_err().starts_with("the entry at 4096 is damaged"));
    }

    #[test]
    fn snapshot_and_hard_state_are_shown() {
        let mut body = encode_link(Link { term: 2, index: 9, crc: 1 });
        body.extend_from_slice(b"state");
        assert_eq!(
            dumped(&SNAPSHOT.seal(&body)).unwrap(),
            "metadata snapshot after entry 9 of term 2\n5 bytes\n"
        );
        let mut body = 3_u64.to_le_bytes().to_vec();
        body.extend_from_slice(&(-1_i32).to_le_bytes());
        body.extend_from_slice(&8_u64.to_le_bytes());
        let mut file = HARD_STATE.seal(&body);
        assert_eq!(dumped(&file).unwrap(), "metadata hard state: term 3, vote -1, committed up to entry 8\n");
        file[17] ^= 1;
        assert!(dumped(&file).is_err());
    }
}
