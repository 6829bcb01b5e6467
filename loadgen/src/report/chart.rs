//! Which plots a page has, as data: the script that draws them knows nothing of reports.

use serde::Serialize;

use super::distribution::curve;
use super::format::per;
use super::interval::Measure;
use super::knee::{Outcome, Sweep};
use super::model::{Report, Second};

/// Shortest interval that has a rate worth drawing: the rest of a second at the end of a run makes a spike of nothing.
const RATE_LENGTH_S_MIN: f64 = 0.25;

/// One plot.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// Unique on its page.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// A line below.
    pub note: String,
    /// Whether it takes the whole width.
    pub wide: bool,
    /// What is on the x axis.
    pub x: X,
    /// What is on the y axis.
    pub y: Y,
    /// Whether the y axis begins logarithmic.
    pub log: bool,
    /// Shade until here, on an axis of time.
    pub warm_up_s: f64,
    /// The lines.
    pub series: Vec<Series>,
}

/// What is on the x axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum X {
    /// Seconds from the start.
    Time,
    /// `1 / (1 - quantile)`, logarithmic.
    Tail,
    /// Records per second.
    Rate,
}

/// What is on the y axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Y {
    /// Microseconds.
    Us,
    /// 10^6 bytes per second.
    Mbps,
    /// 10^6 bytes.
    Mb,
    /// Percent of one core.
    Percent,
    /// Something per second.
    Rate,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Which of the page's colours.
    pub color: usize,
    /// Whether it is dashed.
    pub dash: bool,
    /// Whether it is points without a line.
    pub dots: bool,
    /// Rising in x.
    pub points: Vec<(f64, f64)>,
}

/// Colours that tell runs apart; behind them they begin again, dashed.
pub const COLORS: usize = 8;
/// The colour of what is beside the point.
const GREY: usize = 8;

impl Series {
    /// A line.
    pub fn line(name: &str, color: usize, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.to_owned(), color, dash: false, dots: false, points }
    }

    /// The line of one of several runs.
    pub fn of_run(name: &str, run: usize, points: Vec<(f64, f64)>) -> Series {
        Series { dash: run >= COLORS, ..Series::line(name, run % COLORS, points) }
    }
}

impl Chart {
    /// A plot over time without lines yet.
    pub fn over_time(id: &str, title: &str, note: &str, y: Y) -> Chart {
        Chart {
            id: id.to_owned(),
            title: title.to_owned(),
            note: note.to_owned(),
            wide: false,
            x: X::Time,
            y,
            log: false,
            warm_up_s: 0.0,
            series: Vec::new(),
        }
    }

    /// Whether there is anything to see.
    pub fn has_points(&self) -> bool {
        self.series.iter().any(|series| !series.points.is_empty())
    }
}

/// One number of every second that has it, at its end.
pub fn over_time(report: &Report, value: impl Fn(&Second) -> Option<f64>) -> Vec<(f64, f64)> {
    let rounded = |x: f64| (x * 1e3).round() / 1e3;
    report.seconds.iter().filter_map(|second| Some((rounded(second.at_s), rounded(value(second)?)))).collect()
}

/// A rate of every second that is long enough to have one.
pub fn rates(report: &Report, count: impl Fn(&Second) -> f64) -> Vec<(f64, f64)> {
    over_time(report, |second| {
        (second.length_s >= RATE_LENGTH_S_MIN).then(|| per(count(second), second.length_s))
    })
}

/// The percentile curve of one measure.
pub fn tail(report: &Report, measure: Measure) -> Result<Vec<(f64, f64)>, String> {
    let Some(distribution) = report.whole.latencies.get(&measure) else { return Ok(Vec::new()) };
    Ok(curve(&distribution.histogram()?).into_iter().map(|(x, us)| (x, us as f64)).collect())
}

/// CPU of the server's process as percent of one core.
pub fn server_cpu(report: &Report) -> Vec<(f64, f64)> {
    rates(report, |second| second.server.map_or(0.0, |used| used.cpu_s() * 100.0))
}

/// Its resident memory.
pub fn server_memory(report: &Report) -> Vec<(f64, f64)> {
    over_time(report, |second| second.server.map(|used| used.resident as f64 / 1e6))
}

/// Bytes both ways, in MB/s.
pub fn volume(report: &Report) -> Vec<(f64, f64)> {
    rates(report, |second| second.traffic.bytes_moved() as f64 / 1e6)
}

/// Every plot of one run that has something to show.
pub fn of_run(report: &Report) -> Result<Vec<Chart>, String> {
    let mut charts = Vec::new();
    charts.extend(report.sweep.as_ref().map(knee));
    charts.extend(latencies(report));
    charts.push(percentiles(report)?);
    charts.extend(throughput(report));
    charts.extend(server(report));
    charts.extend(generator(report));
    for chart in &mut charts {
        chart.warm_up_s = report.warm_up_s;
    }
    charts.retain(Chart::has_points);
    Ok(charts)
}

/// The primary measure first, and wide.
fn latencies(report: &Report) -> Vec<Chart> {
    let mut measures: Vec<Measure> = report.whole.latencies.keys().copied().collect();
    measures.sort_by_key(|measure| (*measure != report.primary, *measure));
    let mut charts = Vec::new();
    for measure in measures {
        let title = format!("Latency over time: {}", measure.title());
        let mut chart = Chart::over_time(
            &format!("latency-{}", measure.tag()),
            &title,
            "percentiles of each second",
            Y::Us,
        );
        chart.log = true;
        chart.wide = charts.is_empty();
        let points = |of: fn(&super::distribution::Points) -> u64| {
            over_time(report, |second| second.latencies.get(&measure).map(|points| of(points) as f64))
        };
        chart.series = vec![
            Series::line("max", GREY, points(|p| p.max)),
            Series::line("p99.9", 6, points(|p| p.p999)),
            Series::line("p99", 0, points(|p| p.p99)),
            Series::line("p50", 2, points(|p| p.p50)),
        ];
        charts.push(chart);
    }
    charts
}

fn percentiles(report: &Report) -> Result<Chart, String> {
    let mut chart = Chart::over_time(
        "percentiles",
        "Latency by percentile",
        "share of values that are at most as high, the whole run without warm-up",
        Y::Us,
    );
    chart.x = X::Tail;
    chart.wide = true;
    for measure in Measure::ALL {
        let points = tail(report, measure)?;
        if !points.is_empty() {
            chart.series.push(Series::line(measure.title(), measure as usize, points));
        }
    }
    Ok(chart)
}

fn throughput(report: &Report) -> Vec<Chart> {
    let mut volume = Chart::over_time("volume", "Throughput", "keys and values, MB = 10^6 bytes", Y::Mbps);
    let mut records = Chart::over_time("records", "Records", "per second", Y::Rate);
    let traffic = &report.whole.traffic;
    if traffic.records_sent > 0 {
        volume.series.push(Series::line("sent", 0, rates(report, |s| s.traffic.bytes_sent as f64 / 1e6)));
        records.series.push(Series::line("sent", 0, rates(report, |s| s.traffic.records_sent as f64)));
    }
    if traffic.records_received > 0 {
        volume.series.push(Series::line(
            "received",
            1,
            rates(report, |s| s.traffic.bytes_received as f64 / 1e6),
        ));
        records.series.push(Series::line(
            "received",
            1,
            rates(report, |s| s.traffic.records_received as f64),
        ));
    }
    if traffic.shares.acknowledged() > 0 {
        let points = rates(report, |second| second.traffic.shares.acknowledged() as f64);
        records.series.push(Series::line("acknowledged", 2, points));
    }
    if traffic.intended > 0 {
        let points = rates(report, |second| second.traffic.intended as f64);
        records.series.push(Series { dash: true, ..Series::line("asked for", GREY, points) });
    }
    vec![volume, records]
}

fn server(report: &Report) -> Vec<Chart> {
    if report.seconds.iter().all(|second| second.server.is_none()) {
        return Vec::new();
    }
    let used = |value: fn(&super::server::ServerUse) -> f64| {
        over_time(report, |second| {
            let used = second.server.as_ref().filter(|_| second.length_s >= RATE_LENGTH_S_MIN)?;
            Some(per(value(used), second.length_s))
        })
    };
    let mut cpu = Chart::over_time("server-cpu", "Server CPU", "percent of one core", Y::Percent);
    cpu.series = vec![
        Series::line("both", 0, used(|u| u.cpu_s() * 100.0)),
        Series::line("user", 2, used(|u| u.cpu_user_s * 100.0)),
        Series::line("system", 1, used(|u| u.cpu_system_s * 100.0)),
    ];
    let mut memory =
        Chart::over_time("server-memory", "Server memory", "resident, without page cache", Y::Mb);
    memory.series = vec![Series::line("resident", 6, server_memory(report))];
    let mut disk =
        Chart::over_time("server-disk", "Server disk", "bytes of the process, MB = 10^6 bytes", Y::Mbps);
    disk.series = vec![
        Series::line("written", 1, used(|u| u.disk_written.unwrap_or(0) as f64 / 1e6)),
        Series::line("read", 0, used(|u| u.disk_read.unwrap_or(0) as f64 / 1e6)),
    ];
    let mut switches =
        Chart::over_time("server-switches", "Server context switches", "of all its threads", Y::Rate);
    switches.series = vec![
        Series::line("voluntary", 0, used(|u| u.switches_voluntary as f64)),
        Series::line("involuntary", 1, used(|u| u.switches_involuntary as f64)),
    ];
    vec![cpu, memory, disk, switches]
}

fn generator(report: &Report) -> Vec<Chart> {
    let mut cpu = Chart::over_time(
        "generator-cpu",
        "Generator CPU",
        "its busiest executor, percent of one core",
        Y::Percent,
    );
    let busy = |second: &Second| (second.length_s >= RATE_LENGTH_S_MIN).then_some(second.health.cpu * 100.0);
    cpu.series = vec![Series::line("busiest executor", 3, over_time(report, busy))];
    let mut late =
        Chart::over_time("generator-late", "Generator lateness", "p99 of how late requests started", Y::Us);
    let points = over_time(report, |second| second.health.late_p99.map(|us| us as f64));
    late.series = vec![Series::line("p99", 3, points)];
    let mut errors = Chart::over_time("errors", "Errors", "per second", Y::Rate);
    if report.seconds.iter().any(|second| second.errors > 0) {
        errors.series = vec![Series::line("errors", 7, rates(report, |second| second.errors as f64))];
    }
    vec![cpu, late, errors]
}

/// What each step of a sweep measured.
fn knee(sweep: &Sweep) -> Chart {
    let note = format!("p99 of each step; {}", sweep.verdict);
    let mut chart = Chart::over_time("sweep", "Latency by rate", &note, Y::Us);
    (chart.x, chart.wide, chart.log) = (X::Rate, true, true);
    let points = |of: fn(&Outcome) -> bool| {
        let mut points: Vec<(f64, f64)> = sweep
            .steps
            .iter()
            .filter(|step| of(&step.outcome))
            .filter_map(|step| Some((step.asked.round(), step.p99? as f64)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let dots = |name, color, points| Series { dots: true, ..Series::line(name, color, points) };
    let highest = sweep.steps.iter().map(|step| step.asked).fold(0.0, f64::max);
    let limit = vec![(0.0, sweep.p99_limit as f64), (highest, sweep.p99_limit as f64)];
    chart.series = vec![
        dots("passed", 2, points(|o| matches!(o, Outcome::Passed))),
        dots("failed", 7, points(|o| matches!(o, Outcome::Failed(_)))),
        dots("inconclusive", 3, points(|o| matches!(o, Outcome::Inconclusive(_)))),
        Series { dash: true, ..Series::line("limit", GREY, limit) },
    ];
    chart.series.retain(|series| !series.points.is_empty());
    chart
}
