//! As much of a client as the load and the reading back need.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::control::{KafkaRequest, KafkaResponse, decode_response, encode_request};

/// Longer than anything the broker may take; without it a broker that hangs would hang the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub struct Wire(TcpStream);

/// What a fetch of one partition brought.
pub struct Fetched {
    pub error: i16,
    pub records: Bytes,
}

impl Wire {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Asks anything of the control plane.
    pub fn ask<Q: KafkaRequest, A: KafkaResponse>(&mut self, version: i16, request: &Q) -> io::Result<A> {
        self.tell(version, request)?;
        self.hear(version)
    }

    /// The first half of [`Self::ask`]: several may be under way.
    pub fn tell<Q: KafkaRequest>(&mut self, version: i16, request: &Q) -> io::Result<()> {
        let frame = encode_request(version, 7, Some("power-cut"), request).map_err(io::Error::other)?;
        self.send(&frame)
    }

    /// The second half.
    pub fn hear<A: KafkaResponse>(&mut self, version: i16) -> io::Result<A> {
        Ok(decode_response(version, &self.receive()?).map_err(io::Error::other)?.1)
    }

    /// Sends one batch with acks=all.
    pub fn send_batch(&mut self, topic: &str, partition: u32, batch: &[u8]) -> io::Result<()> {
        let mut frame = front(0, 8);
        frame.put_i16(-1);
        frame.put_i16(-1);
        frame.put_i32(60_000);
        put_partition(&mut frame, topic, partition);
        frame.put_u32(length(batch.len()));
        frame.put_slice(batch);
        self.send(&frame)
    }

    /// The answer to the oldest batch without one: error code and base offset.
    pub fn batch_answer(&mut self, topic: &str) -> io::Result<(i16, i64)> {
        let mut response = self.receive()?;
        response.advance(4 + 4 + 2 + topic.len() + 4 + 4);
        Ok((response.get_i16(), response.get_i64()))
    }

    /// Whole batches from the one that holds `offset`.
    pub fn fetch(&mut self, topic: &str, partition: u32, offset: i64) -> io::Result<Fetched> {
        let mut frame = front(1, 4);
        frame.put_i32(-1);
        frame.put_i32(0);
        frame.put_i32(1);
        frame.put_i32(8 << 20);
        frame.put_i8(0);
        put_partition(&mut frame, topic, partition);
        frame.put_i64(offset);
        frame.put_i32(8 << 20);
        self.send(&frame)?;
        let mut response = self.receive()?;
        response.advance(4 + 4 + 4 + 2 + topic.len() + 4 + 4);
        let error = response.get_i16();
        response.advance(8 + 8);
        let aborted = usize::try_from(response.get_i32()).unwrap_or(0);
        response.advance(16 * aborted);
        let len = usize::try_from(response.get_i32()).unwrap_or(0);
        Ok(Fetched { error, records: response.split_to(len) })
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut whole = Vec::with_capacity(4 + frame.len());
        whole.put_u32(length(frame.len()));
        whole.put_slice(frame);
        self.0.write_all(&whole)
    }

    fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?];
        self.0.read_exact(&mut frame)?;
        Ok(Bytes::from(frame))
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a test's frame")
}

/// The front of a request whose version is not flexible.
fn front(key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame
}

/// One topic with one partition of it.
fn put_partition(frame: &mut BytesMut, topic: &str, partition: u32) {
    frame.put_i32(1);
    frame.put_i16(i16::try_from(topic.len()).expect("a test's topic"));
    frame.put_slice(topic.as_bytes());
    frame.put_i32(1);
    frame.put_u32(partition);
}
