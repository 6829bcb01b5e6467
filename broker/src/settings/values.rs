//! Text to numbers, booleans and sizes, with errors that name key, value and place.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::config::{Config, ConfigError};

/// Reads single values.
pub struct Reader<'a>(pub &'a Config);

impl<'a> Reader<'a> {
    /// The text of `key`; an empty one counts as not given.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|written| written.value.as_str()).filter(|value| !value.is_empty())
    }

    /// A number in `range`, or none.
    ///
    /// # Errors
    /// When it is none, or outside.
    pub fn optional<T>(&self, key: &str, range: RangeInclusive<T>) -> Result<Option<T>, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = (range.start(), range.end());
                Err(self.0.error(key, &format!("wants a number from {least} to {most}")))
            }
        }
    }

    /// A number in `range`, or `default`.
    ///
    /// # Errors
    /// As [`Self::optional`].
    pub fn number<T>(&self, key: &str, default: T, range: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display,
    {
        Ok(self.optional(key, range)?.unwrap_or(default))
    }

    /// `true` or `false` in any case, or `default`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.text(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.0.error(key, "wants true or false")),
        }
    }
}

const UNITS: [(&str, u32); 4] = [("", 0), ("k", 10), ("m", 20), ("g", 30)];

/// Bytes from `1073741824`, `512MiB`, `512m` or `1 GiB`; units are powers of 1024.
///
/// # Errors
/// A phrase that says what is wanted.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, shift)| *shift);
    let bytes =
        number.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "wants a size such as 512MiB or 1GiB".to_owned())
}

/// A size as a person would write it.
#[must_use]
pub fn shown(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            let whole = bytes >> shift;
            let tenth = ((bytes & ((1 << shift) - 1)) * 10) >> shift;
            return if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::{shown, size};

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64k", 64 << 10),
            ("512MiB", 512 << 20),
            ("512 mb", 512 << 20),
            ("1GiB", 1 << 30),
            ("2g", 2 << 30),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "1.5GiB", "1TiB", "99999999999g", "1 GiB extra"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(shown(1 << 30), "1 GiB");
        assert_eq!(shown(1536 << 20), "1.5 GiB");
        assert_eq!(shown(64 << 20), "64 MiB");
        assert_eq!(shown(512), "512 bytes");
    }
}
