//! Contents of records: sizes, compressibility, keys. Made once, before anything is measured.

use std::path::PathBuf;
use std::str::FromStr;

use crate::units::{self, real, whole};

/// Sizes of values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// All the same.
    Fixed(usize),
    /// Uniform between these, inclusive.
    Range(usize, usize),
    /// The lines of a file, in order and again.
    Lines(PathBuf),
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::Lines(PathBuf::from(path)));
        }
        match text.split_once('-') {
            None => units::size(text).map(Self::Fixed),
            Some((low, high)) => match (units::size(low)?, units::size(high)?) {
                (low, high) if low <= high => Ok(Self::Range(low, high)),
                _ => Err(format!("the range `{text}` ends before it begins")),
            },
        }
    }
}

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size} B"),
            Self::Range(low, high) => write!(f, "{low}-{high} B"),
            Self::Lines(path) => write!(f, "lines of {}", path.display()),
        }
    }
}

/// Keys of records.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Keys {
    /// None at all.
    None,
    /// Each of so many as likely as any other.
    Uniform(u64),
    /// The k-th of so many with a likelihood of 1 / k^s.
    Zipf(u64, f64),
}

/// Bytes of a key: `k` and twelve digits.
pub const KEY_BYTES: usize = 13;

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let kind = parts.next().unwrap_or_default();
        let mut number = || match parts.next().map(units::count) {
            Some(Ok(keys)) if keys > 0 => Ok(keys),
            Some(Err(error)) => Err(error),
            _ => Err("how many keys? as in uniform:1000".to_owned()),
        };
        let keys = match kind {
            "none" => Self::None,
            "uniform" => Self::Uniform(number()?),
            "zipf" => {
                let keys = number()?;
                let exponent = parts.next().unwrap_or("1").parse().map_err(|_| "no such exponent")?;
                if !(0.01..=10.0).contains(&exponent) {
                    return Err("the exponent must be between 0.01 and 10".to_owned());
                }
                Self::Zipf(keys, exponent)
            }
            _ => return Err(format!("`{text}` is neither none nor uniform:N nor zipf:N[:S]")),
        };
        if parts.next().is_some() { Err(format!("`{text}` says too much")) } else { Ok(keys) }
    }
}

impl std::fmt::Display for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Uniform(keys) => write!(f, "{keys} uniform"),
            Self::Zipf(keys, exponent) => write!(f, "{keys} zipf, exponent {exponent}"),
        }
    }
}

impl Keys {
    /// Which key, from 0.
    pub fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        match *self {
            Self::None => 0,
            Self::Uniform(keys) => random.u64(0..keys),
            Self::Zipf(keys, exponent) => zipf(keys, exponent, random),
        }
    }

    /// Bytes of every key.
    pub const fn bytes(&self) -> usize {
        if matches!(self, Self::None) { 0 } else { KEY_BYTES }
    }
}

/// By inversion of the continuous distribution with the same exponent, floored: cheap, without tables, and within a few
/// percent of Zipf's own likelihoods, which is what a load needs.
fn zipf(keys: u64, exponent: f64, random: &mut fastrand::Rng) -> u64 {
    let (top, at) = (real(keys) + 1.0, random.f64());
    let drawn = if (exponent - 1.0).abs() < 1e-9 {
        top.powf(at)
    } else {
        let power = 1.0 - exponent;
        (1.0 + at * (top.powf(power) - 1.0)).powf(1.0 / power)
    };
    whole(drawn - 1.0).unwrap_or(0).min(keys - 1)
}

/// Writes key number `key` in its fixed form.
pub fn write_key(out: &mut [u8], mut key: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(key % 10).unwrap_or(0);
        key /= 10;
    }
    if let Some(first) = out.first_mut() {
        *first = b'k';
    }
}

/// Makes values.
#[derive(Debug)]
pub struct Values {
    sizes: Sizes,
    lines: Vec<Vec<u8>>,
    next_line: usize,
    /// Random bytes of every piece of [`PIECE`], the others are filler.
    random_part: f64,
    size_min: usize,
    random: fastrand::Rng,
}

/// Small enough for every codec to find the filler, large enough for it to be worth a reference.
const PIECE: usize = 64;

impl Values {
    /// Values of these sizes, but not below `size_min` (what stamps need).
    ///
    /// # Errors
    /// The file of lines cannot be read, or is empty.
    pub fn new(sizes: Sizes, compressibility: f64, size_min: usize, seed: u64) -> Result<Self, String> {
        let mut lines = Vec::new();
        if let Sizes::Lines(path) = &sizes {
            let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            lines.extend(
                text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec),
            );
            if lines.is_empty() {
                return Err(format!("{} has no lines", path.display()));
            }
        }
        let random = fastrand::Rng::with_seed(seed);
        Ok(Self { sizes, lines, next_line: 0, random_part: 1.0 - compressibility, size_min, random })
    }

    /// Bytes of a value on average.
    pub fn mean_bytes(&self) -> f64 {
        let at_least = |size: usize| real(size.max(self.size_min) as u64);
        match &self.sizes {
            Sizes::Fixed(size) => at_least(*size),
            Sizes::Range(low, high) => at_least(*low).midpoint(at_least(*high)),
            Sizes::Lines(_) => {
                self.lines.iter().map(|line| at_least(line.len())).sum::<f64>()
                    / real(self.lines.len() as u64)
            }
        }
    }

    /// The next value.
    pub fn next(&mut self, value: &mut Vec<u8>) {
        value.clear();
        match self.sizes {
            Sizes::Fixed(size) => self.fill(value, size),
            Sizes::Range(low, high) => {
                let size = self.random.usize(low..=high);
                self.fill(value, size);
            }
            Sizes::Lines(_) => {
                value.extend_from_slice(&self.lines[self.next_line % self.lines.len()]);
                self.next_line += 1;
            }
        }
        if value.len() < self.size_min {
            value.resize(self.size_min, b' ');
        }
    }

    fn fill(&mut self, value: &mut Vec<u8>, size: usize) {
        value.resize(size, b'.');
        for piece in value.chunks_mut(PIECE) {
            let random = whole(real(piece.len() as u64) * self.random_part + 0.5).unwrap_or(0);
            let random = usize::try_from(random).unwrap_or(0).min(piece.len());
            self.random.fill(&mut piece[..random]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::compress;
    use model::batch::Compression;

    #[test]
    fn sizes_and_keys_are_read() {
        assert_eq!("1KiB".parse(), Ok(Sizes::Fixed(1024)));
        assert_eq!("100-1k".parse(), Ok(Sizes::Range(100, 1000)));
        assert_eq!("@a-b".parse(), Ok(Sizes::Lines("a-b".into())));
        assert!("9-3".parse::<Sizes>().is_err());
        assert_eq!("zipf:1k:0.9".parse(), Ok(Keys::Zipf(1000, 0.9)));
        assert_eq!("uniform:5".parse(), Ok(Keys::Uniform(5)));
        for wrong in ["", "uniform", "uniform:0", "zipf:5:99", "uniform:5:5", "odd:1"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_compress_as_far_as_asked() {
        for share in [0.0, 0.5, 0.9] {
            let mut values = Values::new(Sizes::Fixed(4096), share, 0, 3).unwrap();
            let (mut all, mut value) = (Vec::new(), Vec::new());
            for _ in 0..50 {
                values.next(&mut value);
                all.extend_from_slice(&value);
            }
            let small = compress(Compression::Zstd, &all).unwrap().len();
            let left = small as f64 / all.len() as f64;
            assert!((left - (1.0 - share)).abs() < 0.1, "{left} of compressibility {share}");
        }
    }

    #[test]
    fn sizes_are_kept() {
        let mut values = Values::new(Sizes::Range(5, 60), 0.0, 10, 3).unwrap();
        let mut value = Vec::new();
        let mut seen = [false; 61];
        for _ in 0..2000 {
            values.next(&mut value);
            seen[value.len()] = true;
        }
        assert!(seen[10..].iter().all(|seen| *seen) && !seen[..10].contains(&true));
    }

    #[test]
    fn keys_are_as_likely_as_asked() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut count = |keys: Keys| {
            let mut counts = vec![0_u32; 100];
            (0..100_000).for_each(|_| counts[usize::try_from(keys.draw(&mut random)).unwrap()] += 1);
            counts
        };
        let uniform = count(Keys::Uniform(100));
        assert!(uniform.iter().all(|count| (800..1200).contains(count)));
        let zipf = count(Keys::Zipf(100, 1.0));
        assert!(zipf[0] > 5 * zipf[9] && zipf[9] > 3 * zipf[90] && zipf[99] > 0, "{zipf:?}");
        let mut key = [0; KEY_BYTES];
        write_key(&mut key, 1234);
        assert_eq!(&key, b"k000000001234");
    }
}
