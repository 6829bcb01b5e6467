//! Our codecs against those of the `kafka-protocol` crate, in every version that is served.
//!
//! The oracle trusts its input (a hostile length makes it abort the process), so it only ever reads what we wrote
//! and only writes what we read.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "tests: their names tell, and one that cannot go on has failed"
)]

mod batch;
mod control;
mod fetch;
mod header;
mod produce;
mod random;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader as OracleRequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use protocol::RequestHeader;

/// Random messages per version.
const ROUNDS: u64 = 100;

fn str_of(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request of the oracle's as a frame of ours.
fn request_frame<M: Encodable + HeaderVersion>(key: i16, version: i16, body: &M) -> Bytes {
    let mut frame = BytesMut::new();
    OracleRequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(i32::from(version) + 1)
        .with_client_id(Some(str_of("oracle")))
        .encode(&mut frame, M::header_version(version))
        .unwrap();
    body.encode(&mut frame, version).unwrap();
    frame.freeze()
}

/// A response of ours as the oracle reads it, to its last byte.
fn read_response<M: Decodable + HeaderVersion>(header: &RequestHeader, mut frame: Bytes) -> M {
    let response_header = ResponseHeader::decode(&mut frame, M::header_version(header.api_version)).unwrap();
    assert_eq!(response_header.correlation_id, header.correlation_id);
    let message = M::decode(&mut frame, header.api_version).unwrap();
    assert!(frame.is_empty(), "{} bytes that the oracle does not know", frame.len());
    message
}

/// The header of some request, for encoding responses.
fn some_header(key: i16, version: i16) -> RequestHeader {
    RequestHeader { api_key: key, api_version: version, correlation_id: 77, client_id: None, body_at: 0 }
}
