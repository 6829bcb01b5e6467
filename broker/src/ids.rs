//! Ids of 16 bytes as Kafka writes them: 22 characters of URL-safe base64.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::NO_PAD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Reads what Java reads: two bits of the last character say nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
const CONFIG: GeneralPurposeConfig = NO_PAD.with_decode_allow_trailing_bits(true);

/// An id as text.
pub fn written(id: [u8; 16]) -> String {
    BASE64.encode(id)
}

/// The id that a text is, if it is one.
pub fn read(text: &str) -> Option<[u8; 16]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{read, written};

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [[0; 16], [0xff; 16], *b"0123456789abcdef", [0x5a; 16]] {
            assert_eq!(read(&written(id)), Some(id));
        }
        for none in ["", "x", "0123456789abcdef012345?", "0123456789abcdef01234567"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
