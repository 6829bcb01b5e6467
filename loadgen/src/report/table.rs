//! Tables of text, as columns on a terminal or as HTML.

use super::html::escape;

/// Rows below a head. The first column is what a row is about, and stands left; numbers stand right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the titles of its columns.
    pub fn new<S: AsRef<str>>(head: &[S]) -> Self {
        Table { head: head.iter().map(|title| title.as_ref().to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Columns separated by two spaces; those that begin with a letter stand left.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or(0);
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| all().map(|row| cell(row, column).chars().count()).max().unwrap_or(0))
            .collect();
        let left: Vec<bool> = (0..columns).map(|column| self.is_words(column)).collect();
        let mut text = String::new();
        for row in all() {
            if row.iter().all(String::is_empty) {
                continue;
            }
            let mut line = String::new();
            for column in 0..columns {
                let (value, width) = (cell(row, column), widths[column]);
                let value =
                    if left[column] { format!("{value:<width$}") } else { format!("{value:>width$}") };
                line.push_str(&value);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A column of words, not of numbers.
    fn is_words(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
        cells.any(|cell| cell.starts_with(|c: char| c.is_alphabetic()))
    }

    /// A `<table>`, everything escaped.
    pub fn html(&self) -> String {
        let mut html = String::from("<div class=\"scroll\"><table>");
        if self.head.iter().any(|title| !title.is_empty()) {
            html.push_str("<thead><tr>");
            for (column, title) in self.head.iter().enumerate() {
                html.push_str(&format!("<th scope=\"col\"{}>{}</th>", self.class(column), escape(title)));
            }
            html.push_str("</tr></thead>");
        }
        html.push_str("<tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for (column, cell) in row.iter().enumerate() {
                let tag = if column == 0 { "th scope=\"row\"" } else { "td" };
                let end = if column == 0 { "th" } else { "td" };
                html.push_str(&format!("<{tag}{}>{}</{end}>", self.class(column), escape(cell)));
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div>");
        html
    }

    fn class(&self, column: usize) -> &'static str {
        if self.is_words(column) { " class=\"words\"" } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["", "p50", "said"]);
        table.row(&["produce".to_owned(), "1.20 ms".to_owned(), "a<b".to_owned()]);
        table.row(&["fetch".to_owned(), "900 us".to_owned(), "\u{b5}".to_owned()]);
        table
    }

    #[test]
    fn words_stand_left_and_numbers_right() {
        assert_eq!(
            table().text(),
            "             p50  said\nproduce  1.20 ms  a<b\nfetch     900 us  \u{b5}\n"
        );
    }

    #[test]
    fn html_is_escaped() {
        let html = table().html();
        assert!(html.contains("a&lt;b") && !html.contains("a<b"), "{html}");
        assert_eq!(html.matches("<tr>").count(), 3);
        assert_eq!(
            html.matches("<th").count(),
            html.matches("</th>").count() + html.matches("<thead").count()
        );
    }
}
