//! Small files that are replaced whole: a header with magic, version and checksum before a body.
//!
//! ```text
//! 0 magic (4)  4 version u16  6 reserved u16  8 body length u32  12 CRC-32 of bytes 0..12 and the body  16 body...
//! ```

use crate::bytes_at::{len_u32, put, u16_at, u32_at};

const HEADER_BYTES: usize = 16;

/// A kind of small file.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    /// First four bytes.
    pub magic: [u8; 4],
    /// The version written.
    pub version: u16,
    /// What it is called in messages.
    pub name: &'static str,
}

impl FileKind {
    /// A file with this body.
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + body.len()];
        put(&mut file, 0, &self.magic);
        put(&mut file, 4, &self.version.to_le_bytes());
        put(&mut file, 8, &len_u32(body.len()).to_le_bytes());
        put(&mut file, HEADER_BYTES, body);
        let crc = checksum(&file);
        put(&mut file, 12, &crc.to_le_bytes());
        file
    }

    /// The body of a file, aligned for `rkyv` by copying; the message says what is wrong. Bytes behind the body are padding.
    pub fn open(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        self.open_any(file).map(|(_, body)| body)
    }

    /// The same with its version, where older ones have another body.
    pub fn open_any(&self, file: &[u8]) -> Result<(u16, Vec<u8>), String> {
        if file.len() < HEADER_BYTES || !file.starts_with(&self.magic) {
            return Err(format!("not a {}: wrong magic", self.name));
        }
        let end = HEADER_BYTES + u32_at(file, 8) as usize;
        let whole = file.get(..end).ok_or_else(|| format!("{} is cut short", self.name))?;
        if u32_at(file, 12) != checksum(whole) {
            return Err(format!("{} fails its checksum", self.name));
        }
        if u16_at(file, 4) > self.version {
            return Err(format!(
                "{} has format {}, newer than this release reads",
                self.name,
                u16_at(file, 4)
            ));
        }
        Ok((u16_at(file, 4), whole[HEADER_BYTES..].to_vec()))
    }
}

fn checksum(file: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file[..12]);
    hasher.update(&file[HEADER_BYTES..]);
    hasher.finalize()
}
