//! What is printed, and shown on top of a page, at the end of a run.

use super::format::{count, latency, megabytes, per, percent, rate, three_digits};
use super::interval::{Measure, Verification};
use super::model::{Report, ServerTotals, Whole};
use super::table::Table;

impl Report {
    /// The table that is printed at the end.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {}\n\n", self.label, self.headline());
        for table in [traffic(self), latencies(self)] {
            if !table.is_empty() {
                text.push_str(&table.text());
                text.push('\n');
            }
        }
        for line in remarks(self) {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(totals) = &self.whole.server {
            text.push_str("\nserver\n");
            text.push_str(&server(totals).text());
        }
        if let Some(sweep) = &self.sweep {
            text.push('\n');
            text.push_str(&sweep.table());
        }
        text
    }

    /// How long was measured, and what was left out.
    pub fn headline(&self) -> String {
        let warm_up = if self.warm_up_s > 0.0 {
            format!(" after {} s of warm-up", three_digits(self.warm_up_s))
        } else {
            String::new()
        };
        format!("{} s measured{warm_up}", three_digits(self.whole.length_s))
    }
}

/// Records, bytes and requests, in all and per second.
pub fn traffic(report: &Report) -> Table {
    let whole = &report.whole;
    let traffic = &whole.traffic;
    let mut table = Table::new(&["", "records", "records/s", "MB", "MB/s"]);
    let received = if traffic.shares.acquired > 0 { "acquired" } else { "received" };
    for (name, records, bytes) in [
        ("sent", traffic.records_sent, traffic.bytes_sent),
        (received, traffic.records_received, traffic.bytes_received),
    ] {
        if records > 0 {
            table.row(&[
                name.to_owned(),
                count(records),
                rate(whole.rate(records)),
                megabytes(bytes as f64),
                megabytes(whole.rate(bytes)),
            ]);
        }
    }
    let records = |name: &str, records: u64, per_s: f64| {
        [name.to_owned(), count(records), rate(per_s), String::new(), String::new()]
    };
    for (name, said) in traffic.shares.rows() {
        table.row(&records(name, said, whole.rate(said)));
    }
    if let Some(asked) = report.rate {
        table.row(&records("asked for", traffic.intended, asked));
    }
    if traffic.requests > 0 {
        table.row(&records("requests", traffic.requests, whole.rate(traffic.requests)));
    }
    table
}

/// Percentiles of what was measured.
pub fn latencies(report: &Report) -> Table {
    let mut table = Table::new(&["latency", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max", "values"]);
    for measure in Measure::ALL {
        if let Some(d) = report.whole.latencies.get(&measure) {
            let mean = if d.mean < 1_000.0 {
                format!("{} us", three_digits(d.mean))
            } else {
                format!("{} ms", three_digits(d.mean / 1e3))
            };
            let mut row = vec![measure.title().to_owned(), mean];
            row.extend([d.p50, d.p90, d.p99, d.p999, d.p9999, d.max].map(latency));
            row.push(count(d.count));
            table.row(&row);
        }
    }
    table
}

/// Errors, verification and the generator's health, a line each.
pub fn remarks(report: &Report) -> Vec<String> {
    let whole = &report.whole;
    let mut lines = vec![errors(whole)];
    if let Some(line) = verification(&whole.verification) {
        lines.push(line);
    }
    lines.push(generator(whole));
    lines
}

fn errors(whole: &Whole) -> String {
    let mut line = match whole.errors_total() {
        0 => "errors: none".to_owned(),
        total => {
            let named: Vec<String> =
                whole.errors.iter().map(|(name, times)| format!("{} {name}", count(*times))).collect();
            format!("errors: {} ({})", count(total), named.join(", "))
        }
    };
    if whole.errors_in_warm_up > 0 {
        line.push_str(&format!("; during warm-up {}", count(whole.errors_in_warm_up)));
    }
    line
}

fn verification(found: &Verification) -> Option<String> {
    if found.checked == 0 && found.foreign == 0 && found.is_clean() {
        return None;
    }
    let mut checked = format!("{} records checked", count(found.checked));
    if found.foreign > 0 {
        checked.push_str(&format!(", {} foreign (sent without --verify, not checked)", count(found.foreign)));
    }
    Some(if found.is_clean() {
        let words = if found.checked == 0 { "so nothing is known" } else { "nothing wrong" };
        format!("verification: {checked}, {words}")
    } else {
        format!(
            "VERIFICATION FAILED: {checked}, {} lost, {} repeated, {} reordered, {} damaged",
            count(found.lost),
            count(found.repeated),
            count(found.reordered),
            count(found.damaged)
        )
    })
}

/// Whether what was measured is the server's doing.
fn generator(whole: &Whole) -> String {
    let health = &whole.health;
    let mut line = match &health.bottleneck {
        Some(reason) => {
            format!(
                "THE GENERATOR ITSELF WAS THE BOTTLENECK ({reason}): the server can do more than this shows"
            )
        }
        None => format!("generator: busiest executor at {} CPU", percent(health.cpu)),
    };
    if let (Some(late), None) = (health.late_p99, &health.bottleneck) {
        line.push_str(&format!(", starts late by {} at p99", latency(late)));
    }
    if whole.seconds_bottlenecked > 0 {
        line.push_str(&format!("; it was the bottleneck in {} of the seconds", whole.seconds_bottlenecked));
    }
    line
}

/// What the server's process used, in all and for each GB moved.
pub fn server(totals: &ServerTotals) -> Table {
    let used = &totals.used;
    let mut table = Table::new(&["", "total", "per second", "per GB moved"]);
    let mut add = |name: &str, amount: Option<f64>, show: &dyn Fn(f64) -> String| {
        let Some(amount) = amount else { return };
        let per_gb = totals.per_gb(amount).map_or_else(String::new, show);
        table.row(&[name.to_owned(), show(amount), show(per(amount, totals.seen_s)), per_gb]);
    };
    let seconds = |value: f64| format!("{} s", three_digits(value));
    let volume = |value: f64| format!("{} MB", megabytes(value));
    add("CPU", Some(used.cpu_s()), &seconds);
    add("CPU, user", Some(used.cpu_user_s), &seconds);
    add("CPU, system", Some(used.cpu_system_s), &seconds);
    add("switches, voluntary", Some(used.switches_voluntary as f64), &rate);
    add("switches, involuntary", Some(used.switches_involuntary as f64), &rate);
    add("disk read", used.disk_read.map(|bytes| bytes as f64), &volume);
    add("disk written", used.disk_written.map(|bytes| bytes as f64), &volume);
    let plain = |name: &str, value: String| [name.to_owned(), value, String::new(), String::new()];
    table.row(&plain("resident, at most", volume(totals.resident_max as f64)));
    table.row(&plain("resident, at the end", volume(used.resident as f64)));
    table.row(&plain("threads, at most", count(totals.threads_max)));
    if let Some(at) = totals.gone_at_s {
        table.row(&plain("ENDED", format!("at {} s", three_digits(at))));
    }
    table
}
