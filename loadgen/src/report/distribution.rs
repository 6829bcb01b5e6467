//! Histograms at rest: a few percentiles for people, all of it as HdrHistogram's compressed V2 in base64 for tools.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Percentiles of one second. All but the count are microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Points {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 99 % are.
    pub p99: u64,
    /// 99.9 % are.
    pub p999: u64,
    /// All are.
    pub max: u64,
}

impl Points {
    /// Of a histogram; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Points> {
        (!histogram.is_empty()).then(|| Points {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        })
    }
}

/// The distribution of a whole run. All but the count are microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 90 % are.
    pub p90: u64,
    /// 99 % are.
    pub p99: u64,
    /// 99.9 % are.
    pub p999: u64,
    /// 99.99 % are.
    pub p9999: u64,
    /// All are.
    pub max: u64,
    /// The whole histogram: V2, deflated, base64, as in an interval log.
    pub hdr: String,
}

impl Distribution {
    /// Of a histogram; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Distribution> {
        (!histogram.is_empty()).then(|| Distribution {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            p9999: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
            hdr: STANDARD.encode(pack(histogram)),
        })
    }

    /// The histogram it was made of.
    pub fn histogram(&self) -> Result<Histogram<u64>, String> {
        let bytes = STANDARD.decode(&self.hdr).map_err(|e| format!("histogram is not base64: {e}"))?;
        unpack(&bytes)
    }
}

/// HdrHistogram's V2, deflated.
pub fn pack(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a vector takes every write");
    bytes
}

/// What [`pack`] made.
pub fn unpack(bytes: &[u8]) -> Result<Histogram<u64>, String> {
    Deserializer::new().deserialize(&mut &*bytes).map_err(|e| format!("histogram cannot be read: {e}"))
}

/// The percentile curve: pairs of `1 / (1 - quantile)` and microseconds, rising in both, ending with the maximum at the
/// count of values, which is as far as so many values can tell.
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut points = Vec::new();
    if histogram.is_empty() {
        return points;
    }
    let end = (histogram.len() as f64).max(1.0);
    for value in histogram.iter_quantiles(8) {
        let x = 1.0 / (1.0 - value.quantile_iterated_to());
        if !x.is_finite() || x >= end {
            break;
        }
        points.push((x, value.value_iterated_to().min(histogram.max())));
    }
    points.push((end, histogram.max()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::interval::histogram;

    fn ramp() -> Histogram<u64> {
        let mut h = histogram();
        for value in 1..=10_000 {
            h.saturating_record(value);
        }
        h
    }

    /// Within the three digits a histogram keeps.
    fn close(actual: u64, expected: u64) -> bool {
        actual.abs_diff(expected) * 1000 <= expected
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let d = Distribution::of(&ramp()).expect("not empty");
        assert_eq!((d.count, d.min), (10_000, 1));
        for (actual, expected) in [
            (d.p50, 5_000),
            (d.p90, 9_000),
            (d.p99, 9_900),
            (d.p999, 9_990),
            (d.p9999, 9_999),
            (d.max, 10_000),
        ] {
            assert!(close(actual, expected), "{actual} is not {expected}");
        }
        let p = Points::of(&ramp()).expect("not empty");
        assert_eq!((p.p50, p.p99, p.p999, p.max), (d.p50, d.p99, d.p999, d.max));
        assert!((p.mean - 5_000.5).abs() < 5.0);
    }

    #[test]
    fn nothing_has_no_percentiles() {
        assert!(Points::of(&histogram()).is_none() && Distribution::of(&histogram()).is_none());
        assert!(curve(&histogram()).is_empty());
    }

    #[test]
    fn a_histogram_comes_back_whole() {
        let d = Distribution::of(&ramp()).expect("not empty");
        assert_eq!(d.histogram().expect("readable"), ramp());
    }

    #[test]
    fn broken_histograms_are_errors() {
        let mut d = Distribution::of(&ramp()).expect("not empty");
        let whole = d.hdr.clone();
        for broken in ["", "AAAA", "not base64!", &whole[..whole.len() / 2 / 4 * 4], &whole[4..]] {
            d.hdr = broken.to_owned();
            assert!(d.histogram().is_err(), "{broken}");
        }
    }

    #[test]
    fn the_curve_rises_and_ends_at_the_maximum() {
        let curve = curve(&ramp());
        assert!(curve.len() > 50, "{} points", curve.len());
        assert!(curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{curve:?}");
        assert_eq!(curve.first().map(|p| p.0), Some(1.0));
        let (x, us) = *curve.last().expect("not empty");
        assert!((x - 10_000.0).abs() < 1e-6 && close(us, 10_000));
        let at_99 = curve.iter().find(|p| p.0 >= 100.0).expect("a point at 99 %");
        assert!(at_99.1 >= 9_890 && at_99.1 <= 9_940, "{at_99:?}");
    }

    #[test]
    fn one_value_makes_a_curve() {
        let mut h = histogram();
        h.saturating_record(7);
        assert_eq!(curve(&h), [(1.0, 7)]);
    }
}
