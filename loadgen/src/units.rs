//! What people write on a command line, as numbers: sizes, rates, durations, ranges.

use std::fmt;
use std::time::Duration;

/// Splits a number off its unit and applies it. `k`, `M`, `G` are powers of 1000; `Ki`, `Mi`, `Gi` of 1024.
fn scaled(text: &str, units: &[&str]) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a number with one of the units {}", units.join(", "));
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim();
    if !unit.is_empty() && !units.contains(&unit) {
        return Err(wrong());
    }
    let power = |base: f64| match unit.chars().next().map(|c| c.to_ascii_uppercase()) {
        Some('K') => base,
        Some('M') => base * base,
        Some('G') => base * base * base,
        _ => 1.0,
    };
    Ok(number * power(if unit.contains('i') { 1024.0 } else { 1000.0 }))
}

/// Whole bytes: `1024`, `128KiB`, `1MB`.
pub fn size(text: &str) -> Result<usize, String> {
    let bytes = scaled(text, &["B", "k", "K", "kB", "KB", "KiB", "M", "MB", "MiB", "G", "GB", "GiB"])?;
    whole(bytes).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| format!("`{text}` is too large"))
}

/// A number of things: `1000`, `10k`, `5M`.
pub fn count(text: &str) -> Result<u64, String> {
    whole(scaled(text, &["k", "K", "M", "G"])?).ok_or_else(|| format!("`{text}` is too large"))
}

/// A positive real number as the next smaller whole one.
pub fn whole(number: f64) -> Option<u64> {
    // Above 2^53 a real number does not know its units any more.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
    (0.0..=9.0e15).contains(&number).then_some(number as u64)
}

/// A whole number as a real one; exact below 2^53, which is a hundred days in nanoseconds.
#[allow(clippy::cast_precision_loss, reason = "said above")]
pub const fn real(number: u64) -> f64 {
    number as f64
}

/// How fast.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rate {
    /// Records a second.
    Records(f64),
    /// Bytes of keys and values a second.
    Bytes(f64),
}

impl Rate {
    /// In records of `mean_bytes` each.
    pub fn records(self, mean_bytes: f64) -> f64 {
        match self {
            Self::Records(records) => records,
            Self::Bytes(bytes) => bytes / mean_bytes.max(1.0),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => write!(f, "{records} records/s"),
            Self::Bytes(bytes) => write!(f, "{} MB/s", bytes / 1e6),
        }
    }
}

/// `50000`, `50k`: records; `50MB`, `50MiB/s`: bytes.
pub fn rate(text: &str) -> Result<Rate, String> {
    let plain = text.strip_suffix("/s").unwrap_or(text);
    let rate = if plain.ends_with('B') {
        Rate::Bytes(scaled(plain, &["B", "kB", "KB", "KiB", "MB", "MiB", "GB", "GiB"])?)
    } else {
        Rate::Records(scaled(plain, &["k", "K", "M", "G"])?)
    };
    match rate {
        Rate::Records(number) | Rate::Bytes(number) if number > 0.0 => Ok(rate),
        _ => Err("a rate must be above zero".to_owned()),
    }
}

/// `30s`, `5m`, `100ms`, `1h30m`; a plain number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A duration in whole nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A fraction from 0 to 1.
pub fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(fraction),
        _ => Err(format!("`{text}` is not between 0 and 1")),
    }
}

/// A percentage, `10` or `10%`, as a fraction from 0 to 1.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not between 0 and 100")),
    }
}

/// CPUs as in `1`, `0-3`, `0,2,4-5`.
pub fn cpus(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("`{text}` is no list of CPUs as in 0-3,8");
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if last < first || last - first > 4096 {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        assert_eq!(size("100"), Ok(100));
        assert_eq!(size("128KiB"), Ok(131_072));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(size("0.5 MiB"), Ok(524_288));
        assert_eq!(count("10k"), Ok(10_000));
        for wrong in ["", "x", "10 parsecs", "1e99", "-5", "KiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_of_records_or_of_bytes() {
        assert_eq!(rate("50k"), Ok(Rate::Records(50_000.0)));
        assert_eq!(rate("0.5"), Ok(Rate::Records(0.5)));
        assert_eq!(rate("50MB"), Ok(Rate::Bytes(50e6)));
        assert_eq!(rate("1MiB/s"), Ok(Rate::Bytes(1_048_576.0)));
        assert!((rate("50MB").unwrap().records(1000.0) - 50_000.0).abs() < 1e-6);
        assert!(rate("0").is_err() && rate("fast").is_err());
    }

    #[test]
    fn durations_fractions_and_cpus() {
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("-1").is_err() && duration("soon").is_err());
        assert!(fraction("1.1").is_err() && fraction("0.25").is_ok());
        assert_eq!((percent("25"), percent("0.5%")), (Ok(0.25), Ok(0.005)));
        assert!(percent("101").is_err() && percent("all").is_err());
        assert_eq!(cpus("0,2-3"), Ok(vec![0, 2, 3]));
        assert!(cpus("3-1").is_err() && cpus("").is_err() && cpus("0-99999999").is_err());
    }
}
