//! Writes fields of a response in order.

use bytes::{BufMut, BytesMut};

/// The other side of `Reader`: the same two ways to write lengths.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) out: BytesMut,
    flexible: bool,
}

impl Writer {
    pub(crate) const fn new(out: BytesMut, flexible: bool) -> Self {
        Self { out, flexible }
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    pub(crate) fn uvarint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.out.put_u8(low & 0x7f);
                return;
            }
            self.out.put_u8(low | 0x80);
        }
    }

    /// Length of an array or of bytes.
    pub(crate) fn length(&mut self, length: Option<usize>) {
        let length = length.map(|length| u32::try_from(length).unwrap_or(u32::MAX - 1));
        if self.flexible {
            self.uvarint(length.map_or(0, |length| length + 1));
        } else {
            self.i32(length.map_or(-1, |length| i32::try_from(length).unwrap_or(i32::MAX)));
        }
    }

    /// A string. The protocol cannot say one longer than 32,767 bytes: the rest is cut off.
    pub(crate) fn nullable_string(&mut self, text: Option<&str>) {
        let text = text.map(|text| {
            let end = text.floor_char_boundary(usize::try_from(i16::MAX).unwrap_or(0));
            text.get(..end).unwrap_or_default()
        });
        if self.flexible {
            self.length(text.map(str::len));
        } else {
            self.i16(text.map_or(-1, |text| i16::try_from(text.len()).unwrap_or(i16::MAX)));
        }
        self.raw(text.unwrap_or_default().as_bytes());
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.nullable_string(Some(text));
    }

    /// The tagged fields that end a structure, given in order of their numbers; each as its content alone. In
    /// versions without tagged fields nothing is written.
    pub(crate) fn tags(&mut self, fields: &[(u32, BytesMut)]) {
        if !self.flexible {
            return;
        }
        self.uvarint(u32::try_from(fields.len()).unwrap_or(0));
        for (tag, content) in fields {
            self.uvarint(*tag);
            self.uvarint(u32::try_from(content.len()).unwrap_or(0));
            self.raw(content);
        }
    }

    /// The content of one tagged field.
    pub(crate) fn content(fill: impl FnOnce(&mut Self)) -> BytesMut {
        let mut inner = Self::new(BytesMut::new(), true);
        fill(&mut inner);
        inner.out
    }
}
