//! Where a share partition begins that nobody read yet: `share.auto.offset.reset`.

use model::{Offset, TimestampMs};

/// What the setting says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoOffsetReset {
    /// Behind the last record.
    Latest,
    /// At the first record.
    Earliest,
    /// At the first record that is not older than this, in milliseconds.
    ByDuration(u64),
}

/// The offset that must be asked for before a partition can begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// None: the offset is known.
    At(Offset),
    /// The end of the log.
    LogEnd,
    /// The start of the log.
    LogStart,
    /// That of the first record of this time or later; the end of the log when there is none.
    Time(TimestampMs),
}

impl AutoOffsetReset {
    /// Reads the setting: `latest`, `earliest` or `by_duration:` and a duration in ISO 8601. `None` for anything else.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value.trim() {
            "latest" => Some(Self::Latest),
            "earliest" => Some(Self::Earliest),
            other => duration_ms(other.strip_prefix("by_duration:")?).map(Self::ByDuration),
        }
    }

    /// Where to begin when `start` is what is known and it is `wall` o'clock.
    #[must_use]
    pub fn begin(self, start: Offset, wall: TimestampMs) -> Begin {
        if start != Offset::NONE {
            return Begin::At(start);
        }
        match self {
            Self::Latest => Begin::LogEnd,
            Self::Earliest => Begin::LogStart,
            Self::ByDuration(ms) => {
                let ago = i64::try_from(ms).unwrap_or(i64::MAX);
                Begin::Time(TimestampMs(wall.0.saturating_sub(ago).max(0)))
            }
        }
    }
}

/// `PnDTnHnMn.nS` in milliseconds: whole numbers, seconds also with a fraction.
fn duration_ms(text: &str) -> Option<u64> {
    let text = text.strip_prefix('P').filter(|text| !text.is_empty() && !text.ends_with('T'))?;
    let (mut days, mut time) = text.split_once('T').unwrap_or((text, ""));
    let days_ms = take(&mut days, 'D')?.checked_mul(86_400)?;
    let hours_ms = take(&mut time, 'H')?.checked_mul(3600)?;
    let minutes_ms = take(&mut time, 'M')?.checked_mul(60)?;
    let seconds_ms = take(&mut time, 'S')?;
    let sum = days_ms.checked_add(hours_ms)?.checked_add(minutes_ms)?.checked_add(seconds_ms)?;
    (days.is_empty() && time.is_empty()).then_some(sum)
}

/// Takes a number with its unit from the front, in thousandths of the unit; 0 when there is none.
fn take(rest: &mut &str, unit: char) -> Option<u64> {
    let Some((number, behind)) = rest.split_once(unit) else { return Some(0) };
    *rest = behind;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let may_have_fraction = unit == 'S' || whole.len() == number.len();
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || !may_have_fraction {
        return None;
    }
    let fraction = fraction.get(..3).unwrap_or(fraction);
    format!("{whole}{fraction:0<3}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let by = |ms| Some(AutoOffsetReset::ByDuration(ms));
        for (value, expected) in [
            ("latest", Some(AutoOffsetReset::Latest)),
            (" earliest ", Some(AutoOffsetReset::Earliest)),
            ("by_duration:PT1H30M", by(5_400_000)),
            ("by_duration:P2DT0.5S", by(172_800_500)),
            ("by_duration:PT1.23456S", by(1234)),
            ("by_duration:P1D", by(86_400_000)),
            ("by_duration:P", None),
            ("by_duration:PT", None),
            ("by_duration:P1DT", None),
            ("by_duration:PT1.5H", None),
            ("by_duration:PT1M1H", None),
            ("by_duration:P-1D", None),
            ("by_duration:P99999999999999999999D", None),
            ("by_duration:P99999999999999999D", None),
            ("by_duration:PTS", None),
            ("none", None),
        ] {
            assert_eq!(AutoOffsetReset::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_known_goes_before_the_setting() {
        let wall = TimestampMs(1000);
        let begin = |reset: AutoOffsetReset, start| reset.begin(Offset(start), wall);
        assert_eq!(begin(AutoOffsetReset::Latest, 7), Begin::At(Offset(7)));
        assert_eq!(begin(AutoOffsetReset::Latest, -1), Begin::LogEnd);
        assert_eq!(begin(AutoOffsetReset::Earliest, -1), Begin::LogStart);
        assert_eq!(begin(AutoOffsetReset::ByDuration(400), -1), Begin::Time(TimestampMs(600)));
        assert_eq!(begin(AutoOffsetReset::ByDuration(4000), -1), Begin::Time(TimestampMs(0)));
    }
}
