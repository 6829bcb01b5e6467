//! `millrace dump` on what a real broker left, whole and damaged: it never ends in a panic, and damage is named.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::limits::BLOCK;
use storage::disk::random::Random;
use storage::dump::{Describe, DumpError, dump_file};

use super::fixture::{Scratch, files_below, flip, template};

/// Damaged copies of each file.
const COPIES: u64 = 60;

/// Shows nothing: the binary's own way of showing records is tested through the binary.
struct Nothing;

impl Describe for Nothing {
    fn record(&self, _kind: u16, _version: u16, _payload: &[u8]) -> String {
        String::new()
    }

    fn state(&self, _contents: &[u8]) -> Vec<String> {
        Vec::new()
    }

    fn coordinator_record(&self, _key: &[u8], _value: &[u8]) -> String {
        String::new()
    }
}

/// One file of each kind that the broker leaves, by the magic it begins with.
fn kinds(templates: &[&Scratch]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    templates.iter().for_each(|scratch| files_below(&scratch.data(), &mut files));
    let mut kinds: BTreeMap<[u8; 4], (usize, PathBuf)> = BTreeMap::new();
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let Some(magic) = bytes.get(..4).and_then(|magic| <[u8; 4]>::try_from(magic).ok()) else { continue };
        // Of each kind the one with the most in it: most files of a ring may be without a frame.
        let filled = bytes.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0)).count();
        if magic.starts_with(b"ML") && kinds.get(&magic).is_none_or(|(most, _)| *most < filled) {
            kinds.insert(magic, (filled, path));
        }
    }
    for wanted in [b"MLSG", b"MLJR", b"MLCP", b"MLPS", b"MLCS", b"MLIX", b"MLML", b"MLMH"] {
        assert!(kinds.contains_key(wanted), "no {}", String::from_utf8_lossy(wanted));
    }
    kinds.into_values().map(|(_, path)| path).collect()
}

/// Exit code, standard output and standard error of `millrace dump`.
fn dump(files: &[PathBuf]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace")).arg("dump").args(files).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Some damage: a flipped bit, a lost end, or zeros where something was.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    // Most of a ring file and of a segment is unused: the beginning is where things are.
    let reach = if random.one_in(2) { bad.len().min(9000) } else { bad.len() };
    let at = random.index(reach.max(1));
    match random.below(4) {
        0 => bad.truncate(at),
        1 => {
            let end = bad.len().min(at + 512);
            bad[at..end].fill(0);
        }
        2 => {
            let end = bad.len().min(at + 8);
            bad[at..end].fill(0xff);
        }
        _ => bad[at] ^= 1 << random.below(8),
    }
    bad
}

#[test]
fn every_kind_of_file_is_dumped_and_no_damage_makes_it_panic() {
    let (stopped, killed) = (template("dump-stopped", true), template("dump-killed", false));
    let files = kinds(&[&killed, &stopped]);
    let (code, out, errors) = dump(&files);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(out.lines().count() > 100, "{out}");
    let scratch = Scratch::new("dump");
    let mut random = Random::new(11);
    let mut copies = Vec::new();
    for file in &files {
        let bytes = fs::read(file).unwrap();
        for copy in 0..COPIES {
            // An index goes by its name.
            let directory = scratch.0.join(copies.len().to_string());
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(file.file_name().unwrap());
            fs::write(&path, damaged(&bytes, &mut random)).unwrap();
            let told = dump_file(&path, &Nothing, &mut io::sink());
            assert!(!matches!(told, Err(DumpError::Io(_))), "{}: {told:?}", file.display());
            // The slow way for some of them.
            if copy < 5 {
                copies.push(path);
            } else {
                fs::remove_dir_all(&directory).unwrap();
            }
        }
    }
    let (code, _, errors) = dump(&copies);
    assert!(code == Some(0) || code == Some(4), "{code:?}: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn damage_is_named_with_its_place_and_what_is_before_it_is_shown() {
    let template = template("dump-place", true);
    let segment = template.files("topics", ".log").into_iter().max_by_key(|path| file_bytes(path)).unwrap();
    let offsets = template.files("topics", "coordinator").remove(0);
    let (_, whole, _) = dump(std::slice::from_ref(&segment));
    flip(&segment, 4096 + 20_000);
    flip(&offsets, 1000);
    let (code, out, errors) = dump(&[segment.clone(), offsets]);
    assert_eq!(code, Some(4));
    assert!(out.lines().count() > 4 && out.lines().count() < whole.lines().count(), "{out}");
    let lines: Vec<&str> = errors.lines().collect();
    assert!(lines[0].contains(segment.to_str().unwrap()) && lines[0].contains("batch at"), "{errors}");
    assert!(lines[1].contains("checksum"), "{errors}");
    for (name, contents) in [("empty", &b""[..]), ("short", b"ML"), ("foreign", b"PK\x03\x04 something else")]
    {
        let path = template.0.join(name);
        fs::write(&path, contents).unwrap();
        let (code, _, errors) = dump(&[path]);
        assert_eq!(code, Some(4), "{name}");
        assert!(errors.contains(name), "{errors}");
    }
}

#[test]
fn a_first_frame_of_the_journal_that_rots_is_named_and_exits_4() {
    let template = template("dump-frame", false);
    // The newest with more than one frame: what is in the oldest may not be needed any more.
    let newest = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let mut frames = (BLOCK..bytes.len()).step_by(BLOCK).filter(|at| bytes[*at..].starts_with(b"MLJF"));
        let first = frames.next().filter(|at| *at == BLOCK).and(frames.next());
        first.map(|_| u64::from_le_bytes(bytes[BLOCK + 24..BLOCK + 32].try_into().unwrap()))
    };
    let mut rings = template.files("journals", "");
    rings.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("ring-"));
    let ring = rings.into_iter().max_by_key(newest).unwrap();
    for (inside, told) in [(100, "is damaged: frame"), (40, "its header fails its checksum")] {
        let scratch = Scratch::copy_of("dump-frame", &template.data());
        let file = scratch.data().join(ring.strip_prefix(template.data()).unwrap());
        flip(&file, BLOCK + inside);
        let (code, _, errors) = dump(std::slice::from_ref(&file));
        assert_eq!(code, Some(4), "{errors}");
        let line = errors.lines().next().unwrap();
        assert!(line.contains(file.to_str().unwrap()) && line.contains("at 4096"), "{errors}");
        assert!(line.contains(told), "{errors}");
    }
}

fn file_bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
