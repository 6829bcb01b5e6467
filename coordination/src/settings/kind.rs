//! Types of values, with Kafka's ranges and Kafka's sentences for what is outside.

use std::collections::BTreeSet;
use std::str::FromStr;

/// Type of a value, and which values of it there are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// 16 bits, at least this.
    Short(i16),
    /// 32 bits, at least and at most this.
    Int(i32, i32),
    /// 32 bits: -1, or at least and at most this.
    IntOrMinusOne(i32, i32),
    /// 64 bits, at least this.
    Long(i64),
    /// At least and at most this.
    Double(f64, f64),
    /// Any text.
    Text,
    /// Any text but none.
    SomeText,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in any case.
    ChoiceAnyCase(&'static [&'static str]),
    /// `latest`, `earliest`, or `by_duration:` and a duration in ISO 8601.
    OffsetReset,
    /// Some of these words, separated by commas; any words when there are none here.
    List(&'static [&'static str]),
    /// `*`, or pairs `partition:broker` separated by commas.
    Replicas,
    /// Name of a Java class.
    Class,
    /// A secret: never told.
    Password,
}

const DURATION: &str =
    "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";

impl Kind {
    /// Kafka's name of the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Short(_) => "SHORT",
            Self::Int(..) | Self::IntOrMinusOne(..) => "INT",
            Self::Long(_) => "LONG",
            Self::Double(..) => "DOUBLE",
            Self::Text | Self::SomeText | Self::Choice(_) | Self::ChoiceAnyCase(_) | Self::OffsetReset => {
                "STRING"
            }
            Self::List(_) | Self::Replicas => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// Whether words can be added to a value and taken from it.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::Replicas)
    }

    /// The words of a value: those of a list, else the value.
    pub fn words(self, value: &str) -> impl Iterator<Item = &str> {
        let separator = if self.is_list() { ',' } else { '\0' };
        value.split(separator).map(str::trim)
    }

    /// `value` as Kafka would tell it.
    ///
    /// # Errors
    /// Kafka's sentence on what is wrong with it.
    pub(super) fn take(self, name: &str, value: &str) -> Result<String, String> {
        let trimmed = value.trim();
        let invalid = |why: String| format!("Invalid value {trimmed} for configuration {name}: {why}");
        match self {
            Self::Boolean => match trimmed.to_ascii_lowercase() {
                word if word == "true" || word == "false" => Ok(word),
                _ => Err(invalid("Expected value to be either true or false".into())),
            },
            Self::Short(min) => self.number(trimmed, min, i16::MAX).map_err(invalid),
            Self::Int(min, max) => self.number(trimmed, min, max).map_err(invalid),
            Self::IntOrMinusOne(min, max) => match self.number(trimmed, i32::MIN, i32::MAX) {
                Ok(text) if text == "-1" || self.number(&text, min, max).is_ok() => Ok(text),
                Ok(_) => Err(invalid(format!("Value must be between {min} and {max} or equal to -1"))),
                Err(why) => Err(invalid(why)),
            },
            Self::Long(min) => self.number(trimmed, min, i64::MAX).map_err(invalid),
            Self::Double(min, max) => {
                self.number(trimmed, min, max).map(|_| trimmed.to_owned()).map_err(invalid)
            }
            Self::Text | Self::Class => Ok(trimmed.to_owned()),
            Self::SomeText if trimmed.is_empty() => Err(invalid("String must be non-empty".into())),
            Self::SomeText => Ok(trimmed.to_owned()),
            Self::Choice(words) => one_of(words, words.contains(&trimmed), trimmed).map_err(invalid),
            Self::ChoiceAnyCase(words) => {
                let is = words.iter().any(|word| word.eq_ignore_ascii_case(trimmed));
                one_of(words, is, trimmed).map_err(invalid)
            }
            Self::OffsetReset if is_offset_reset(trimmed) => Ok(trimmed.to_owned()),
            Self::OffsetReset => {
                Err(invalid(format!("Invalid value `{trimmed}` for configuration {name}. {DURATION}")))
            }
            Self::List(_) | Self::Replicas => self.list(name, trimmed),
            // As it is: a secret may begin with a space.
            Self::Password => Ok(value.to_owned()),
        }
    }

    fn number<T: FromStr + PartialOrd + ToString>(
        self,
        text: &str,
        min: T,
        max: T,
    ) -> Result<String, String> {
        match text.parse::<T>() {
            Ok(number) if number < min => Err(format!("Value must be at least {}", min.to_string())),
            Ok(number) if number > max => Err(format!("Value must be no more than {}", max.to_string())),
            Ok(number) if number >= min => Ok(number.to_string()),
            _ => Err(format!("Not a number of type {}", self.name())),
        }
    }

    fn list(self, name: &str, value: &str) -> Result<String, String> {
        if value.is_empty() {
            return Ok(String::new());
        }
        let mut words: Vec<&str> = self.words(value).collect();
        if matches!(self, Self::List(_)) {
            // What is named twice counts where it is first.
            let mut seen = BTreeSet::new();
            words.retain(|word| seen.insert(*word));
        }
        if words.iter().any(|word| word.is_empty()) {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        match self {
            Self::Replicas if words != ["*"] && !words.iter().all(|word| is_replica(word)) => Err(format!(
                "Invalid value [{}] for configuration {name}: {name} must be the literal '*' or a list of replicas in the \
                 following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                words.join(", ")
            )),
            Self::List(allowed) if !allowed.is_empty() => {
                match words.iter().find(|word| !allowed.contains(word)) {
                    None => Ok(words.join(",")),
                    Some(word) => {
                        let allowed = allowed.join(", ");
                        Err(format!(
                            "Invalid value {word} for configuration {name}: String must be one of: {allowed}"
                        ))
                    }
                }
            }
            _ => Ok(words.join(",")),
        }
    }
}

fn one_of(words: &[&str], is: bool, value: &str) -> Result<String, String> {
    if is { Ok(value.to_owned()) } else { Err(format!("String must be one of: {}", words.join(", "))) }
}

fn is_replica(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}

fn is_offset_reset(value: &str) -> bool {
    match value.split_once(':') {
        None => matches!(value, "latest" | "earliest"),
        Some((kind, duration)) => kind == "by_duration" && is_duration(duration),
    }
}

/// `PnDTnHnMn.nS`, each part at most once and in this order, at least one of them; no sign.
fn is_duration(text: &str) -> bool {
    let Some(text) = text.strip_prefix('P') else { return false };
    let (days, time) = text.split_once('T').map_or((text, None), |(days, time)| (days, Some(time)));
    let mut parts = 0;
    let mut rest = days;
    let mut take = |rest: &mut &str, unit: char, fraction: bool| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || fraction && c == '.')).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        if let Some(behind) = behind.strip_prefix(unit)
            && number.parse::<f64>().is_ok()
        {
            *rest = behind;
            parts += 1;
        }
    };
    take(&mut rest, 'D', false);
    if !rest.is_empty() {
        return false;
    }
    let Some(mut rest) = time else { return parts > 0 };
    take(&mut rest, 'H', false);
    take(&mut rest, 'M', false);
    take(&mut rest, 'S', true);
    rest.is_empty() && parts > 0 && time != Some("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, value: &str) -> String {
        match kind.take("x.y", value) {
            Ok(taken) => taken,
            Err(why) => why.replace(&format!("Invalid value {} for configuration x.y: ", value.trim()), "!"),
        }
    }

    /// Each pair was asked of Apache Kafka 4.3.1.
    #[test]
    fn values_are_judged_as_kafka_judges_them() {
        let long = Kind::Long(-1);
        assert_eq!(told(long, " 77 "), "77");
        assert_eq!(told(long, "-2"), "!Value must be at least -1");
        assert_eq!(told(long, "soon"), "!Not a number of type LONG");
        assert_eq!(told(long, ""), "!Not a number of type LONG");
        let int = Kind::Int(1 << 20, i32::MAX);
        assert_eq!(told(int, "5"), "!Value must be at least 1048576");
        assert_eq!(told(int, "99999999999"), "!Not a number of type INT");
        assert_eq!(told(Kind::Int(1, 17), "18"), "!Value must be no more than 17");
        let level = Kind::IntOrMinusOne(1, 9);
        assert_eq!((told(level, "-1"), told(level, "9")), ("-1".into(), "9".into()));
        for wrong in ["0", "10"] {
            assert_eq!(told(level, wrong), "!Value must be between 1 and 9 or equal to -1");
        }
        let ratio = Kind::Double(0.0, 1.0);
        assert_eq!(told(ratio, "1.5"), "!Value must be no more than 1");
        assert_eq!(told(ratio, "-0.5"), "!Value must be at least 0");
        assert_eq!(
            (told(ratio, "x"), told(ratio, "NaN")),
            (told(ratio, "x"), "!Not a number of type DOUBLE".into())
        );
        assert_eq!(told(Kind::Boolean, "TRUE"), "true");
        assert_eq!(told(Kind::Boolean, "yes"), "!Expected value to be either true or false");
        assert_eq!(told(Kind::Choice(&["a", "b"]), "c"), "!String must be one of: a, b");
        assert_eq!(told(Kind::ChoiceAnyCase(&["A"]), "a"), "a");
    }

    #[test]
    fn lists_are_judged_word_by_word() {
        let policy = Kind::List(&["compact", "delete"]);
        assert_eq!(told(policy, "shred"), "!String must be one of: compact, delete");
        assert_eq!(told(policy, " delete , compact"), "delete,compact");
        assert_eq!(told(policy, " delete , "), "Configuration 'x.y' values must not be empty.");
        assert_eq!(told(policy, "delete, compact,delete"), "delete,compact", "Kafka warns, and takes it");
        assert_eq!(
            (told(policy, ""), told(Kind::List(&[]), "any, thing")),
            (String::new(), "any,thing".into())
        );
        for right in ["", "*", "0:1,1:1"] {
            assert_eq!(told(Kind::Replicas, right), right);
        }
        for wrong in ["x", "*,0:1", "0:", "0:1:2", "none"] {
            assert!(told(Kind::Replicas, wrong).contains("must be the literal '*'"), "{wrong}");
        }
    }

    #[test]
    fn offsets_are_reset_to_an_end_or_a_time() {
        for right in ["latest", "earliest", "by_duration:P1D", "by_duration:PT1H30M", "by_duration:P2DT0.5S"]
        {
            assert_eq!(told(Kind::OffsetReset, right), right);
        }
        for wrong in
            ["never", "by_duration:1D", "by_duration:P", "by_duration:PT", "by_duration:P1DT", "x:P1D"]
        {
            assert!(told(Kind::OffsetReset, wrong).contains("must be either"), "{wrong}");
        }
    }
}
