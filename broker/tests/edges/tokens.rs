//! Rust source to words and marks with their lines, without comments and literals. Just enough for the edge rules.

/// A word (identifier, keyword, number) or a single mark; `::` is one mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// As written.
    pub text: String,
    /// From 1.
    pub line: usize,
}

/// Splits `source`; comments, strings, characters and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut cursor = Cursor { chars: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(c) = cursor.peek(0) {
        let line = cursor.line;
        if c == '/' && cursor.peek(1) == Some('/') {
            cursor.skip_while(|c| c != '\n');
        } else if c == '/' && cursor.peek(1) == Some('*') {
            cursor.skip_block_comment();
        } else if c == '"' {
            cursor.skip_string();
        } else if c == '\'' {
            cursor.skip_char_or_lifetime();
        } else if c.is_alphanumeric() || c == '_' {
            let word = cursor.word();
            if !cursor.skip_prefixed_literal(&word) {
                tokens.push(Token { text: word, line });
            }
        } else {
            cursor.bump();
            if c == ':' && cursor.peek(0) == Some(':') {
                cursor.bump();
                tokens.push(Token { text: "::".to_owned(), line });
            } else if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line });
            }
        }
    }
    tokens
}

struct Cursor {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Cursor {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.bump();
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        self.chars[start..self.at].iter().collect()
    }

    /// Block comments nest in Rust.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.peek(0) {
            let next = self.peek(1);
            if c == '/' && next == Some('*') {
                depth += 1;
                self.bump();
            } else if c == '*' && next == Some('/') {
                depth -= 1;
                self.bump();
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    /// At the opening quote of a string with escapes.
    fn skip_string(&mut self) {
        self.bump();
        while let Some(c) = self.peek(0) {
            self.bump();
            match c {
                '\\' => self.bump(),
                '"' => return,
                _ => {}
            }
        }
    }

    /// At the opening quote of `'x'`, `'\n'`, `'\u{1}'` or a lifetime.
    fn skip_char_or_lifetime(&mut self) {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.skip_while(|c| c != '\'');
            self.bump();
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        } else {
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    /// After a word that may be the prefix of a literal (`r"..."`, `br#"..."#`, `b'x'`); whether it was one.
    fn skip_prefixed_literal(&mut self, word: &str) -> bool {
        match (word, self.peek(0)) {
            ("b" | "c", Some('"')) => self.skip_string(),
            ("b", Some('\'')) => self.skip_char_or_lifetime(),
            ("r" | "br" | "cr", Some('"' | '#')) => return self.skip_raw_string(),
            _ => return false,
        }
        true
    }

    /// At the hashes or the quote of a raw string; a raw identifier (`r#type`) is not one.
    fn skip_raw_string(&mut self) -> bool {
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(hashes) != Some('"') {
            return false;
        }
        (0..=hashes).for_each(|_| self.bump());
        while let Some(c) = self.peek(0) {
            self.bump();
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                (0..hashes).for_each(|_| self.bump());
                return true;
            }
        }
        true
    }
}
