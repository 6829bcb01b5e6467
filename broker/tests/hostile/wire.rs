//! Produce and Fetch with every field open, in versions old enough to be written by hand, and what comes back.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::harness::{TOPIC, front, put_topic};

/// A Produce request of version 8 for one topic.
#[derive(Clone)]
pub struct Produce<'a> {
    pub transactional_id: Option<&'a str>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topic: &'a str,
    /// Index and records.
    pub partitions: Vec<(i32, Option<Bytes>)>,
}

impl Default for Produce<'_> {
    /// As a good client would, but for the records.
    fn default() -> Self {
        Self { transactional_id: None, acks: -1, timeout_ms: 60_000, topic: TOPIC, partitions: Vec::new() }
    }
}

impl Produce<'_> {
    pub fn frame(&self) -> BytesMut {
        let mut frame = front(0, 8);
        match self.transactional_id {
            None => frame.put_i16(-1),
            Some(id) => put_string(&mut frame, id),
        }
        frame.put_i16(self.acks);
        frame.put_i32(self.timeout_ms);
        put_topic(&mut frame, self.topic);
        frame.put_i32(i32::try_from(self.partitions.len()).unwrap());
        for (index, records) in &self.partitions {
            frame.put_i32(*index);
            match records {
                None => frame.put_i32(-1),
                Some(records) => {
                    frame.put_i32(i32::try_from(records.len()).unwrap());
                    frame.put_slice(records);
                }
            }
        }
        frame
    }
}

/// Index, error and base offset of each partition in the answer to a [`Produce`].
pub fn produced(mut answer: Bytes) -> Vec<(i32, i16, i64)> {
    answer.advance(4);
    let mut partitions = Vec::new();
    for _ in 0..answer.get_i32() {
        skip_string(&mut answer);
        for _ in 0..answer.get_i32() {
            partitions.push((answer.get_i32(), answer.get_i16(), answer.get_i64()));
            answer.advance(8 + 8);
            for _ in 0..answer.get_i32() {
                answer.advance(4);
                skip_string(&mut answer);
            }
            skip_string(&mut answer);
        }
    }
    partitions
}

/// One partition of a [`Fetch`].
#[derive(Clone, Copy)]
pub struct Wish {
    pub index: i32,
    pub leader_epoch: i32,
    pub offset: i64,
    pub log_start: i64,
    pub bytes_max: i32,
}

impl Default for Wish {
    fn default() -> Self {
        Self { index: 0, leader_epoch: -1, offset: 0, log_start: -1, bytes_max: 1 << 20 }
    }
}

/// A Fetch request of version 11 for one topic.
#[derive(Clone)]
pub struct Fetch<'a> {
    pub replica: i32,
    pub wait_ms: i32,
    pub bytes_min: i32,
    pub bytes_max: i32,
    pub isolation: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    pub topic: &'a str,
    pub wishes: Vec<Wish>,
    pub forgotten: Vec<i32>,
}

impl Default for Fetch<'_> {
    /// As a good client would ask for the beginning.
    fn default() -> Self {
        Self {
            replica: -1,
            wait_ms: 0,
            bytes_min: 1,
            bytes_max: 1 << 20,
            isolation: 0,
            session_id: 0,
            session_epoch: -1,
            topic: TOPIC,
            wishes: vec![Wish::default()],
            forgotten: Vec::new(),
        }
    }
}

impl Fetch<'_> {
    pub fn frame(&self) -> BytesMut {
        let mut frame = front(1, 11);
        frame.put_i32(self.replica);
        frame.put_i32(self.wait_ms);
        frame.put_i32(self.bytes_min);
        frame.put_i32(self.bytes_max);
        frame.put_i8(self.isolation);
        frame.put_i32(self.session_id);
        frame.put_i32(self.session_epoch);
        put_topic(&mut frame, self.topic);
        frame.put_i32(i32::try_from(self.wishes.len()).unwrap());
        for wish in &self.wishes {
            frame.put_i32(wish.index);
            frame.put_i32(wish.leader_epoch);
            frame.put_i64(wish.offset);
            frame.put_i64(wish.log_start);
            frame.put_i32(wish.bytes_max);
        }
        put_topic(&mut frame, self.topic);
        frame.put_i32(i32::try_from(self.forgotten.len()).unwrap());
        self.forgotten.iter().for_each(|index| frame.put_i32(*index));
        put_string(&mut frame, "");
        frame
    }
}

/// The answer to a [`Fetch`].
#[derive(Debug)]
pub struct Fetched {
    pub error: i16,
    /// Index, error, high watermark and records.
    pub partitions: Vec<(i32, i16, i64, Bytes)>,
}

pub fn fetched(mut answer: Bytes) -> Fetched {
    answer.advance(4 + 4);
    let error = answer.get_i16();
    answer.advance(4);
    let mut partitions = Vec::new();
    for _ in 0..answer.get_i32() {
        skip_string(&mut answer);
        for _ in 0..answer.get_i32() {
            let (index, error, high_watermark) = (answer.get_i32(), answer.get_i16(), answer.get_i64());
            answer.advance(8 + 8);
            for _ in 0..answer.get_i32() {
                answer.advance(8 + 8);
            }
            answer.advance(4);
            let length = usize::try_from(answer.get_i32()).unwrap_or(0);
            let records = answer.split_to(length);
            partitions.push((index, error, high_watermark, records));
        }
    }
    Fetched { error, partitions }
}

pub fn put_string(frame: &mut BytesMut, text: &str) {
    frame.put_i16(i16::try_from(text.len()).unwrap());
    frame.put_slice(text.as_bytes());
}

/// A nullable string.
fn skip_string(answer: &mut Bytes) {
    let length = usize::try_from(answer.get_i16()).unwrap_or(0);
    answer.advance(length);
}
