//! Configuration files: Kafka's `server.properties` and TOML with the same keys.

use std::fs;
use std::path::Path;

use super::{ConfigError, Origin};

/// A configuration file is text somebody wrote; more than this is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

type Entries = Vec<(String, String, Origin)>;

/// All keys and values of a file in order; the extension says which format it has.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn read(path: &Path) -> Result<Entries, ConfigError> {
    let failed = |why: &dyn std::fmt::Display| ConfigError(format!("--config {}: {why}", path.display()));
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(&format!("has {size} bytes, a configuration file has at most {FILE_BYTES_MAX}")));
    }
    let bytes = fs::read(path).map_err(|error| failed(&error))?;
    let name = path.display().to_string();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("properties") => properties(&bytes, &name).map_err(|why| failed(&why)),
        Some("toml") => toml(&bytes, &name).map_err(|why| failed(&why)),
        _ => Err(failed(&"its name must end in .properties or .toml")),
    }
}

/// Java's format: latin-1, continuation lines, escapes. A key given twice has its last value, as in Java.
fn properties(bytes: &[u8], name: &str) -> Result<Entries, String> {
    let mut entries = Vec::new();
    for line in java_properties::PropertiesIter::new(bytes) {
        let line = line.map_err(|error| error.to_string())?;
        let number = line.line_number();
        if let java_properties::LineContent::KVPair(key, value) = line.consume_content() {
            entries.push((key, value, Origin::File(name.to_owned(), Some(number))));
        }
    }
    Ok(entries)
}

/// Dotted keys and tables are the same thing: `[log]` with `segment.bytes` is `log.segment.bytes`. A key that is also the
/// start of another one (`max.connections`) is written in quotes.
fn toml(bytes: &[u8], name: &str) -> Result<Entries, String> {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut entries = Vec::new();
    flatten("", &table, name, &mut entries)?;
    Ok(entries)
}

fn flatten(prefix: &str, table: &toml::Table, name: &str, into: &mut Entries) -> Result<(), String> {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        if let toml::Value::Table(inner) = value {
            flatten(&key, inner, name, into)?;
        } else {
            let text = scalar(value)
                .ok_or_else(|| format!("{key}: neither text, number, boolean nor a list of these"))?;
            into.push((key, text, Origin::File(name.to_owned(), None)));
        }
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(is) => Some(is.to_string()),
        toml::Value::Array(list) => {
            list.iter().map(scalar).collect::<Option<Vec<_>>>().map(|list| list.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: Entries) -> Vec<(String, String)> {
        entries.into_iter().map(|(key, value, _)| (key, value)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = b"# comment\n! another\nnode.id = 1\nlisteners:PLAINTEXT://\\\n    localhost:9092\nrack=caf\xe9\n\n";
        let entries = properties(text, "f").unwrap();
        assert_eq!(entries[2].2, Origin::File("f".into(), Some(6)));
        let expected = [("node.id", "1"), ("listeners", "PLAINTEXT://localhost:9092"), ("rack", "caf\u{e9}")];
        assert_eq!(pairs(entries), owned(&expected));
    }

    #[test]
    fn toml_tables_are_dotted_keys() {
        let text =
            b"\"max.connections\" = 5\nmax.connections.per.ip = 3\nauto.create.topics.enable = false\n\
            listeners = [\"PLAINTEXT://:1\", \"CONTROLLER://:2\"]\n[log]\nsegment.bytes = 1048576\n";
        let mut entries = pairs(toml(text, "f").unwrap());
        entries.sort();
        let expected = [
            ("auto.create.topics.enable", "false"),
            ("listeners", "PLAINTEXT://:1,CONTROLLER://:2"),
            ("log.segment.bytes", "1048576"),
            ("max.connections", "5"),
            ("max.connections.per.ip", "3"),
        ];
        assert_eq!(entries, owned(&expected));
        assert!(toml(b"node.id = 2020-01-01", "f").unwrap_err().starts_with("node.id: "));
        assert!(toml(b"node.id =", "f").is_err());
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.conf");
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err().0.contains(".properties or .toml"));
        assert!(read(&directory.path().join("none.toml")).is_err());
    }
}
