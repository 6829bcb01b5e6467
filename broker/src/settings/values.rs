//! Text to numbers, booleans and sizes, with errors that name key, value and place.

use std::str::FromStr;

use coordination::settings::broker;

use crate::config::{Config, ConfigError};

/// Reads single values: as written, else the default of the setting's row. Their type and range were checked by that row.
pub struct Reader<'a>(pub &'a Config);

impl<'a> Reader<'a> {
    /// The text of `key`; an empty one counts as not given.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let default = || broker::named(key).and_then(|setting| setting.default);
        let written = self.0.get(key).map(|written| written.value.as_str());
        written.or_else(default).filter(|value| !value.is_empty())
    }

    /// A number.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        let number = self.text(key).and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.0.error(key, "wants a number that fits"))
    }

    /// Whether it is true.
    #[must_use]
    pub fn boolean(&self, key: &str) -> bool {
        self.text(key) == Some("true")
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
