//! Points as OpenMetrics text: one line each, by metric.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write};
use std::sync::Arc;

use coordination::telemetry::Client;

use super::otlp::{self, Kind, Malformed, Number, Point};

/// Text that one push may become.
const TEXT_BYTES_MAX: usize = 2 << 20;
/// What a line takes beside its text.
const LINE_BYTES: usize = 64;

/// What one client pushed, by metric.
#[derive(Debug, Default)]
pub struct Families {
    by_name: BTreeMap<String, Family>,
    bytes: usize,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    /// Values by labels.
    values: BTreeMap<String, Number>,
}

/// Why a push is not taken.
#[derive(Debug)]
pub enum Refused {
    /// See there.
    Malformed,
    /// It would be text of more than [`TEXT_BYTES_MAX`].
    TooLarge,
}

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => Malformed.fmt(f),
            Self::TooLarge => write!(f, "more than {TEXT_BYTES_MAX} bytes of metrics as text"),
        }
    }
}

impl Families {
    /// What a push says.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(client: &Client, message: &[u8]) -> Result<Self, Refused> {
        let mut families = Self::default();
        otlp::read(message, |point| families.add(client, point))?;
        Ok(families)
    }

    /// Memory it takes, about.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, client: &Client, point: Point<'_>) -> Result<(), Refused> {
        let name = plain(point.name.strip_suffix(".total").unwrap_or(point.name));
        let labels = labels(client, point.attributes);
        self.bytes += name.len() + labels.len() + LINE_BYTES;
        if self.bytes > TEXT_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let family = Family { kind: point.kind, values: BTreeMap::new() };
        let family = self.by_name.entry(name).or_insert(family);
        if family.kind == point.kind {
            family.values.insert(labels, point.value);
        }
        Ok(())
    }
}

/// All clients' metrics as one text, and how many clients there are. Where clients do not agree on the kind of a metric, the first
/// ones' values are told.
pub fn joined(pushed: &[Arc<Families>], clients: usize, bytes: usize) -> String {
    let mut by_name: BTreeMap<&str, (Kind, Vec<&Family>)> = BTreeMap::new();
    for (name, family) in pushed.iter().flat_map(|families| &families.by_name) {
        match by_name.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert((family.kind, vec![family]));
            }
            Entry::Occupied(mut entry) if entry.get().0 == family.kind => entry.get_mut().1.push(family),
            Entry::Occupied(_) => {}
        }
    }
    let mut text = String::new();
    let _ = write_all(&mut text, &by_name, clients, bytes);
    text
}

/// Writing to a string does not fail.
fn write_all(
    text: &mut String,
    by_name: &BTreeMap<&str, (Kind, Vec<&Family>)>,
    clients: usize,
    bytes: usize,
) -> fmt::Result {
    writeln!(text, "# HELP millrace_telemetry_clients Clients whose metrics are known or asked for.")?;
    writeln!(text, "# TYPE millrace_telemetry_clients gauge\nmillrace_telemetry_clients {clients}")?;
    writeln!(text, "# HELP millrace_telemetry_bytes Memory of what clients pushed.")?;
    writeln!(text, "# TYPE millrace_telemetry_bytes gauge\nmillrace_telemetry_bytes {bytes}")?;
    for (name, (kind, families)) in by_name {
        let (kind, suffix) = match kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        writeln!(text, "# TYPE {name} {kind}")?;
        for (labels, value) in families.iter().flat_map(|family| &family.values) {
            write!(text, "{name}{suffix}{{{labels}}} ")?;
            match value {
                Number::Integer(value) => writeln!(text, "{value}")?,
                Number::Float(value) if value.is_nan() => writeln!(text, "NaN")?,
                Number::Float(value) if value.is_infinite() && *value > 0.0 => writeln!(text, "+Inf")?,
                Number::Float(value) if value.is_infinite() => writeln!(text, "-Inf")?,
                Number::Float(value) => writeln!(text, "{value}")?,
            }
        }
    }
    writeln!(text, "# EOF")
}

/// Labels by name, each once: what the client is known by wins over what it says.
fn labels(client: &Client, attributes: Vec<(&str, String)>) -> String {
    let said = attributes.into_iter().map(|(name, value)| (plain(name), value));
    let mut labels: BTreeMap<String, String> = said.collect();
    labels.insert("client_instance_id".to_owned(), client.instance_text.clone());
    labels.insert("client_id".to_owned(), client.id.clone());
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

/// A name that Prometheus takes: letters, digits and underscores.
fn plain(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let mut plain: String = name.chars().map(letter).collect();
    if plain.is_empty() || plain.starts_with(|first: char| first.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    plain
}
