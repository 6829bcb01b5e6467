//! The paths a source names: those written out, and those a `use` tree unfolds to.

use crate::tokens::Token;

/// `a::b::c`; a glob or a rename of the whole ends in [`ALL`].
#[derive(Debug, PartialEq)]
pub struct Path {
    /// The segments, a leading `::` left out.
    pub segments: Vec<String>,
    /// Where its last segment stands.
    pub line: usize,
}

/// Everything below a path becomes reachable.
const ALL: &str = "*";

impl Path {
    /// As one would write it.
    pub fn text(&self) -> String {
        self.segments.join("::")
    }

    /// Whether naming this path gives access to `banned` or something in it.
    pub fn reaches(&self, banned: &str) -> bool {
        let banned: Vec<&str> = banned.split("::").collect();
        let own: Vec<&str> = self.segments.iter().map(String::as_str).filter(|s| *s != ALL).collect();
        if own.len() >= banned.len() {
            own.starts_with(&banned)
        } else {
            // `use std::time` or `use std as s` opens a door to all that is behind it.
            self.segments.last().is_some_and(|last| last == ALL)
                && !own.is_empty()
                && banned.starts_with(&own)
        }
    }
}

/// Every path in `tokens`.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_crate = at > 0 && tokens[at].text == "crate" && tokens[at - 1].text == "extern";
        if tokens[at].text == "use" || after_crate {
            at = use_tree(tokens, at + 1, &[], &mut paths);
        } else if is_word(&tokens[at].text) && !continues(tokens, at) {
            at = plain(tokens, at, &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Whether the word at `at` is the middle of something: a field, a method, a later segment.
fn continues(tokens: &[Token], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).map(|i| tokens[i].text.as_str());
    match before(1) {
        Some(".") => true,
        // A leading `::` starts a path, one after a word or a `>` goes on with it.
        Some("::") => before(2).is_some_and(|text| is_word(text) || text == ">"),
        _ => false,
    }
}

/// A path in an expression or a type, from its first word; returns where it ends. A lone word is no path.
fn plain(tokens: &[Token], start: usize, into: &mut Vec<Path>) -> usize {
    let mut segments = vec![tokens[start].text.clone()];
    let mut at = start + 1;
    while at + 1 < tokens.len() && tokens[at].text == "::" && is_word(&tokens[at + 1].text) {
        segments.push(tokens[at + 1].text.clone());
        at += 2;
    }
    if segments.len() > 1 {
        into.push(Path { segments, line: tokens[at - 1].line });
    }
    at
}

/// One branch of a `use` tree below `prefix`; returns where it ends.
fn use_tree(tokens: &[Token], start: usize, prefix: &[String], into: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    let mut line = tokens.get(start).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => return use_group(tokens, at + 1, &segments, into),
            "as" => at += 2,
            // `a::{self}` names `a`.
            "self" if !segments.is_empty() => at += 1,
            text if is_word(text) || text == ALL => {
                segments.push(text.to_owned());
                line = token.line;
                at += 1;
            }
            _ => break,
        }
    }
    // A `use` of a module opens all of it; one of a type closes nothing by that.
    if segments.last().is_some_and(|last| last != ALL) {
        segments.push(ALL.to_owned());
    }
    into.push(Path { segments, line });
    at
}

/// The branches between braces, from behind the opening one; returns behind the closing one.
fn use_group(tokens: &[Token], start: usize, prefix: &[String], into: &mut Vec<Path>) -> usize {
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "}" => return at + 1,
            "," => at += 1,
            _ => {
                let end = use_tree(tokens, at, prefix, into);
                at = end.max(at + 1);
            }
        }
    }
    at
}
