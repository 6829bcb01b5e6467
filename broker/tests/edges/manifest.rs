//! The dependencies a `Cargo.toml` lists, with their lines, whichever of Cargo's spellings is used.

/// One dependency of any kind: normal, development, build or target.
#[derive(Debug)]
pub struct Dependency {
    /// Its key.
    pub name: String,
    /// What follows the key, or stands in its own table, for `package` and `path`.
    pub rest: String,
    /// From 1.
    pub line: usize,
}

impl Dependency {
    /// Whether this is our crate `ours`, by key, by package name or by directory.
    pub fn is(&self, ours: &str) -> bool {
        let package = format!("millrace-{ours}");
        self.name == ours
            || self.name == package
            || self.rest.contains(&format!("\"{package}\""))
            || self.rest.contains(&format!("\"../{ours}\""))
    }
}

const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// All of them in order.
pub fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    // Inside a table of dependencies, or inside the table of one (then its lines belong to the last found).
    let (mut in_list, mut in_one) = (false, false);
    for (index, text) in manifest.lines().enumerate() {
        let text = text.split('#').next().unwrap_or_default().trim();
        let line = index + 1;
        if let Some(header) = text.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            in_list = TABLES.iter().any(|table| header == *table || header.ends_with(&format!(".{table}")));
            let one = header.rsplit_once('.').filter(|(table, _)| {
                TABLES.iter().any(|name| table == name || table.ends_with(&format!(".{name}")))
            });
            in_one = one.is_some();
            if let Some((_, name)) = one {
                found.push(Dependency { name: unquote(name), rest: String::new(), line });
            }
        } else if let Some((key, rest)) = text.split_once('=') {
            if in_list {
                let name = unquote(key.trim().split('.').next().unwrap_or_default());
                found.push(Dependency { name, rest: rest.to_owned(), line });
            } else if in_one && let Some(last) = found.last_mut() {
                last.rest.push_str(rest);
            }
        }
    }
    found
}

fn unquote(text: &str) -> String {
    text.trim_matches(['"', '\'']).to_owned()
}
