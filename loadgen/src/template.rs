//! Batches made once and sent again and again.
//!
//! What changes from one sending to the next is the batch's header, and with stamps or keys a few bytes of each record. So a
//! batch without either goes from here to the socket without being touched: its CRC is that of the new header
//! combined with the one known of its records. A shorter batch is the front of a whole one.

use std::cell::RefCell;
use std::collections::HashMap;

use model::batch::header::{self, HEADER_BYTES};
use model::batch::{Compression, varint};

use crate::payload::{self, Keys, Values};
use crate::schedule::Times;
use crate::shift::Shift;
use crate::stamp::{Stamp, Stamping};

/// Shorter compressed batches are kept up to this number per template: a steady load needs few.
const COMPRESSED_KEPT_MAX: usize = 64;

/// Where a record's parts are in the payload.
#[derive(Clone, Copy, Debug)]
struct Place {
    key_at: usize,
    value_at: usize,
    end: usize,
    /// Bytes of keys and values up to this record, itself included.
    content: usize,
}

/// One batch's records.
#[derive(Debug)]
pub struct Template {
    payload: Vec<u8>,
    places: Vec<Place>,
    key_bytes: usize,
    compression: Compression,
    /// CRCs of the first so many records, and what joins them to a header's, as far as somebody asked.
    crcs: RefCell<HashMap<u32, (u32, Shift)>>,
    compressed: RefCell<HashMap<u32, std::rc::Rc<Vec<u8>>>>,
}

/// What a batch needs beside its records.
#[derive(Clone, Copy, Debug)]
pub struct BatchFacts {
    /// All records' timestamp, in milliseconds.
    pub timestamp: i64,
    /// Producer id and epoch, or -1.
    pub producer: (i64, i16),
    /// The first record's sequence, or -1.
    pub base_sequence: i32,
}

/// What is written into records.
#[derive(Clone, Copy, Debug)]
pub struct Marking {
    /// How much of a stamp.
    pub stamping: Stamping,
    /// Which keys.
    pub keys: Keys,
    /// The run and the producer.
    pub identity: (u32, u32),
    /// The first record's number in its partition.
    pub sequence: u64,
    /// Nanoseconds since 1970 at the run's start.
    pub epoch_ns: u64,
    /// Seed of this batch's keys: the same when it is sent again.
    pub seed: u64,
}

impl Marking {
    /// Whether records are sent as they are.
    pub fn is_none(&self) -> bool {
        self.stamping == Stamping::None && self.keys == Keys::None
    }
}

impl Template {
    /// Fills a batch of at most `batch_bytes` (but of one record at least) with `values`.
    pub fn new(values: &mut Values, keys: Keys, compression: Compression, batch_bytes: usize) -> Self {
        let (mut payload, mut places, mut value) = (Vec::new(), Vec::<Place>::new(), Vec::new());
        let key = vec![b'0'; keys.bytes()];
        loop {
            values.next(&mut value);
            let at = payload.len();
            let (key_at, value_at) = append(&mut payload, places.len(), &key, &value);
            if HEADER_BYTES + payload.len() > batch_bytes && !places.is_empty() {
                payload.truncate(at);
                break;
            }
            let before = places.last().map_or(0, |place| place.content);
            let content = before + key.len() + value.len();
            places.push(Place { key_at, value_at, end: payload.len(), content });
            if HEADER_BYTES + payload.len() >= batch_bytes {
                break;
            }
        }
        Self {
            payload,
            places,
            key_bytes: key.len(),
            compression,
            crcs: RefCell::default(),
            compressed: RefCell::default(),
        }
    }

    /// Records of a whole batch.
    pub fn records(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    fn place(&self, count: u32) -> Option<&Place> {
        self.places.get((count as usize).checked_sub(1)?)
    }

    /// Bytes of keys and values of the first `count` records.
    pub fn content_bytes(&self, count: u32) -> u64 {
        self.place(count).map_or(0, |place| place.content as u64)
    }

    /// Bytes of a batch of the first `count` records, before compression.
    pub fn bytes(&self, count: u32) -> usize {
        HEADER_BYTES + self.front(count).len()
    }

    /// The first `count` records as they are, uncompressed.
    fn front(&self, count: u32) -> &[u8] {
        let end = self.place(count).map_or(0, |place| place.end);
        &self.payload[..end]
    }

    /// The records to send, unmarked.
    pub fn plain(&self, count: u32) -> Plain<'_> {
        if self.compression == Compression::None {
            return Plain::Borrowed(self.front(count));
        }
        let mut kept = self.compressed.borrow_mut();
        if kept.len() >= COMPRESSED_KEPT_MAX {
            kept.clear();
            self.crcs.borrow_mut().clear();
        }
        Plain::Compressed(
            kept.entry(count).or_insert_with(|| self.compress(self.front(count)).into()).clone(),
        )
    }

    fn compress(&self, records: &[u8]) -> Vec<u8> {
        // Compressors of memory to memory fail only where memory does.
        crate::codec::compress(self.compression, records).unwrap_or_default()
    }

    /// The header of an unmarked batch of `records`, which [`Self::plain`] gave for `count`.
    pub fn plain_header(&self, count: u32, records: &[u8], facts: BatchFacts) -> [u8; HEADER_BYTES] {
        let known = || (crc32c::crc32c(records), Shift::past(records.len()));
        let (crc, shift) = *self.crcs.borrow_mut().entry(count).or_insert_with(known);
        let mut header = self.header(count, records.len(), facts);
        let crc = shift.join(crc32c::crc32c(&header[header::ATTRIBUTES_AT..]), crc);
        put(&mut header, header::CRC_AT, crc.to_be_bytes());
        header
    }

    /// Writes the first `count` records, marked, into `out`, and gives their header.
    pub fn marked(
        &self,
        times: &Times,
        facts: BatchFacts,
        marking: &Marking,
        out: &mut Vec<u8>,
    ) -> [u8; HEADER_BYTES] {
        let count = times.count();
        out.clear();
        out.extend_from_slice(self.front(count));
        let mut random = fastrand::Rng::with_seed(marking.seed);
        for (index, place) in (0..count).zip(&self.places) {
            let (before, value) = out[..place.end].split_at_mut(place.value_at);
            let key = &mut before[place.key_at..place.key_at + self.key_bytes];
            if marking.keys != Keys::None {
                payload::write_key(key, marking.keys.draw(&mut random));
            }
            // The last byte is the number of headers.
            let value = value.split_last_mut().map_or(&mut [][..], |(_, value)| value);
            let stamp = Stamp {
                unix_ns: marking.epoch_ns + times.at(index),
                run: marking.identity.0,
                producer: marking.identity.1,
                sequence: marking.sequence + u64::from(index),
            };
            stamp.write(marking.stamping, key, value);
        }
        if self.compression != Compression::None {
            *out = self.compress(out);
        }
        let mut header = self.header(count, out.len(), facts);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[header::ATTRIBUTES_AT..]), out);
        put(&mut header, header::CRC_AT, crc.to_be_bytes());
        header
    }

    fn header(&self, count: u32, records_bytes: usize, facts: BatchFacts) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let length = HEADER_BYTES - header::LENGTH_OVERHEAD + records_bytes;
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        put(&mut out, header::LENGTH_AT, i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
        put(&mut out, header::LEADER_EPOCH_AT, (-1_i32).to_be_bytes());
        put(&mut out, header::MAGIC_AT, header::MAGIC.to_be_bytes());
        put(&mut out, header::ATTRIBUTES_AT, i16::from(self.compression as u8).to_be_bytes());
        put(&mut out, header::LAST_OFFSET_DELTA_AT, (count - 1).to_be_bytes());
        put(&mut out, header::BASE_TIMESTAMP_AT, facts.timestamp.to_be_bytes());
        put(&mut out, header::MAX_TIMESTAMP_AT, facts.timestamp.to_be_bytes());
        put(&mut out, header::PRODUCER_ID_AT, facts.producer.0.to_be_bytes());
        put(&mut out, header::PRODUCER_EPOCH_AT, facts.producer.1.to_be_bytes());
        put(&mut out, header::BASE_SEQUENCE_AT, facts.base_sequence.to_be_bytes());
        put(&mut out, header::RECORD_COUNT_AT, count.to_be_bytes());
        out
    }
}

/// Records that are sent as they are.
#[derive(Debug)]
pub enum Plain<'a> {
    /// The template's own.
    Borrowed(&'a [u8]),
    /// Compressed once.
    Compressed(std::rc::Rc<Vec<u8>>),
}

impl std::ops::Deref for Plain<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Compressed(bytes) => bytes,
        }
    }
}

fn put<const N: usize>(out: &mut [u8; HEADER_BYTES], at: usize, bytes: [u8; N]) {
    out[at..at + N].copy_from_slice(&bytes);
}

/// Appends a record without headers; where its key and its value begin.
fn append(payload: &mut Vec<u8>, index: usize, key: &[u8], value: &[u8]) -> (usize, usize) {
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut front = vec![0];
    varint::write(&mut front, 0);
    varint::write(&mut front, signed(index));
    varint::write(&mut front, if key.is_empty() { -1 } else { signed(key.len()) });
    let mut middle = Vec::new();
    varint::write(&mut middle, signed(value.len()));
    varint::write(payload, signed(front.len() + key.len() + middle.len() + value.len() + 1));
    payload.extend_from_slice(&front);
    let key_at = payload.len();
    payload.extend_from_slice(key);
    payload.extend_from_slice(&middle);
    let value_at = payload.len();
    payload.extend_from_slice(value);
    payload.push(0);
    (key_at, value_at)
}

#[cfg(test)]
mod tests {
    use model::batch::{ProduceRules, RecordBatch, Records, validate_produce};

    use super::*;
    use crate::payload::Sizes;
    use crate::stamp::Checked;

    fn facts(base_sequence: i32) -> BatchFacts {
        let producer = if base_sequence < 0 { (-1, -1) } else { (70, 3) };
        BatchFacts { timestamp: 1_700_000_000_000, producer, base_sequence }
    }

    fn rules() -> ProduceRules {
        ProduceRules {
            bytes_max: 1 << 20,
            now: model::TimestampMs(1_700_000_000_000),
            timestamp_before_ms_max: i64::MAX,
            timestamp_after_ms_max: 1000,
            log_append_time: false,
            transactions: false,
            zstd: true,
            keys: false,
        }
    }

    fn template(keys: Keys, compression: Compression) -> Template {
        let mut values = Values::new(Sizes::Range(40, 400), 0.5, 32, 1).unwrap();
        Template::new(&mut values, keys, compression, 16 << 10)
    }

    #[test]
    fn brokers_accept_whole_and_short_batches() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let template = template(Keys::None, compression);
            assert!(template.records() > 20);
            for count in [1, 2, template.records() / 2, template.records()] {
                for sequence in [-1, 9] {
                    let records = template.plain(count);
                    let header = template.plain_header(count, &records, facts(sequence));
                    let batch = [&header[..], &records].concat();
                    validate_produce(&batch, &rules()).unwrap();
                    let (batch, rest) = RecordBatch::parse(&batch).unwrap();
                    assert!(rest.is_empty());
                    assert_eq!(batch.record_count(), i32::try_from(count).unwrap());
                    assert_eq!((batch.base_sequence(), batch.compression()), (sequence, Ok(compression)));
                }
            }
        }
    }

    #[test]
    fn batches_are_as_large_as_asked() {
        let mut values = Values::new(Sizes::Fixed(1000), 0.0, 0, 1).unwrap();
        let full = Template::new(&mut values, Keys::None, Compression::None, 100_000);
        let size = HEADER_BYTES + full.payload.len();
        assert!((98_900..=100_000).contains(&size), "{size}");
        assert_eq!(full.content_bytes(full.records()), 1000 * u64::from(full.records()));
        // One record at least, whatever its size.
        assert_eq!(Template::new(&mut values, Keys::None, Compression::None, 10).records(), 1);
    }

    #[test]
    fn marked_records_carry_their_stamps_and_keys() {
        for compression in [Compression::None, Compression::Lz4] {
            let template = template(Keys::Uniform(50), compression);
            let marking = Marking {
                stamping: Stamping::Full,
                keys: Keys::Uniform(50),
                identity: (77, 4),
                sequence: 1000,
                epoch_ns: 5_000_000,
                seed: 3,
            };
            let times = Times::Spaced { first: 100.0, step: 10.0, count: 7 };
            let mut records = Vec::new();
            let header = template.marked(&times, facts(0), &marking, &mut records);
            let whole = [&header[..], &records].concat();
            validate_produce(&whole, &rules()).unwrap();
            let mut plain = Vec::new();
            crate::codec::decompress(compression, &records, &mut plain).unwrap();
            let mut seen = 0;
            for (index, record) in (0..).zip(Records::new(&plain, 7)) {
                let record = record.unwrap();
                let key = record.key.unwrap();
                assert!(key.len() == payload::KEY_BYTES && key.starts_with(b"k0000000000"));
                let Checked::Good(stamp) = Stamp::check(key, record.value.unwrap(), 77) else { panic!() };
                assert_eq!((stamp.run, stamp.producer, stamp.sequence), (77, 4, 1000 + index));
                assert_eq!(stamp.unix_ns, 5_000_100 + 10 * index);
                seen += 1;
            }
            assert_eq!(seen, 7);
            // Sent again, it is the same to the last byte.
            let mut again = Vec::new();
            assert_eq!(template.marked(&times, facts(0), &marking, &mut again), header);
            assert_eq!(again, records);
        }
    }
}
