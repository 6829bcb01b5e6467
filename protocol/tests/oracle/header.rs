//! Request and response headers.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse,
    RequestHeader as OracleRequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use protocol::{ApiKey, RequestHeader};

use crate::random::Rng;
use crate::{ROUNDS, some_header, str_of};

fn check<Q: HeaderVersion, S: HeaderVersion>(key: ApiKey) {
    let api = key.api();
    for version in api.min..=api.max {
        let mut rng = Rng::new(u64::from(version.cast_unsigned()));
        for _ in 0..ROUNDS {
            let client_id = rng.maybe(Rng::text);
            let header_version = Q::header_version(version);
            let mut sent = OracleRequestHeader::default()
                .with_request_api_key(key.number())
                .with_request_api_version(version)
                .with_correlation_id(rng.i32())
                .with_client_id(client_id.as_deref().map(str_of));
            if header_version >= 2 && rng.chance() {
                sent = sent.with_unknown_tagged_field(rng.i32() & 0xffff, rng.bytes(300));
            }
            let mut frame = BytesMut::new();
            sent.encode(&mut frame, header_version).unwrap();
            frame.extend_from_slice(b"body");
            let frame = frame.freeze();
            let header = RequestHeader::parse(&frame).unwrap();
            assert_eq!(header.api(), Some(key));
            assert_eq!(header.api_version, version);
            assert_eq!(header.correlation_id, sent.correlation_id);
            assert_eq!(header.client_id, client_id);
            assert_eq!(header.body(&frame), "body");
        }
        let mut out = BytesMut::new();
        some_header(key.number(), version).begin_response(&mut out);
        let mut out: Bytes = out.freeze();
        let response = ResponseHeader::decode(&mut out, S::header_version(version)).unwrap();
        assert_eq!(response.correlation_id, 77);
        assert!(out.is_empty());
    }
}

#[test]
fn headers_agree_across_the_flexible_border() {
    check::<ApiVersionsRequest, ApiVersionsResponse>(ApiKey::ApiVersions);
    check::<MetadataRequest, MetadataResponse>(ApiKey::Metadata);
    check::<FetchRequest, FetchResponse>(ApiKey::Fetch);
}
