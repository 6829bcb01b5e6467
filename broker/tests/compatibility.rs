//! `docs/compatibility.md` says what the tables in the code say. `UPDATE_COMPATIBILITY=1` writes its generated part; what
//! stands above that is written by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "compatibility/apis.rs"]
mod apis;
#[path = "compatibility/settings.rs"]
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

/// Where the generated part begins.
const MARK: &str = "<!-- From here on the text is generated: see broker/tests/compatibility.rs. -->\n";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md")
}

#[test]
fn the_document_says_what_the_code_does() {
    let text = fs::read_to_string(file()).unwrap();
    let (by_hand, generated) = text.split_once(MARK).expect("the mark stands in the file");
    let expected = format!("\n{}\n{}", apis::section(), settings::sections());
    if std::env::var_os("UPDATE_COMPATIBILITY").is_some() {
        fs::write(file(), format!("{by_hand}{MARK}{expected}")).unwrap();
        return;
    }
    let same = generated.lines().zip(expected.lines()).take_while(|(is, should)| is == should).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("the end").to_owned();
    assert!(
        generated == expected,
        "docs/compatibility.md is out of date; UPDATE_COMPATIBILITY=1 writes it again.\nis:     {}\nshould: {}",
        line(generated),
        line(&expected)
    );
}
