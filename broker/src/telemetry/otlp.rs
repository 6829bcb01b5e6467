//! OpenTelemetry metrics (`MetricsData` of OTLP 1) read where they lie: what is made of them is bounded by whoever takes them.
//!
//! Numbers of fields: opentelemetry-proto, `metrics.proto`, `common.proto` and `resource.proto`.
#![deny(clippy::indexing_slicing)]

use std::fmt;

/// What is told of an attribute that is a list or a map.
const NESTED: &str = "...";
/// The values that a sum had since the last push, instead of since its beginning.
const DELTA: u64 = 1;

/// What is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not OTLP metrics")
    }
}

/// How values of a metric follow each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Up, from its beginning.
    Counter,
}

/// One value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// As an integer.
    Integer(i64),
    /// As a float.
    Float(f64),
}

/// One value of one metric.
#[derive(Debug)]
pub struct Point<'a> {
    /// The metric.
    pub name: &'a str,
    /// Of which kind.
    pub kind: Kind,
    /// What its client says of itself, and what the value is of: names and values.
    pub attributes: Vec<(&'a str, String)>,
    /// The value.
    pub value: Number,
}

/// Hands every point of `message` to `take`, until that fails. Histograms and sums since the last push are passed over.
///
/// # Errors
/// [`Malformed`], or what `take` fails with.
pub fn read<'a, E: From<Malformed>>(
    message: &'a [u8],
    mut take: impl FnMut(Point<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for resource_metrics in messages(message, 1) {
        let resource_metrics = resource_metrics?;
        let mut attributes = Vec::new();
        for resource in messages(resource_metrics, 1) {
            read_attributes(resource?, 1, &mut attributes)?;
        }
        for scope in messages(resource_metrics, 2) {
            for metric in messages(scope?, 2) {
                read_metric(metric?, &attributes, &mut take)?;
            }
        }
    }
    Ok(())
}

fn read_metric<'a, E: From<Malformed>>(
    metric: &'a [u8],
    attributes: &[(&'a str, String)],
    take: &mut impl FnMut(Point<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut name = "";
    for text in messages(metric, 1) {
        name = std::str::from_utf8(text?).map_err(|_| Malformed)?;
    }
    for gauge in messages(metric, 5) {
        read_points(gauge?, name, Kind::Gauge, attributes, take)?;
    }
    for sum in messages(metric, 7) {
        let sum = sum?;
        let (temporality, monotonic) = (last_varint(sum, 2)?, last_varint(sum, 3)? != 0);
        if temporality != DELTA {
            let kind = if monotonic { Kind::Counter } else { Kind::Gauge };
            read_points(sum, name, kind, attributes, take)?;
        }
    }
    Ok(())
}

fn read_points<'a, E: From<Malformed>>(
    data: &'a [u8],
    name: &'a str,
    kind: Kind,
    attributes: &[(&'a str, String)],
    take: &mut impl FnMut(Point<'a>) -> Result<(), E>,
) -> Result<(), E> {
    for point in messages(data, 1) {
        let point = point?;
        let mut value = None;
        for field in fields(point) {
            match field? {
                (4, Field::Fixed64(bits)) => value = Some(Number::Float(f64::from_bits(bits))),
                (6, Field::Fixed64(bits)) => value = Some(Number::Integer(bits.cast_signed())),
                _ => {}
            }
        }
        // A point may say that there is no value.
        if let Some(value) = value {
            let mut attributes = attributes.to_vec();
            read_attributes(point, 7, &mut attributes)?;
            take(Point { name, kind, attributes, value })?;
        }
    }
    Ok(())
}

/// The attributes that a message has in its field `number`.
fn read_attributes<'a>(
    message: &'a [u8],
    number: u64,
    attributes: &mut Vec<(&'a str, String)>,
) -> Result<(), Malformed> {
    for pair in messages(message, number) {
        let pair = pair?;
        let (mut key, mut value) = ("", String::new());
        for text in messages(pair, 1) {
            key = std::str::from_utf8(text?).map_err(|_| Malformed)?;
        }
        for any in messages(pair, 2) {
            value = read_value(any?)?;
        }
        if attributes.len() >= ATTRIBUTES_MAX {
            return Err(Malformed);
        }
        attributes.push((key, value));
    }
    Ok(())
}

/// Attributes of one point: those that clients have are some ten.
const ATTRIBUTES_MAX: usize = 64;

fn read_value(any: &[u8]) -> Result<String, Malformed> {
    let mut value = String::new();
    for field in fields(any) {
        value = match field? {
            (1, Field::Bytes(text)) => std::str::from_utf8(text).map_err(|_| Malformed)?.to_owned(),
            (2, Field::Varint(truth)) => (truth != 0).to_string(),
            (3, Field::Varint(number)) => number.cast_signed().to_string(),
            (4, Field::Fixed64(bits)) => f64::from_bits(bits).to_string(),
            _ => NESTED.to_owned(),
        };
    }
    Ok(value)
}

/// One field of a message (protobuf's encoding).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message with their numbers, in order, and an error behind the last one where it does not end there.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Field<'_>), Malformed>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or(Malformed))
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(rest)?;
    let field = match tag & 7 {
        0 => Field::Varint(varint(rest)?),
        1 => {
            let (bytes, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Field::Fixed64(u64::from_le_bytes(*bytes))
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            Field::Bytes(bytes)
        }
        5 => {
            let (_, behind) = rest.split_first_chunk::<4>()?;
            *rest = behind;
            Field::Fixed32
        }
        // Groups, which nobody writes any more.
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The messages, or texts, in the field `number`.
fn messages(message: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    fields(message).filter_map(move |field| match field {
        Ok((found, Field::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

/// The number in the field `number`; 0 where there is none.
fn last_varint(message: &[u8], number: u64) -> Result<u64, Malformed> {
    fields(message).try_fold(0, |last, field| match field? {
        (found, Field::Varint(value)) if found == number => Ok(value),
        _ => Ok(last),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field that is a message or a text.
    pub(in crate::telemetry) fn nested(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            field.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        field.push(u8::try_from(length).unwrap());
        field.extend_from_slice(bytes);
        field
    }

    pub(in crate::telemetry) fn attribute(number: u8, key: &str, value: &str) -> Vec<u8> {
        let any = nested(2, &nested(1, value.as_bytes()));
        nested(number, &[nested(1, key.as_bytes()), any].concat())
    }

    fn fixed64(number: u8, bits: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &bits.to_le_bytes()].concat()
    }

    pub(in crate::telemetry) fn float(value: f64, attributes: &[Vec<u8>]) -> Vec<u8> {
        nested(1, &[attributes.concat(), fixed64(4, value.to_bits())].concat())
    }

    pub(in crate::telemetry) fn integer(value: i64) -> Vec<u8> {
        nested(1, &fixed64(6, value.cast_unsigned()))
    }

    /// A metric with its data, which is a gauge (5) or a sum (7).
    pub(in crate::telemetry) fn metric(name: &str, data: u8, points: &[Vec<u8>]) -> Vec<u8> {
        nested(2, &[nested(1, name.as_bytes()), nested(data, &points.concat())].concat())
    }

    /// A message of one resource and one scope.
    pub(in crate::telemetry) fn message(resource: &[Vec<u8>], metrics: &[Vec<u8>]) -> Vec<u8> {
        nested(1, &[nested(1, &resource.concat()), nested(2, &metrics.concat())].concat())
    }

    type Read = Vec<(String, Kind, Vec<(String, String)>, Number)>;

    fn all(bytes: &[u8]) -> Result<Read, Malformed> {
        let mut points = Vec::new();
        read(bytes, |point: Point<'_>| {
            let attributes = point.attributes.into_iter().map(|(key, value)| (key.to_owned(), value));
            points.push((point.name.to_owned(), point.kind, attributes.collect(), point.value));
            Ok::<_, Malformed>(())
        })?;
        Ok(points)
    }

    #[test]
    fn gauges_and_sums_are_read_with_what_they_are_of() {
        const MONOTONIC: [u8; 2] = [3 << 3, 1];
        const SINCE_LAST: [u8; 2] = [2 << 3, 1];
        let resource = [attribute(1, "client_rack", "r1")];
        let topic = attribute(7, "topic", "t");
        let metrics = [
            metric("a.gauge", 5, &[float(1.5, &[topic]), nested(1, &[])]),
            metric("a.sum", 7, &[MONOTONIC.to_vec(), integer(-3)]),
            metric("since.last", 7, &[integer(1), SINCE_LAST.to_vec(), MONOTONIC.to_vec()]),
            metric("a.histogram", 9, &[integer(1)]),
        ];
        let rack = ("client_rack".to_owned(), "r1".to_owned());
        let of_topic = vec![rack.clone(), ("topic".to_owned(), "t".to_owned())];
        let expected = vec![
            ("a.gauge".to_owned(), Kind::Gauge, of_topic, Number::Float(1.5)),
            ("a.sum".to_owned(), Kind::Counter, vec![rack], Number::Integer(-3)),
        ];
        assert_eq!(all(&message(&resource, &metrics)), Ok(expected));
        assert_eq!(all(&[]), Ok(vec![]));
    }

    #[test]
    fn values_of_attributes_are_told_as_text() {
        let any = |bytes: &[u8]| read_value(bytes);
        assert_eq!(any(&nested(1, b"text")).as_deref(), Ok("text"));
        assert_eq!(any(&[2 << 3, 1]).as_deref(), Ok("true"));
        assert_eq!(any(&[3 << 3, 42]).as_deref(), Ok("42"));
        assert_eq!(any(&fixed64(4, 2.5_f64.to_bits())).as_deref(), Ok("2.5"));
        assert_eq!(any(&nested(5, b"")).as_deref(), Ok(NESTED));
        assert_eq!(any(&nested(1, b"\xff")), Err(Malformed));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_wherever_they_end() {
        let whole = message(
            &[attribute(1, "k", "v")],
            &[metric("m", 5, &[float(1.0, &[attribute(7, "topic", "t")])])],
        );
        assert!(all(&whole).is_ok_and(|points| points.len() == 1));
        for end in 1..whole.len() {
            assert_eq!(all(&whole[..end]), Err(Malformed), "{end}");
        }
        for wrong in [
            &[0x0b][..],
            &[0x0f],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(all(wrong), Err(Malformed), "{wrong:?}");
        }
        let many: Vec<_> = (0..=ATTRIBUTES_MAX).map(|_| attribute(1, "k", "v")).collect();
        assert_eq!(all(&message(&many, &[])), Err(Malformed));
    }
}
