//! What every page has: head, style, script, data, and escaping.

use serde::Serialize;

use super::chart::Chart;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Text as HTML, inside elements and quoted attributes.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// A value as JSON that may stand inside `<script>`: nothing in it can end the element or begin a comment, and it is
/// still the same JSON.
pub fn script_json<T: Serialize>(value: &T) -> Result<String, String> {
    let json = serde_json::to_string(value).map_err(|e| e.to_string())?;
    Ok(json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// A whole page. `body` is HTML, with a [`place`] for each chart.
pub fn page(title: &str, body: &str, charts: &[Chart]) -> Result<String, String> {
    let title = escape(title);
    let data = script_json(&charts)?;
    // The policy is a promise: a browser would refuse anything that this page fetched.
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <script type=\"application/json\" id=\"charts\">{data}</script>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

/// The place of a chart: filled by the script, and a word for who has none.
pub fn place(chart: &Chart) -> String {
    format!(
        "<figure class=\"chart{}\" data-chart=\"{}\"><figcaption><h3>{}</h3><p>{}</p></figcaption>\
         <noscript>This plot is drawn by a script inside the page.</noscript></figure>\n",
        if chart.wide { " wide" } else { "" },
        escape(&chart.id),
        escape(&chart.title),
        escape(&chart.note)
    )
}

/// The places of several charts.
pub fn places(charts: &[Chart]) -> String {
    let places: String = charts.iter().map(place).collect();
    format!("<section class=\"charts\">\n{places}</section>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_what_it_stands_in() {
        assert_eq!(escape("<a href=\"x\" b='y'>&"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        let hostile = "</script><!-- \u{2028} & \"";
        let json = script_json(&hostile).expect("text");
        assert!(!json.contains('<') && !json.contains('>') && !json.contains('\u{2028}'), "{json}");
        let back: String = serde_json::from_str(&json).expect("still JSON");
        assert_eq!(back, hostile);
    }

    #[test]
    fn a_page_asks_for_nothing() {
        let page = page("a<b", "<p>x</p>", &[]).expect("a page");
        // A name that SVG has; nobody looks it up.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for word in
            ["http:", "https:", "//www", "src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest"]
        {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("<title>a&lt;b</title>") && page.contains("default-src 'none'"));
    }
}
