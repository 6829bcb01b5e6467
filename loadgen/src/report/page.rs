//! The page of one run.

use super::chart;
use super::format::{latency, megabytes, percent, rate};
use super::html::{escape, page, places};
use super::model::Report;
use super::summary;
use super::table::Table;

/// The whole page.
pub fn single(report: &Report) -> Result<String, String> {
    let charts = chart::of_run(report)?;
    let mut body = head(report);
    body.push_str(&tiles(report));
    body.push_str(&places(&charts));
    body.push_str("<h2>Summary</h2>\n");
    for table in [summary::traffic(report), summary::latencies(report)] {
        if !table.is_empty() {
            body.push_str(&table.html());
        }
    }
    body.push_str(&lines(&summary::remarks(report)));
    if let Some(totals) = &report.whole.server {
        body.push_str("<h2>Server process</h2>\n");
        body.push_str(&summary::server(totals).html());
    }
    if let Some(sweep) = &report.sweep {
        body.push_str(&format!("<h2>Steps</h2>\n{}", sweep.cells().html()));
        body.push_str(&lines(std::slice::from_ref(&sweep.verdict)));
    }
    if !report.settings.is_empty() {
        body.push_str("<h2>Settings</h2>\n");
        body.push_str(&settings(report).html());
    }
    page(&format!("{} · {}", report.label, report.mode), &body, &charts)
}

fn head(report: &Report) -> String {
    let mut html = format!(
        "<header><h1>{}</h1><p class=\"sub\">{} · {} · began {} · {}</p>\n",
        escape(&report.label),
        escape(&report.mode),
        escape(&report.headline()),
        escape(&report.started),
        escape(&report.generator)
    );
    html.push_str(&banners(report, ""));
    html.push_str("</header>\n");
    html
}

/// What a reader must know before any number; `whose` is put in front.
pub fn banners(report: &Report, whose: &str) -> String {
    let mut html = String::new();
    let whole = &report.whole;
    let mut banner = |class: &str, text: &str| {
        html.push_str(&format!("<p class=\"banner{class}\">{}{}</p>\n", escape(whose), escape(text)));
    };
    let found = &whole.verification;
    if !found.is_clean() {
        banner(
            " bad",
            &format!(
                "Verification failed: {} lost, {} repeated, {} reordered, {} damaged.",
                found.lost, found.repeated, found.reordered, found.damaged
            ),
        );
    }
    if found.foreign > 0 {
        let foreign = found.foreign;
        banner("", &format!("{foreign} records were not checked: they are foreign, sent without --verify."));
    }
    if let Some(at) = whole.server.as_ref().and_then(|server| server.gone_at_s) {
        banner(" bad", &format!("The server's process ended {at:.1} s after the start."));
    }
    if let Some(reason) = &whole.health.bottleneck {
        banner(
            "",
            &format!(
                "The generator itself was the bottleneck ({reason}): this shows its limit, not the server's."
            ),
        );
    }
    html
}

/// The few numbers that answer most questions.
fn tiles(report: &Report) -> String {
    let whole = &report.whole;
    let mut tiles = Vec::new();
    if whole.records() > 0 {
        tiles.push(("records/s".to_owned(), rate(whole.rate(whole.records()))));
        let traffic = &whole.traffic;
        let both =
            if traffic.bytes_sent > 0 && traffic.bytes_received > 0 { "MB/s, both ways" } else { "MB/s" };
        tiles.push((both.to_owned(), megabytes(whole.rate(whole.traffic.bytes_moved()))));
    }
    if let Some(d) = report.primary() {
        let name = report.primary.title();
        for (which, us) in [("p50", d.p50), ("p99", d.p99), ("p99.9", d.p999), ("max", d.max)] {
            tiles.push((format!("{name} {which}"), latency(us)));
        }
    }
    tiles.push(("errors".to_owned(), super::format::count(whole.errors_total())));
    if let Some(server) = &whole.server {
        tiles.push(("server CPU".to_owned(), percent(server.cpu())));
    }
    let tiles: String = tiles
        .iter()
        .map(|(name, value)| {
            format!("<div class=\"tile\"><span>{}</span><b>{}</b></div>\n", escape(name), escape(value))
        })
        .collect();
    format!("<section class=\"tiles\">\n{tiles}</section>\n")
}

/// Lines of text below each other.
pub fn lines(lines: &[String]) -> String {
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    format!("<ul class=\"lines\">{items}</ul>\n")
}

fn settings(report: &Report) -> Table {
    let mut table = Table::new(&["setting", "value"]);
    for (name, value) in &report.settings {
        table.row(&[name.clone(), value.clone()]);
    }
    table
}
