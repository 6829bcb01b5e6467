//! Little-endian numbers at fixed places of headers at rest. A place outside the slice reads as zero or writes nothing:
//! callers check the length once, at the top.

/// The `N` bytes at `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// The u16 at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

/// The u32 at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

/// The u64 at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// The i32 at `at`.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(array(bytes, at))
}

/// The i64 at `at`.
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array(bytes, at))
}

/// Puts `value` at `at`.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Rounds down to whole blocks.
pub(crate) const fn block_down(position: u64) -> u64 {
    position & !(model::limits::BLOCK as u64 - 1)
}

/// Rounds up to whole blocks.
pub(crate) const fn block_up(position: u64) -> u64 {
    block_down(position + model::limits::BLOCK as u64 - 1)
}

/// A length in memory as a number at rest.
pub(crate) fn len_u64(len: usize) -> u64 {
    len as u64
}

/// A number at rest as a length in memory: every target has 64-bit addresses.
#[expect(clippy::cast_possible_truncation, reason = "asserted below: both have 64 bits")]
pub(crate) const fn to_usize(value: u64) -> usize {
    const { assert!(size_of::<usize>() == 8) };
    value as usize
}

/// A length that limits.rs keeps under 4 GiB.
pub(crate) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("bounded by limits.rs")
}
