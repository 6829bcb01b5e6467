//! What was written: keys and text from the configuration file, `--set` and flags, with where each came from. What it
//! means is decided in `settings.rs`.

pub mod files;
pub mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use coordination::settings::Effect;
use keys::Class;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// In the configuration file, at this line when the format tells.
    File(String, Option<usize>),
    /// By `--set`.
    Set,
    /// By a flag of its own.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name, Some(line)) => write!(f, "{name}:{line}"),
            Self::File(name, None) => write!(f, "{name}"),
            Self::Set => write!(f, "--set"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A value as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The text, trimmed.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
}

/// A sentence for whoever wrote the configuration; ends the process with exit code 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One value given by a flag: its key, the flag and the text.
pub type FlagValue = (&'static str, &'static str, String);

/// All that was written, one value per key.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Config {
    values: BTreeMap<String, Written>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads `file`, lets `sets` (`KEY=VALUE`) win over it and `flags` over both.
    ///
    /// # Errors
    /// When the file cannot be read, a `KEY=VALUE` is none, a key is unknown, or a flag and `--set` contradict each other.
    pub fn gather(file: Option<&Path>, sets: &[String], flags: Vec<FlagValue>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = file {
            for (key, value, origin) in files::read(path)? {
                config.put(key, &value, origin);
            }
        }
        for set in sets {
            let (key, value) =
                set.split_once('=').ok_or_else(|| ConfigError(format!("--set {set}: wants KEY=VALUE")))?;
            config.put(key.trim().to_owned(), value, Origin::Set);
        }
        for (key, flag, value) in flags {
            if config.values.get(key).is_some_and(|written| written.origin == Origin::Set) {
                return Err(ConfigError(format!(
                    "{flag} and --set {key} say the same thing: give one of them"
                )));
            }
            config.put(key.to_owned(), &value, Origin::Flag(flag));
        }
        config.judge()?;
        Ok(config)
    }

    fn put(&mut self, key: String, value: &str, origin: Origin) {
        self.values.insert(key, Written { value: value.trim().to_owned(), origin });
    }

    /// Refuses unknown keys and values that are none, and notes what is without meaning.
    fn judge(&mut self) -> Result<(), ConfigError> {
        let mut taken = BTreeMap::new();
        let mut warnings = Vec::new();
        for (key, written) in &self.values {
            let origin = &written.origin;
            let mut value = written.value.clone();
            match keys::classify(key) {
                Class::Known(setting) => {
                    value = keys::take(setting, &value).map_err(|why| self.error(key, &why))?;
                    if let Effect::Kept(why) = setting.in_effect() {
                        warnings.push(format!("{key} ({origin}) has no effect: {why}"));
                    }
                }
                Class::Ignored(why) => warnings.push(format!("{key} ({origin}) has no effect: {why}")),
                Class::Unknown => {
                    let nearest = keys::nearest(key);
                    return Err(ConfigError(format!(
                        "{key} ({origin}): unknown key; the nearest known one is {nearest}"
                    )));
                }
            }
            taken.insert(key.clone(), Written { value, origin: origin.clone() });
        }
        self.values = taken;
        self.warnings = warnings;
        Ok(())
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Written> {
        self.values.get(key)
    }

    /// All keys and values, sorted by key.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, written)| (key.as_str(), written.value.as_str()))
    }

    /// One sentence per key of Kafka's that has no meaning here.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// An error about the value of `key`, saying where it stands.
    #[must_use]
    pub fn error(&self, key: &str, why: &str) -> ConfigError {
        match self.get(key) {
            Some(Written { value, origin }) => ConfigError(format!("{key}={value} ({origin}): {why}")),
            None => ConfigError(format!("{key}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(pairs: &[&str]) -> Vec<String> {
        pairs.iter().map(|pair| (*pair).to_owned()).collect()
    }

    #[test]
    fn set_wins_over_the_file_and_flags_over_both() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("server.properties");
        std::fs::write(&file, "num.partitions=2\nlisteners=PLAINTEXT://:1\nnode.id=7\n").unwrap();
        let flags = vec![("listeners", "--listen", "127.0.0.1:0".to_owned())];
        let config =
            Config::gather(Some(&file), &sets(&["num.partitions = 3 ", "num.partitions=4"]), flags).unwrap();
        assert_eq!(config.get("num.partitions").unwrap().value, "4", "the last --set wins");
        assert_eq!(config.get("listeners").unwrap().value, "127.0.0.1:0");
        let node = config.get("node.id").unwrap();
        assert_eq!((node.value.as_str(), node.origin.to_string()), ("7", format!("{}:3", file.display())));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest() {
        let error = Config::gather(None, &sets(&["log.retenton.ms=1"]), vec![]).unwrap_err();
        assert_eq!(
            error.0,
            "log.retenton.ms (--set): unknown key; the nearest known one is log.retention.ms"
        );
        assert!(Config::gather(None, &sets(&["num.partitions"]), vec![]).is_err(), "no value");
    }

    #[test]
    fn a_key_without_meaning_gives_one_warning() {
        let config = Config::gather(None, &sets(&["num.io.threads=8", "num.io.threads=9"]), vec![]).unwrap();
        assert_eq!(config.warnings().len(), 1);
        assert!(config.warnings()[0].starts_with("num.io.threads (--set) has no effect: "));
    }

    #[test]
    fn a_flag_and_a_set_must_not_contradict() {
        let flags = vec![("listeners", "--listen", "127.0.0.1:1".to_owned())];
        let error = Config::gather(None, &sets(&["listeners=PLAINTEXT://:2"]), flags).unwrap_err();
        assert!(error.0.contains("--listen"), "{error}");
    }
}
