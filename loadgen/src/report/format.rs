//! Numbers as a person reads them. MB is 10^6 bytes, everywhere.

/// Microseconds with a unit that keeps about three digits: `870 us`, `3.42 ms`, `1.02 s`.
pub fn latency(us: u64) -> String {
    let value = us as f64;
    if us < 1_000 {
        format!("{us} us")
    } else if us < 1_000_000 {
        format!("{} ms", three_digits(value / 1e3))
    } else {
        format!("{} s", three_digits(value / 1e6))
    }
}

/// About three digits, never an exponent: `1.23`, `12.3`, `123`, `12,345`.
pub fn three_digits(value: f64) -> String {
    let size = value.abs();
    if size >= 999.5 {
        group(&format!("{value:.0}"))
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A count with separators: `1,234,567`.
pub fn count(value: u64) -> String {
    group(&value.to_string())
}

/// A rate per second without decimals, with separators.
pub fn rate(value: f64) -> String {
    if value < 10.0 && value > 0.0 { format!("{value:.2}") } else { group(&format!("{value:.0}")) }
}

/// Bytes as MB with one decimal below a thousand: `0.3`, `812.5`, `12,345`.
pub fn megabytes(bytes: f64) -> String {
    let value = bytes / 1e6;
    if value >= 999.95 { group(&format!("{value:.0}")) } else { format!("{value:.1}") }
}

/// A part of one as percent: `93 %`, `0.4 %`.
pub fn percent(part: f64) -> String {
    let value = part * 100.0;
    if value > 0.0 && value < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// Seconds as a clock for a progress bar: `42 s`, `3:07`, `1:02:07`.
pub fn clock(seconds: f64) -> String {
    let total = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).map_or(0, |d| d.as_secs());
    let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes}:{rest:02}"),
        _ => format!("{hours}:{minutes:02}:{rest:02}"),
    }
}

/// `part` of `whole`, zero when there is no whole: for rates over a time that may be nothing.
pub fn per(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Separates digits by threes in a decimal number without a fraction.
fn group(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_a_person_expects_it() {
        for (us, text) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1.00 ms"),
            (12_345, "12.3 ms"),
            (999_999, "1,000 ms"),
            (1_000_000, "1.00 s"),
            (600_000_000, "600 s"),
        ] {
            assert_eq!(latency(us), text);
        }
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(rate(1_234_567.6), "1,234,568");
        assert_eq!(rate(0.25), "0.25");
        assert_eq!(three_digits(-1234.0), "-1,234");
    }

    #[test]
    fn a_megabyte_is_a_million_bytes() {
        assert_eq!(megabytes(1_000_000.0), "1.0");
        assert_eq!(megabytes(2_500_000_000.0), "2,500");
    }

    #[test]
    fn clocks_and_parts() {
        assert_eq!(clock(59.9), "59 s");
        assert_eq!(clock(187.0), "3:07");
        assert_eq!(clock(3727.0), "1:02:07");
        assert_eq!(clock(f64::NAN), "0 s");
        assert_eq!(percent(0.934), "93 %");
        assert_eq!(percent(0.004), "0.4 %");
        assert_eq!(per(1.0, 0.0), 0.0);
    }
}
