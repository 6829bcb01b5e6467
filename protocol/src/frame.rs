//! Cutting the stream into frames: four bytes of length, then that many bytes.

use std::fmt;

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// Bytes of the shortest request: key, version and correlation id.
pub const REQUEST_BYTES_MIN: usize = 8;

/// Why a length is not that of a request. The stream cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Negative, or too short for a request header.
    TooShort(i32),
    /// More than the broker takes (`socket.request.max.bytes`).
    TooLarge {
        /// Bytes of the frame.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(length) => write!(f, "a request cannot have {length} bytes"),
            Self::TooLarge { length, max } => {
                write!(f, "a request of {length} bytes is over socket.request.max.bytes ({max})")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Bytes of the frame behind the length `prefix`, which is not counted.
///
/// # Errors
/// [`FrameError`], before anything is allocated.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    let stated = i32::from_be_bytes(prefix);
    match usize::try_from(stated) {
        Ok(length) if length > max => Err(FrameError::TooLarge { length, max }),
        Ok(length) if length >= REQUEST_BYTES_MIN => Ok(length),
        _ => Err(FrameError::TooShort(stated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_outside_of_the_bounds_are_refused() {
        let of = |length: i32| frame_length(length.to_be_bytes(), 100);
        assert_eq!(of(8), Ok(8));
        assert_eq!(of(100), Ok(100));
        assert_eq!(of(101), Err(FrameError::TooLarge { length: 101, max: 100 }));
        for short in [i32::MIN, -1, 0, 7] {
            assert_eq!(of(short), Err(FrameError::TooShort(short)));
        }
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
        // A TLS hello or an HTTP request on the plain port reads as an absurd length.
        assert!(frame_length(*b"GET ", 100 << 20).is_err());
        assert!(frame_length([0x16, 0x03, 0x01, 0x02], 100 << 20).is_err());
    }
}
