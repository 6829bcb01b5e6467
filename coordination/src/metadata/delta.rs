//! The records of the metadata log: every change there is, and its bytes (drawn in `docs/formats/metadata.md`).
//!
//! Integers are little-endian. A text is its length in bytes as u16, then UTF-8. A record type keeps its number for
//! ever; a version adds fields at the end.
#![deny(clippy::indexing_slicing)]

use model::{BrokerId, TopicId};

use super::configs::Overrides;

/// What a setting belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// One topic.
    Topic(TopicId),
    /// One broker.
    Broker(BrokerId),
    /// All brokers.
    Brokers,
    /// One group, by its id; it need not exist.
    Group(String),
    /// One subscription to clients' metrics, by its name; it exists when something is set on it.
    ClientMetrics(String),
}

/// One change of the metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A broker process started: lifts the epoch of all partitions it leads.
    Boot {
        /// Its number, one more than the last.
        boot: u32,
    },
    /// A topic exists.
    TopicCreated {
        /// Its identity for life.
        id: TopicId,
        /// Its name, unique among the living.
        name: String,
        /// Partitions 0 to this.
        partitions: u32,
        /// Settings given at creation.
        configs: Overrides,
    },
    /// A topic has more partitions.
    PartitionsAdded {
        /// Which topic.
        id: TopicId,
        /// How many it has now.
        partitions: u32,
    },
    /// A topic is gone; a tombstone stays until its files are.
    TopicDeleted {
        /// Which topic.
        id: TopicId,
    },
    /// The files of a deleted topic are gone, and with them its tombstone.
    TopicFilesRemoved {
        /// Which topic.
        id: TopicId,
    },
    /// A setting has another value.
    ConfigChanged {
        /// Whose.
        resource: Resource,
        /// Kafka's name of the setting.
        key: String,
        /// The new value; `None` is back to the default.
        value: Option<String>,
    },
    /// Producer ids below this are given out or lost.
    ProducerIdsReserved {
        /// First id that is still free.
        up_to: i64,
    },
    /// Somebody chose a feature's level.
    FeatureLevelChanged {
        /// Kafka's name of the feature.
        name: String,
        /// Its level from now on; 0 is without the feature.
        level: i16,
    },
}

/// Type numbers below this are the log's own (Raft's entries).
pub const RECORD_TYPE_MIN: u16 = 16;

const BOOT: u16 = 16;
const TOPIC_CREATED: u16 = 17;
const PARTITIONS_ADDED: u16 = 18;
const TOPIC_DELETED: u16 = 19;
const TOPIC_FILES_REMOVED: u16 = 20;
const CONFIG_CHANGED: u16 = 21;
const PRODUCER_IDS_RESERVED: u16 = 22;
const FEATURE_LEVEL_CHANGED: u16 = 23;

/// Longest name or value of a setting: its length has two bytes.
pub const TEXT_BYTES_MAX: usize = u16::MAX as usize;

const RESOURCE_TOPIC: u8 = 2;
const RESOURCE_BROKER: u8 = 4;
const RESOURCE_BROKERS: u8 = 5;
const RESOURCE_CLIENT_METRICS: u8 = 16;
const RESOURCE_GROUP: u8 = 32;
/// Since when `CONFIG_CHANGED` speaks of more than topics...
const CONFIG_CHANGED_OF_OTHERS: u16 = 1;
/// ...and of subscriptions to clients' metrics.
const CONFIG_CHANGED_OF_CLIENT_METRICS: u16 = 2;

/// A record as the log keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncodedRecord {
    /// Which record.
    pub kind: u16,
    /// Version of its layout.
    pub version: u16,
    /// Its fields.
    pub payload: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// Written by a newer program: type and version.
    Unknown(u16, u16),
    /// Too short, too long or not UTF-8: type, and what was being read.
    Malformed(u16, &'static str),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(kind, version) => {
                write!(f, "record type {kind} version {version} is of a newer program")
            }
            Self::Malformed(kind, field) => write!(f, "record type {kind}: malformed {field}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// Its bytes, in the newest version. Texts are cut at 65,535 bytes; all are far shorter.
    #[must_use]
    pub fn encode(&self) -> EncodedRecord {
        let mut out = Vec::new();
        let mut version = 0;
        let kind = match self {
            Self::Boot { boot } => {
                out.extend_from_slice(&boot.to_le_bytes());
                BOOT
            }
            Self::TopicCreated { id, name, partitions, configs } => {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&partitions.to_le_bytes());
                put_text(&mut out, name);
                let count = u16::try_from(configs.len()).unwrap_or(u16::MAX);
                out.extend_from_slice(&count.to_le_bytes());
                for (key, value) in configs.iter().take(usize::from(count)) {
                    put_text(&mut out, key);
                    put_text(&mut out, value);
                }
                TOPIC_CREATED
            }
            Self::PartitionsAdded { id, partitions } => {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&partitions.to_le_bytes());
                PARTITIONS_ADDED
            }
            Self::TopicDeleted { id } => {
                out.extend_from_slice(&id.0);
                TOPIC_DELETED
            }
            Self::TopicFilesRemoved { id } => {
                out.extend_from_slice(&id.0);
                TOPIC_FILES_REMOVED
            }
            Self::ConfigChanged { resource, key, value } => {
                version = put_resource(&mut out, resource);
                put_text(&mut out, key);
                out.push(u8::from(value.is_some()));
                if let Some(value) = value {
                    put_text(&mut out, value);
                }
                CONFIG_CHANGED
            }
            Self::ProducerIdsReserved { up_to } => {
                out.extend_from_slice(&up_to.to_le_bytes());
                PRODUCER_IDS_RESERVED
            }
            Self::FeatureLevelChanged { name, level } => {
                put_text(&mut out, name);
                out.extend_from_slice(&level.to_le_bytes());
                FEATURE_LEVEL_CHANGED
            }
        };
        EncodedRecord { kind, version, payload: out }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are of a newer program or are not what the type says.
    pub fn decode(kind: u16, version: u16, payload: &[u8]) -> Result<Self, RecordError> {
        let newest = if kind == CONFIG_CHANGED { CONFIG_CHANGED_OF_CLIENT_METRICS } else { 0 };
        if version > newest {
            return Err(RecordError::Unknown(kind, version));
        }
        let mut from = Reader { kind, rest: payload };
        let record = match kind {
            BOOT => Self::Boot { boot: from.u32("boot")? },
            TOPIC_CREATED => Self::TopicCreated {
                id: from.id()?,
                partitions: from.u32("partitions")?,
                name: from.text("name")?,
                configs: from.overrides()?,
            },
            PARTITIONS_ADDED => Self::PartitionsAdded { id: from.id()?, partitions: from.u32("partitions")? },
            TOPIC_DELETED => Self::TopicDeleted { id: from.id()? },
            TOPIC_FILES_REMOVED => Self::TopicFilesRemoved { id: from.id()? },
            CONFIG_CHANGED => Self::ConfigChanged {
                resource: from.resource(version)?,
                key: from.text("key")?,
                value: from.optional_text()?,
            },
            PRODUCER_IDS_RESERVED => {
                Self::ProducerIdsReserved { up_to: i64::from_le_bytes(from.take("up to")?) }
            }
            FEATURE_LEVEL_CHANGED => Self::FeatureLevelChanged {
                name: from.text("feature")?,
                level: i16::from_le_bytes(from.take("level")?),
            },
            _ => return Err(RecordError::Unknown(kind, version)),
        };
        if from.rest.is_empty() { Ok(record) } else { Err(RecordError::Malformed(kind, "end")) }
    }
}

/// Bytes of a whole state: records that rebuild it, each with its length, type and version before it.
#[must_use]
pub fn encode_state(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let EncodedRecord { kind, version, payload } = record.encode();
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&payload);
    }
    out
}

/// Reads what [`encode_state`] wrote.
///
/// # Errors
/// When the bytes are of a newer program or are no records.
pub fn decode_state(bytes: &[u8]) -> Result<Vec<Record>, RecordError> {
    let mut records = Vec::new();
    let mut from = Reader { kind: 0, rest: bytes };
    while !from.rest.is_empty() {
        let length = from.u32("length")?;
        let kind = u16::from_le_bytes(from.take("type")?);
        let version = u16::from_le_bytes(from.take("version")?);
        let malformed = RecordError::Malformed(kind, "length");
        let length = usize::try_from(length).map_err(|_| malformed.clone())?;
        let (payload, rest) = from.rest.split_at_checked(length).ok_or(malformed)?;
        records.push(Record::decode(kind, version, payload)?);
        from.rest = rest;
    }
    Ok(records)
}

/// Gives the record's version: the first that knows such a resource.
fn put_resource(out: &mut Vec<u8>, resource: &Resource) -> u16 {
    match resource {
        Resource::Topic(id) => {
            out.push(RESOURCE_TOPIC);
            out.extend_from_slice(&id.0);
            return 0;
        }
        Resource::Broker(node) => {
            out.push(RESOURCE_BROKER);
            out.extend_from_slice(&node.0.to_le_bytes());
        }
        Resource::Brokers => out.push(RESOURCE_BROKERS),
        Resource::Group(group) => {
            out.push(RESOURCE_GROUP);
            put_text(out, group);
        }
        Resource::ClientMetrics(name) => {
            out.push(RESOURCE_CLIENT_METRICS);
            put_text(out, name);
            return CONFIG_CHANGED_OF_CLIENT_METRICS;
        }
    }
    CONFIG_CHANGED_OF_OTHERS
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= TEXT_BYTES_MAX, "it was let in");
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend(text.bytes().take(usize::from(len)));
}

struct Reader<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(RecordError::Malformed(self.kind, field))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, RecordError> {
        Ok(u32::from_le_bytes(self.take(field)?))
    }

    fn id(&mut self) -> Result<TopicId, RecordError> {
        Ok(TopicId(self.take("topic id")?))
    }

    fn text(&mut self, field: &'static str) -> Result<String, RecordError> {
        let malformed = RecordError::Malformed(self.kind, field);
        let len = usize::from(u16::from_le_bytes(self.take(field)?));
        let (text, rest) = self.rest.split_at_checked(len).ok_or_else(|| malformed.clone())?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).map_err(|_| malformed)
    }

    fn optional_text(&mut self) -> Result<Option<String>, RecordError> {
        match self.take::<1>("value")? {
            [0] => Ok(None),
            [1] => self.text("value").map(Some),
            _ => Err(RecordError::Malformed(self.kind, "value")),
        }
    }

    fn overrides(&mut self) -> Result<Overrides, RecordError> {
        let count = u16::from_le_bytes(self.take("settings")?);
        let mut overrides = Overrides::new();
        for _ in 0..count {
            let key = self.text("setting")?;
            overrides.insert(key, self.text("setting")?);
        }
        Ok(overrides)
    }

    fn resource(&mut self, version: u16) -> Result<Resource, RecordError> {
        match (self.take::<1>("resource")?, version) {
            ([RESOURCE_TOPIC], _) => Ok(Resource::Topic(self.id()?)),
            ([RESOURCE_BROKER], 1..) => {
                Ok(Resource::Broker(BrokerId(i32::from_le_bytes(self.take("broker")?))))
            }
            ([RESOURCE_BROKERS], 1..) => Ok(Resource::Brokers),
            ([RESOURCE_GROUP], 1..) => Ok(Resource::Group(self.text("group")?)),
            ([RESOURCE_CLIENT_METRICS], 2..) => Ok(Resource::ClientMetrics(self.text("subscription")?)),
            _ => Err(RecordError::Malformed(self.kind, "resource")),
        }
    }
}

#[cfg(test)]
mod tests;
