//! Why bytes are not the message they should be, and why a message cannot be bytes.

use std::fmt;

pub use kafka_wire_core::EncodeError;

/// Why a request cannot be read. Whoever sent it loses the connection: nothing behind it can be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The frame ends inside a field.
    Truncated {
        /// Where in the frame.
        at: usize,
    },
    /// A variable-length integer longer than its type.
    Varint {
        /// Where in the frame.
        at: usize,
    },
    /// A length or count that cannot be, or none where there must be one.
    Length {
        /// Where in the frame.
        at: usize,
        /// As sent.
        length: i64,
    },
    /// More elements than one request may have.
    TooMany {
        /// As sent.
        count: usize,
        /// Allowed.
        max: usize,
    },
    /// A string that is not UTF-8.
    Utf8 {
        /// Where in the frame.
        at: usize,
    },
    /// A tagged field whose content does not fill its size.
    Tag {
        /// Its number.
        tag: u32,
    },
    /// A body larger than its API needs.
    TooLarge {
        /// Bytes of the body.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A control-plane message is malformed.
    Control(kafka_wire_core::DecodeError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "the request ends inside the field at byte {at}"),
            Self::Varint { at } => write!(f, "the variable-length integer at byte {at} is too long"),
            Self::Length { at, length } => write!(f, "the field at byte {at} cannot have length {length}"),
            Self::TooMany { count, max } => write!(f, "{count} elements in a request that may have {max}"),
            Self::Utf8 { at } => write!(f, "the string at byte {at} is not UTF-8"),
            Self::Tag { tag } => write!(f, "tagged field {tag} does not fill its size"),
            Self::TooLarge { size, max } => {
                write!(f, "a request body of {size} bytes where {max} are allowed")
            }
            Self::Control(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<kafka_wire_core::DecodeError> for DecodeError {
    fn from(error: kafka_wire_core::DecodeError) -> Self {
        Self::Control(error)
    }
}
