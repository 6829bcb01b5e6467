//! As much of a client as it takes to be told that something is durable, and to look whether it is.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::TimestampMs;
use model::batch::BatchBuilder;
use protocol::control::messages::{
    CreateTopicsRequest, CreateTopicsResponse, ListOffsetsRequest, ListOffsetsResponse,
    create_topics_request::CreatableTopic,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use protocol::control::{KafkaRequest, KafkaResponse, decode_response, encode_request};
use protocol::message;

/// The one topic, of one partition.
pub const TOPIC: &str = "t";

/// One connection.
pub struct Client(pub TcpStream);

/// Nothing takes this long; a test that would hang fails instead.
const HANG: Duration = Duration::from_secs(120);

impl Client {
    /// To the address of a ready line.
    pub fn connect(ready: &str) -> Self {
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("kafka=")).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_write_timeout(Some(HANG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Creates the topic.
    pub fn create_topic(&mut self) {
        assert_eq!(self.create(TOPIC, 1), 0);
    }

    /// Creates any topic; the error.
    pub fn create(&mut self, name: &str, partitions: i32) -> i16 {
        let topic =
            message!(CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: 1 });
        let request = message!(CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000 });
        let response: CreateTopicsResponse = self.ask(7, &request);
        response.topics[0].error_code
    }

    /// The offset behind the last record.
    pub fn end_offset(&mut self) -> i64 {
        let (error, offset) = self.offset_at(TOPIC, -1);
        assert_eq!(error, 0);
        offset
    }

    /// Error, and the first offset at or after a time.
    pub fn offset_at(&mut self, name: &str, timestamp: i64) -> (i16, i64) {
        self.offset_of(name, 0, timestamp)
    }

    /// The same of any partition.
    pub fn offset_of(&mut self, name: &str, partition_index: i32, timestamp: i64) -> (i16, i64) {
        let partition =
            message!(ListOffsetsPartition { partition_index: partition_index, timestamp: timestamp });
        let topic = message!(ListOffsetsTopic { name: name.into(), partitions: vec![partition] });
        let request = message!(ListOffsetsRequest { replica_id: -1, topics: vec![topic] });
        let response: ListOffsetsResponse = self.ask(7, &request);
        let found = &response.topics[0].partitions[0];
        (found.error_code, found.offset)
    }

    /// Appends one record with acks=all; its offset once it is durable.
    ///
    /// # Errors
    /// When the broker went away instead.
    pub fn produce(&mut self, value: &[u8]) -> io::Result<i64> {
        let (code, offset) = self.try_produce(value)?;
        assert_eq!(code, 0);
        Ok(offset)
    }

    /// Appends one record with acks=all; the error code.
    pub fn produce_code(&mut self, value: &[u8]) -> i16 {
        self.try_produce(value).unwrap().0
    }

    fn try_produce(&mut self, value: &[u8]) -> io::Result<(i16, i64)> {
        self.produce_batch(&BatchBuilder::new().value(TimestampMs(1), value).build())
    }

    /// Appends one batch with acks=all; error code and offset.
    ///
    /// # Errors
    /// When the broker went away instead.
    pub fn produce_batch(&mut self, batch: &[u8]) -> io::Result<(i16, i64)> {
        let mut frame = front(0, 8);
        frame.put_i16(-1);
        frame.put_i16(-1);
        frame.put_i32(60_000);
        put_topic(&mut frame, TOPIC);
        frame.put_i32(1);
        frame.put_i32(0);
        frame.put_i32(i32::try_from(batch.len()).unwrap());
        frame.put_slice(batch);
        self.send(&frame)?;
        let mut response = self.receive()?;
        response.advance(4 + 4 + 2 + TOPIC.len() + 4 + 4);
        Ok((response.get_i16(), response.get_i64()))
    }

    /// Batches from an offset on, as many as one answer has.
    pub fn fetch(&mut self, from: i64) -> Bytes {
        let mut frame = front(1, 11);
        frame.put_i32(-1);
        frame.put_i32(0);
        frame.put_i32(1);
        frame.put_i32(1 << 20);
        frame.put_i8(0);
        frame.put_i32(0);
        frame.put_i32(-1);
        put_topic(&mut frame, TOPIC);
        frame.put_i32(1);
        frame.put_i32(0);
        frame.put_i32(-1);
        frame.put_i64(from);
        frame.put_i64(-1);
        frame.put_i32(1 << 20);
        frame.put_i32(0);
        frame.put_i16(0);
        self.send(&frame).unwrap();
        let mut response = self.receive().unwrap();
        // Correlation, throttling, error, session; one topic and its name; one partition and its index.
        response.advance(4 + 4 + 2 + 4 + 4 + 2 + TOPIC.len() + 4 + 4);
        assert_eq!(response.get_i16(), 0);
        // High watermark, last stable offset, log start; aborted transactions; preferred replica.
        response.advance(8 + 8 + 8 + 4 + 4);
        let length = usize::try_from(response.get_i32()).unwrap_or(0);
        response.split_to(length)
    }

    /// Asks for everything, again and again, and takes no answer.
    pub fn fetch_without_listening(&mut self, times: usize) {
        let mut frame = front(1, 11);
        frame.put_i32(-1);
        frame.put_i32(0);
        frame.put_i32(1);
        frame.put_i32(i32::MAX);
        frame.put_i8(0);
        frame.put_i32(0);
        frame.put_i32(-1);
        put_topic(&mut frame, TOPIC);
        frame.put_i32(1);
        frame.put_i32(0);
        frame.put_i32(-1);
        frame.put_i64(0);
        frame.put_i64(-1);
        frame.put_i32(i32::MAX);
        frame.put_i32(0);
        frame.put_i16(0);
        (0..times).for_each(|_| self.send(&frame).unwrap());
    }

    /// Asks many things before it listens to the first answer.
    pub fn ask_all<Q: KafkaRequest, A: KafkaResponse>(&mut self, version: i16, requests: &[Q]) -> Vec<A> {
        for request in requests {
            self.send(&encode_request(version, 7, Some("test"), request).unwrap()).unwrap();
        }
        requests.iter().map(|_| decode_response(version, &self.receive().unwrap()).unwrap().1).collect()
    }

    /// Asks anything.
    pub fn ask<Q: KafkaRequest, A: KafkaResponse>(&mut self, version: i16, request: &Q) -> A {
        self.send(&encode_request(version, 7, Some("test"), request).unwrap()).unwrap();
        decode_response(version, &self.receive().unwrap()).unwrap().1
    }

    /// Sends one frame, its length first.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
        self.0.write_all(frame)
    }

    /// The next frame.
    pub fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    }
}

/// The front of a request whose version is not flexible.
pub fn front(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame
}

/// An array of one topic, up to its partitions.
pub fn put_topic(frame: &mut BytesMut, name: &str) {
    frame.put_i32(1);
    frame.put_i16(i16::try_from(name.len()).unwrap());
    frame.put_slice(name.as_bytes());
}
