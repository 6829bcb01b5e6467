//! What every request begins with, and what every response begins with.
#![deny(clippy::indexing_slicing)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::api::{self, ApiKey};
use crate::reader::Reader;
use crate::{DecodeError, Text};

/// The front of a request. The client id is a slice of the frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Which API, as sent.
    pub api_key: i16,
    /// Which version of it, as sent.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Text>,
    /// Where in the frame the body starts. Meaningless where [`Self::api`] is none.
    pub body_at: usize,
}

impl RequestHeader {
    /// Reads the header of `frame`, a request without its length prefix.
    ///
    /// A request that is not served is read as far as it can be understood: its layout past the first eight bytes
    /// is unknown, so trouble there is no error and only leaves the client id out.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection must close.
    pub fn parse(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut fixed = Reader::new(frame, 0, false);
        let (api_key, api_version, correlation_id) = (fixed.i16()?, fixed.i16()?, fixed.i32()?);
        let mut header = Self { api_key, api_version, correlation_id, client_id: None, body_at: fixed.at() };
        let api = api::find(api_key).filter(|api| api.works_in(api_version));
        // The client id keeps its old form in flexible headers too.
        let client_id = match (fixed.nullable_string(), api) {
            (Ok(client_id), _) => client_id,
            (Err(error), Some(_)) => return Err(error),
            (Err(_), None) => return Ok(header),
        };
        header.client_id = client_id;
        let flexible = api.is_some_and(|api| api.is_flexible(api_version));
        let mut tagged = Reader::new(frame, fixed.at(), flexible);
        tagged.skip_tags()?;
        header.body_at = tagged.at();
        Ok(header)
    }

    /// The API to dispatch to; `None` when key and version are not served together. Then the connection closes,
    /// unless [`Self::is_api_versions`].
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        api::supported(self.api_key, self.api_version)
    }

    /// Whether it asks for ApiVersions, in whatever version: that is always answered, if only with an error.
    #[must_use]
    pub const fn is_api_versions(&self) -> bool {
        self.api_key == ApiKey::ApiVersions.number()
    }

    /// The request's body: a slice of `frame`, which this header was read from.
    #[must_use]
    pub fn body(&self, frame: &Bytes) -> Bytes {
        frame.slice(self.body_at.min(frame.len())..)
    }

    /// Whether the request's version has compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(&self) -> bool {
        api::find(self.api_key).is_some_and(|api| api.is_flexible(self.api_version))
    }

    /// Begins the response to this request.
    pub fn begin_response(&self, out: &mut BytesMut) {
        out.put_i32(self.correlation_id);
        // A client must be able to read ApiVersions before it knows what the broker can do.
        if self.is_flexible() && !self.is_api_versions() {
            out.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    #[test]
    fn a_classic_header_has_no_tags() {
        let bytes = frame(&[&[0, 3, 0, 8, 0, 0, 0, 9, 0, 2], b"me", b"body"]);
        let header = RequestHeader::parse(&bytes).unwrap();
        assert_eq!((header.api(), header.api_version), (Some(ApiKey::Metadata), 8));
        assert_eq!((header.correlation_id, header.client_id.as_deref()), (9, Some("me")));
        assert_eq!(header.body(&bytes), "body");
        let mut response = BytesMut::new();
        header.begin_response(&mut response);
        assert_eq!(response[..], [0, 0, 0, 9]);
    }

    #[test]
    fn a_flexible_header_passes_over_its_tags() {
        // Two tags: 0 with one byte, 5 with none.
        let bytes = frame(&[&[0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff], &[2, 0, 1, 77, 5, 0], b"body"]);
        let header = RequestHeader::parse(&bytes).unwrap();
        assert_eq!(header.client_id, None);
        assert_eq!(header.body(&bytes), "body");
        let mut response = BytesMut::new();
        header.begin_response(&mut response);
        assert_eq!(response[..], [0, 0, 0, 9, 0]);
    }

    #[test]
    fn api_versions_answers_with_the_oldest_header() {
        let bytes = frame(&[&[0, 18, 0, 3, 0, 0, 0, 1, 0, 0, 0]]);
        let mut response = BytesMut::new();
        RequestHeader::parse(&bytes).unwrap().begin_response(&mut response);
        assert_eq!(response[..], [0, 0, 0, 1]);
    }

    #[test]
    fn unknown_requests_are_understood_as_far_as_possible() {
        for rest in [&b""[..], &[0, 5, b'x'], &[0xff], &[0, 2, b'm', b'e', 9, 9, 9]] {
            let header = RequestHeader::parse(&frame(&[&[0x7f, 0, 0, 0, 0, 0, 0, 1], rest])).unwrap();
            assert_eq!(header.api(), None);
        }
        let newer = RequestHeader::parse(&frame(&[&[0, 18, 0, 99, 0, 0, 0, 1]])).unwrap();
        assert!(newer.api().is_none() && newer.is_api_versions());
        for length in 0..8 {
            assert!(RequestHeader::parse(&frame(&[&[0, 3, 0, 9, 0, 0, 0, 9][..length]])).is_err());
        }
    }

    #[test]
    fn damage_in_a_known_request_is_an_error() {
        let start = [0, 3, 0, 9, 0, 0, 0, 9];
        for rest in
            [&[0, 5, b'x'][..], &[0, 1, 0xff, 0], &[0xff, 0xff], &[0xff, 0xfe, 0], &[0xff, 0xff, 1, 0, 9]]
        {
            assert!(RequestHeader::parse(&frame(&[&start, rest])).is_err(), "{rest:?}");
        }
    }
}
