//! The table of edges: which crate may know which, who may name glommio, what the pure crates must not touch.
//!
//! It lives with `broker` because that is the only crate above all others. It reads text and builds nothing, and every
//! rule is shown to fail on a bad sample before it is trusted on the tree.

#[path = "edges/manifest.rs"]
mod manifest;
#[path = "edges/paths.rs"]
mod paths;
#[path = "edges/tokens.rs"]
mod tokens;

use std::fmt;
use std::path::{Path, PathBuf};

/// One crate of the workspace: what it is called in manifests, and what it may do.
struct Room {
    /// Directory, library name and key in `[workspace.dependencies]`.
    name: &'static str,
    /// Ours that it may depend on, tests and benches included.
    may_depend_on: &'static [&'static str],
    /// Files, or directories ending in `/`, that may name glommio.
    may_name_glommio: &'static [&'static str],
    /// Files, or directories ending in `/`, that may name tokio or axum: the auxiliary thread, and the
    /// channels that start and stop everything, which work on any executor.
    may_name_tokio: &'static [&'static str],
    /// No file, socket, thread or clock, and nothing async.
    pure: bool,
}

const ROOMS: &[Room] = &[
    Room { name: "model", may_depend_on: &[], may_name_glommio: &[], may_name_tokio: &[], pure: true },
    Room {
        name: "protocol",
        may_depend_on: &["model"],
        may_name_glommio: &[],
        may_name_tokio: &[],
        pure: true,
    },
    Room {
        name: "coordination",
        may_depend_on: &["model"],
        may_name_glommio: &[],
        may_name_tokio: &[],
        pure: true,
    },
    Room {
        name: "storage",
        may_depend_on: &["model"],
        may_name_glommio: &[
            "src/disk/uring.rs",
            "src/disk/helper.rs",
            "src/disk/uring/",
            "benches/",
            "tests/",
        ],
        may_name_tokio: &[],
        pure: false,
    },
    Room {
        name: "net",
        may_depend_on: &["model", "protocol"],
        may_name_glommio: &["src/listener.rs", "src/stream.rs"],
        may_name_tokio: &[],
        pure: false,
    },
    Room {
        name: "shard",
        may_depend_on: &["model", "coordination", "storage", "net"],
        may_name_glommio: &["src/executor.rs", "src/mesh.rs", "src/clock.rs"],
        may_name_tokio: &[],
        pure: false,
    },
    Room {
        name: "loadgen",
        may_depend_on: &["model", "protocol", "net"],
        may_name_glommio: &["src/run.rs"],
        may_name_tokio: &[],
        pure: false,
    },
    Room {
        name: "broker",
        may_depend_on: &["model", "protocol", "coordination", "storage", "net", "shard"],
        may_name_glommio: &["src/boot.rs"],
        may_name_tokio: &["src/admin.rs", "src/admin/", "src/boot.rs", "src/boot/", "src/shutdown.rs"],
        pure: false,
    },
];

/// What a pure crate's sources must not reach, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "a file"),
    ("std::net", "a socket"),
    ("std::os", "the operating system"),
    ("std::process", "a process"),
    ("std::env", "the environment"),
    ("std::thread", "a thread"),
    ("std::time::Instant", "a clock"),
    ("std::time::SystemTime", "a clock"),
    ("tokio", "a runtime"),
    ("glommio", "a runtime"),
    ("libc", "the operating system"),
    ("socket2", "a socket"),
];

/// Libraries of a runtime that a pure crate's manifest must not list either.
const IMPURE_CRATES: &[&str] = &["tokio", "glommio", "libc", "socket2", "axum", "futures-lite"];

/// A rule broken, at a place an editor can jump to.
#[derive(Debug, PartialEq)]
struct Breach {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

fn allowed(list: &[&str], file: &str) -> bool {
    list.iter().any(|entry| if entry.ends_with('/') { file.starts_with(entry) } else { file == *entry })
}

/// Breaches of one manifest. `names` are all crates of ours.
fn judge_manifest(room: &Room, names: &[&str], text: &str) -> Vec<(usize, String)> {
    let mut breaches = Vec::new();
    for dependency in manifest::dependencies(text) {
        let ours = names.iter().find(|name| dependency.is(name));
        if let Some(name) = ours
            && !room.may_depend_on.contains(name)
        {
            breaches.push((dependency.line, format!("{} may not depend on {name}", room.name)));
        }
        if room.pure && IMPURE_CRATES.contains(&dependency.name.as_str()) {
            breaches.push((dependency.line, format!("{} is pure: no {}", room.name, dependency.name)));
        }
        if dependency.name.starts_with("glommio") && room.may_name_glommio.is_empty() && !room.pure {
            breaches.push((dependency.line, format!("{} may not depend on glommio", room.name)));
        }
    }
    breaches
}

/// Breaches of one source file, named relative to its crate.
fn judge_source(room: &Room, file: &str, text: &str) -> Vec<(usize, String)> {
    let tokens = tokens::tokens(text);
    let mut breaches = Vec::new();
    let in_src = file.starts_with("src/");
    for token in &tokens {
        if token.text == "glommio" && !allowed(room.may_name_glommio, file) {
            breaches.push((token.line, format!("{}/{file} may not name glommio", room.name)));
        }
        if (token.text == "tokio" || token.text == "axum") && !allowed(room.may_name_tokio, file) && in_src {
            breaches.push((token.line, format!("{}/{file} may not name {}", room.name, token.text)));
        }
        if room.pure && in_src && (token.text == "async" || token.text == "await") {
            breaches.push((token.line, format!("{} is pure: nothing {}", room.name, token.text)));
        }
    }
    if room.pure && in_src {
        for path in paths::paths(&tokens) {
            for (banned, why) in IMPURE {
                if path.reaches(banned) {
                    breaches.push((path.line, format!("{} is pure: `{}` is {why}", room.name, path.text())));
                }
            }
        }
    }
    breaches.sort();
    breaches.dedup();
    breaches
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_path_buf()
}

/// Every `.rs` file below `dir`, sorted.
fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable directory").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_tree_keeps_the_table() {
    let root = workspace();
    let names: Vec<&str> = ROOMS.iter().map(|room| room.name).collect();
    let mut breaches = Vec::new();
    let mut files_read = 0;
    for room in ROOMS {
        let manifest = Path::new(room.name).join("Cargo.toml");
        let text = std::fs::read_to_string(root.join(&manifest)).expect("every room has a manifest");
        breaches.extend(judge_manifest(room, &names, &text).into_iter().map(|(line, what)| Breach {
            file: manifest.clone(),
            line,
            what,
        }));
        let mut files = Vec::new();
        for part in ["src", "tests", "benches", "examples"] {
            sources(&root.join(room.name).join(part), &mut files);
        }
        for path in files {
            // The rules themselves spell what they forbid.
            let file =
                path.strip_prefix(root.join(room.name)).expect("inside").to_string_lossy().into_owned();
            if room.name == "broker" && file.starts_with("tests/edges") {
                continue;
            }
            files_read += 1;
            let text = std::fs::read_to_string(&path).expect("readable source");
            breaches.extend(judge_source(room, &file, &text).into_iter().map(|(line, what)| Breach {
                file: Path::new(room.name).join(&file),
                line,
                what,
            }));
        }
    }
    assert!(files_read >= ROOMS.len(), "read {files_read} sources: the walk is broken");
    let list: Vec<String> = breaches.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "the table of edges is broken:\n{}", list.join("\n"));
}

#[test]
fn every_member_of_the_workspace_has_a_row() {
    let text = std::fs::read_to_string(workspace().join("Cargo.toml")).expect("workspace manifest");
    let document: toml::Table = text.parse().expect("TOML");
    for member in document["workspace"]["members"].as_array().expect("members") {
        let member = member.as_str().expect("text");
        assert!(ROOMS.iter().any(|room| room.name == member), "{member} has no row in the table of edges");
    }
}

fn room(name: &str) -> &'static Room {
    ROOMS.iter().find(|room| room.name == name).expect("a known room")
}

/// Lines at which a source breaks a rule.
fn lines(name: &str, file: &str, text: &str) -> Vec<usize> {
    let mut lines: Vec<usize> =
        judge_source(room(name), file, text).into_iter().map(|(line, _)| line).collect();
    lines.dedup();
    lines
}

#[test]
fn a_forbidden_dependency_is_found_however_it_is_spelled() {
    let names: Vec<&str> = ROOMS.iter().map(|room| room.name).collect();
    let samples = [
        "[dependencies]\nmodel.workspace = true\nprotocol.workspace = true\n",
        "[dependencies]\n\nprotocol = { path = \"../protocol\" }\n",
        "[dependencies]\n# wire\nmillrace-protocol = { path = \"../protocol\" }\n",
        "[dependencies]\nx = 1\nwire = { package = \"millrace-protocol\", path = \"../protocol\" }\n",
        "[dev-dependencies]\nx = 1\n\"protocol\" = { workspace = true }\n",
        "[build-dependencies]\n\n[dependencies.protocol]\nworkspace = true\n",
        "[target.'cfg(unix)'.dependencies]\nx = 1\nprotocol.workspace = true\n",
    ];
    for sample in samples {
        let breaches = judge_manifest(room("shard"), &names, sample);
        assert_eq!(breaches.len(), 1, "{sample}");
        assert_eq!(breaches[0].0, 3, "{sample}");
        assert!(judge_manifest(room("broker"), &names, sample).is_empty(), "{sample}");
    }
    let pure = judge_manifest(room("coordination"), &names, "[dependencies]\ntokio.workspace = true\n");
    assert_eq!(pure, [(2, "coordination is pure: no tokio".to_owned())]);
}

#[test]
fn glommio_is_found_outside_its_files() {
    let text = "//! Talks of glommio.\nfn f() {\n    let s = \"glommio\";\n    ::glommio::spawn_local(async {}); // glommio\n}\n";
    assert_eq!(lines("net", "src/connection.rs", text), [4]);
    assert_eq!(lines("net", "src/stream.rs", text), []);
    assert_eq!(lines("net", "tests/stream.rs", text), [4]);
    assert_eq!(lines("storage", "tests/uring.rs", text), []);
    assert_eq!(lines("storage", "src/disk/memory.rs", text), [4]);
}

#[test]
fn tokio_is_found_outside_the_auxiliary_thread() {
    let text = "use tokio::net::TcpListener;\nuse axum::Router;\n";
    assert_eq!(lines("broker", "src/service.rs", text), [1, 2]);
    assert_eq!(lines("broker", "src/admin/server.rs", text), []);
    assert_eq!(lines("shard", "src/shard.rs", text), [1, 2]);
}

#[test]
fn impure_code_is_found_however_it_is_imported() {
    for text in [
        "\nuse std::fs;",
        "\nuse std::fs::File;",
        "\nuse std::{collections::BTreeMap, fs};",
        "\nuse std::{io, fs::{self, File}};",
        "\nuse ::std::net::TcpStream;",
        "\nfn f() { std::thread::sleep(d) }",
        "\nuse std::time::{Duration, Instant};",
        "\nuse std::time::*;",
        "\nuse std::time::SystemTime as Wall;",
        "\nuse std::time;",
        "\nuse std as other;",
        "\nlet now = std::time::Instant::now();",
        "\nasync fn f() {}",
        "\nlet x = f().await;",
        "\nuse tokio::time::sleep;",
        "\nextern crate libc;",
    ] {
        for name in ["model", "protocol", "coordination"] {
            assert_eq!(lines(name, "src/deep/file.rs", text), [2], "{name}: {text}");
        }
    }
    let several =
        "use std::{\n    collections::BTreeMap,\n    fs,\n    net::{\n        TcpStream,\n    },\n};\n";
    assert_eq!(lines("model", "src/a.rs", several), [3, 5]);
}

#[test]
fn innocent_code_passes() {
    for text in [
        "use std::time::Duration;",
        "use std::{fmt, collections::BTreeMap};",
        "// std::fs is not for us\n/* use std::net; /* nested */ async */",
        "let s = \"std::fs::File async await\"; let r = r#\"std::thread \"quoted\" \"#; let c = '\"';",
        "fn lifetime<'a>(x: &'a str) -> &'a str { x }",
        "mod fs; use crate::fs::File; use super::net; let thread = self.thread;",
        "use model::time::Tick; struct Instantly;",
        "let b = b\"std::fs\"; let q = b'\\''; let e = '\\\\';",
    ] {
        assert_eq!(lines("coordination", "src/a.rs", text), [], "{text}");
    }
}
