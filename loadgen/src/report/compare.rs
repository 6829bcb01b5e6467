//! Several runs on one page.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::chart::{self, COLORS, Chart, Series, X, Y};
use super::format::{count, latency, megabytes, rate, three_digits};
use super::html::{escape, page, places};
use super::interval::Measure;
use super::model::{Report, ReportError, ServerTotals};
use super::page::banners;
use super::table::Table;

/// Reads reports written by `--json` and writes one page with all of them side by side, the first being what the others
/// are held against.
pub fn compare(files: &[PathBuf], out: &Path) -> Result<(), ReportError> {
    if files.is_empty() {
        return Err(ReportError("no report to compare".to_owned()));
    }
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        reports.push(Report::read_json(file)?);
    }
    let html = side_by_side(&reports).map_err(|e| ReportError(format!("{}: {e}", out.display())))?;
    fs::write(out, html).map_err(|e| ReportError(format!("{}: {e}", out.display())))
}

/// The page.
pub fn side_by_side(reports: &[Report]) -> Result<String, String> {
    let names = names(reports);
    let charts = charts(reports, &names)?;
    let title = names.join(" · ");
    let mut body = format!(
        "<header><h1>{}</h1><p class=\"sub\">{} runs; ratios are to the first</p>\n",
        escape(&title),
        reports.len()
    );
    for (report, name) in reports.iter().zip(&names) {
        body.push_str(&banners(report, &format!("{name}: ")));
    }
    body.push_str("</header>\n<h2>Side by side</h2>\n");
    body.push_str(&figures(reports, &names));
    body.push_str(&places(&charts));
    body.push_str(&settings(reports, &names));
    page(&title, &body, &charts)
}

/// Labels, told apart where two runs have the same.
fn names(reports: &[Report]) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports {
        *seen.entry(&report.label).or_default() += 1;
    }
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let labels = reports.iter().map(|report| report.label.as_str());
    labels
        .map(|label| {
            let number = next.entry(label).or_default();
            *number += 1;
            if seen[label] > 1 { format!("{label} #{number}") } else { label.to_owned() }
        })
        .collect()
}

/// One number that every run may have.
struct Figure {
    name: String,
    show: fn(f64) -> String,
    better: Better,
    values: Vec<Option<f64>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Better {
    Higher,
    Lower,
    Neither,
}

fn us(value: f64) -> String {
    // Latencies are whole microseconds below 2^53; the cast back is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    latency(value as u64)
}

fn mb(value: f64) -> String {
    format!("{} MB", megabytes(value))
}

fn seconds(value: f64) -> String {
    format!("{} s", three_digits(value))
}

fn whole(value: f64) -> String {
    // `rate` shows small ones with a fraction, which counts have not.
    if value < 10.0 { format!("{value:.0}") } else { rate(value) }
}

/// The rows, those without any value left out.
fn rows(reports: &[Report]) -> Vec<Figure> {
    let mut rows = Vec::new();
    let mut add =
        |name: &str, show: fn(f64) -> String, better: Better, of: &dyn Fn(&Report) -> Option<f64>| {
            let values: Vec<Option<f64>> = reports.iter().map(of).collect();
            if values.iter().any(Option::is_some) {
                rows.push(Figure { name: name.to_owned(), show, better, values });
            }
        };
    let some = |value: f64| (value > 0.0).then_some(value);
    add("records sent/s", rate, Better::Higher, &|r| some(r.whole.rate(r.whole.traffic.records_sent)));
    add("records received/s", rate, Better::Higher, &|r| {
        some(r.whole.rate(r.whole.traffic.records_received))
    });
    add("records acknowledged/s", rate, Better::Higher, &|r| {
        some(r.whole.rate(r.whole.traffic.shares.acknowledged()))
    });
    add("records redelivered", whole, Better::Neither, &|r| some(r.whole.traffic.shares.redelivered as f64));
    add("MB sent/s", megabytes, Better::Higher, &|r| some(r.whole.rate(r.whole.traffic.bytes_sent)));
    add("MB received/s", megabytes, Better::Higher, &|r| some(r.whole.rate(r.whole.traffic.bytes_received)));
    add("knee, records/s", rate, Better::Higher, &|r| r.sweep.as_ref()?.knee);
    for measure in Measure::ALL {
        let of = |r: &Report, value: fn(&super::distribution::Distribution) -> u64| {
            r.whole.latencies.get(&measure).map(|d| value(d) as f64)
        };
        let title = measure.title();
        add(&format!("{title} p50"), us, Better::Lower, &|r| of(r, |d| d.p50));
        add(&format!("{title} p99"), us, Better::Lower, &|r| of(r, |d| d.p99));
        add(&format!("{title} p99.9"), us, Better::Lower, &|r| of(r, |d| d.p999));
        add(&format!("{title} p99.99"), us, Better::Lower, &|r| of(r, |d| d.p9999));
        add(&format!("{title} max"), us, Better::Lower, &|r| of(r, |d| d.max));
    }
    add("errors", whole, Better::Lower, &|r| Some(r.whole.errors_total() as f64));
    let server = |r: &Report, of: &dyn Fn(&ServerTotals) -> Option<f64>| r.whole.server.as_ref().and_then(of);
    let per_gb = |s: &ServerTotals, amount: f64| s.per_gb(amount);
    add("server CPU per GB moved", seconds, Better::Lower, &|r| server(r, &|s| per_gb(s, s.used.cpu_s())));
    add("server CPU per GB moved, user", seconds, Better::Lower, &|r| {
        server(r, &|s| per_gb(s, s.used.cpu_user_s))
    });
    add("server CPU per GB moved, system", seconds, Better::Lower, &|r| {
        server(r, &|s| per_gb(s, s.used.cpu_system_s))
    });
    add("server resident, at most", mb, Better::Lower, &|r| server(r, &|s| Some(s.resident_max as f64)));
    add("server switches per GB moved", whole, Better::Lower, &|r| {
        server(r, &|s| per_gb(s, (s.used.switches_voluntary + s.used.switches_involuntary) as f64))
    });
    add("server disk written per GB moved", mb, Better::Lower, &|r| {
        server(r, &|s| per_gb(s, s.used.disk_written? as f64))
    });
    add("server disk read per GB moved", mb, Better::Lower, &|r| {
        server(r, &|s| per_gb(s, s.used.disk_read? as f64))
    });
    add("server threads, at most", whole, Better::Neither, &|r| server(r, &|s| Some(s.threads_max as f64)));
    add("generator CPU, busiest", super::format::percent, Better::Neither, &|r| Some(r.whole.health.cpu));
    rows
}

/// The table of numbers with their ratios.
fn figures(reports: &[Report], names: &[String]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr><th scope=\"col\"></th>");
    for (run, name) in names.iter().enumerate() {
        let style = if run >= COLORS { " dash" } else { "" };
        html.push_str(&format!(
            "<th scope=\"col\"><span class=\"key{style}\" style=\"border-color:var(--s{})\"></span> {}</th>",
            run % COLORS,
            escape(name)
        ));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows(reports) {
        html.push_str(&format!("<tr><th scope=\"row\">{}</th>", escape(&row.name)));
        let first = row.values.first().copied().flatten();
        for (run, value) in row.values.iter().enumerate() {
            let text = value.map_or_else(|| "–".to_owned(), row.show);
            html.push_str(&format!("<td>{}", escape(&text)));
            if run > 0 {
                html.push_str(&ratio(first, *value, row.better));
            }
            html.push_str("</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// A value over the first one, coloured where one is clearly better.
fn ratio(first: Option<f64>, value: Option<f64>, better: Better) -> String {
    let (Some(first), Some(value)) = (first, value) else {
        return "<span class=\"ratio\"></span>".to_owned();
    };
    if first <= 0.0 {
        return "<span class=\"ratio\"></span>".to_owned();
    }
    let ratio = value / first;
    // A few percent are noise between any two runs.
    let class = match better {
        Better::Neither => "",
        _ if (ratio - 1.0).abs() < 0.05 => "",
        Better::Higher if ratio > 1.0 => " good",
        Better::Lower if ratio < 1.0 => " good",
        Better::Higher | Better::Lower => " bad",
    };
    format!("<span class=\"ratio{class}\">{} ×</span>", three_digits(ratio))
}

/// The plots with a line for each run.
fn charts(reports: &[Report], names: &[String]) -> Result<Vec<Chart>, String> {
    let mut charts = Vec::new();
    let overlay = |chart: Chart, of: &dyn Fn(&Report) -> Vec<(f64, f64)>| {
        let runs = reports.iter().zip(names).enumerate();
        Chart {
            series: runs.map(|(run, (report, name))| Series::of_run(name, run, of(report))).collect(),
            ..chart
        }
    };
    for measure in Measure::ALL {
        let mut curves = Vec::new();
        for (run, (report, name)) in reports.iter().zip(names).enumerate() {
            curves.push(Series::of_run(name, run, chart::tail(report, measure)?));
        }
        let (title, tag) = (measure.title(), measure.tag());
        let mut tail = Chart::over_time(
            &format!("percentiles-{tag}"),
            &format!("Latency by percentile: {title}"),
            "share of values that are at most as high, without warm-up",
            Y::Us,
        );
        (tail.x, tail.wide, tail.log, tail.series) = (X::Tail, true, true, curves);
        charts.push(tail);
        for (which, of) in [("p50", 0), ("p99", 1), ("p99.9", 2), ("max", 3)] {
            let chart = Chart::over_time(
                &format!("{tag}-{of}"),
                &format!("{which} over time: {title}"),
                "of each second",
                Y::Us,
            );
            let chart = Chart { log: true, ..chart };
            charts.push(overlay(chart, &|report| {
                chart::over_time(report, |second| {
                    let points = second.latencies.get(&measure)?;
                    Some([points.p50, points.p99, points.p999, points.max][of] as f64)
                })
            }));
        }
    }
    let volume =
        Chart::over_time("volume", "Throughput", "keys and values both ways, MB = 10^6 bytes", Y::Mbps);
    charts.push(overlay(volume, &chart::volume));
    let cpu = Chart::over_time("server-cpu", "Server CPU", "percent of one core", Y::Percent);
    charts.push(overlay(cpu, &|report| match report.whole.server {
        Some(_) => chart::server_cpu(report),
        None => Vec::new(),
    }));
    let memory = Chart::over_time("server-memory", "Server memory", "resident, without page cache", Y::Mb);
    charts.push(overlay(memory, &chart::server_memory));
    charts.retain(Chart::has_points);
    Ok(charts)
}

/// The settings that differ, and behind a click all of them.
fn settings(reports: &[Report], names: &[String]) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in reports.iter().flat_map(|report| &report.settings) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let value = |report: &Report, key: &str| {
        report.settings.iter().find(|(name, _)| name == key).map_or("–", |(_, value)| value).to_owned()
    };
    let head: Vec<&str> = std::iter::once("setting").chain(names.iter().map(String::as_str)).collect();
    let (mut different, mut all) = (Table::new(&head), Table::new(&head));
    for key in keys {
        let values: Vec<String> = reports.iter().map(|report| value(report, key)).collect();
        let row: Vec<String> = std::iter::once(key.to_owned()).chain(values.iter().cloned()).collect();
        if values.iter().any(|value| *value != values[0]) {
            different.row(&row);
        }
        all.row(&row);
    }
    let about = |name: &str, of: &dyn Fn(&Report) -> String| {
        std::iter::once(name.to_owned()).chain(reports.iter().map(of)).collect::<Vec<String>>()
    };
    all.row(&about("began", &|report| report.started.clone()));
    all.row(&about("seconds measured", &|report| three_digits(report.whole.length_s)));
    all.row(&about("records", &|report| count(report.whole.records())));
    all.row(&about("generator", &|report| report.generator.clone()));
    let mut html = String::new();
    if !different.is_empty() {
        html.push_str(&format!("<h2>Settings that differ</h2>\n{}", different.html()));
    }
    html.push_str(&format!("<details><summary>All settings</summary>\n{}</details>\n", all.html()));
    html
}
