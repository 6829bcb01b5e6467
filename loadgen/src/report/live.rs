//! One line a second while a run goes on.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use super::format;
use super::interval::Measure;
use super::model::Second;

/// Cells of the progress bar.
const BAR_CELLS: usize = 30;

/// What one second looked like.
#[derive(Clone, Debug)]
pub struct Line {
    /// The second itself.
    pub second: Second,
    /// The measure to show.
    pub primary: Measure,
    /// How much of the run is done, from 0 to 1; `None` if that is unknown.
    pub progress: Option<f64>,
    /// Whether the server's process has ended.
    pub server_gone: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = &self.second;
        let traffic = &second.traffic;
        write!(f, "{:>7.1} s", second.at_s)?;
        let sent = (traffic.records_sent, traffic.bytes_sent, "");
        let received = (traffic.records_received, traffic.bytes_received, " in");
        // An idle second of a producer is worth a zero; a producer that consumes nothing is not.
        let both = [sent, received].into_iter().filter(|part| part.0 > 0).collect::<Vec<_>>();
        let shown = if both.is_empty() { vec![sent] } else { both };
        for (records, bytes, way) in shown {
            let (rate, volume) = (format::rate(second.rate(records)), format::megabytes(second.rate(bytes)));
            write!(f, "  {rate:>11} rec/s{way} {volume:>8} MB/s")?;
        }
        match second.latencies.get(&self.primary) {
            Some(points) => {
                for (name, us) in
                    [("p50", points.p50), ("p99", points.p99), ("p99.9", points.p999), ("max", points.max)]
                {
                    write!(f, "  {name} {:>7}", format::latency(us))?;
                }
            }
            None => write!(f, "  no {} latency", self.primary.title())?,
        }
        write!(f, "  errors {}", format::count(second.errors))?;
        for (name, value) in &second.gauges {
            write!(f, "  {name} {}", format::count(*value))?;
        }
        if let Some(used) = &second.server {
            let cpu = format::percent(format::per(used.cpu_s(), second.length_s));
            write!(f, "  server {cpu} CPU {} MB", format::megabytes(used.resident as f64))?;
        } else if self.server_gone {
            f.write_str("  SERVER GONE")?;
        }
        if second.warm_up {
            f.write_str("  (warm-up)")?;
        }
        if let Some(reason) = &second.health.bottleneck {
            write!(f, "  GENERATOR IS THE BOTTLENECK: {reason}")?;
        }
        Ok(())
    }
}

/// Prints lines: with a progress bar beneath on a terminal, plain otherwise.
#[derive(Debug)]
pub struct Live<W: Write = io::Stderr> {
    out: W,
    terminal: bool,
    bar_shown: bool,
}

impl Live {
    /// To standard error, where the bar disturbs no output that is kept.
    pub fn new() -> Self {
        let out = io::stderr();
        let terminal = out.is_terminal();
        Live::to(out, terminal)
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write> Live<W> {
    /// To something else, as if it were a terminal or not.
    pub fn to(out: W, terminal: bool) -> Self {
        Live { out, terminal, bar_shown: false }
    }

    /// Prints one second. A closed output is no reason to stop measuring.
    pub fn show(&mut self, line: &Line) {
        let _ = self.try_show(line);
    }

    /// Removes the bar.
    pub fn finish(mut self) {
        let _ = self.clear();
    }

    fn try_show(&mut self, line: &Line) -> io::Result<()> {
        self.clear()?;
        writeln!(self.out, "{line}")?;
        if let Some(progress) = line.progress.filter(|_| self.terminal) {
            write!(self.out, "{}", bar(progress, line.second.at_s))?;
            self.bar_shown = true;
        }
        self.out.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.bar_shown) {
            write!(self.out, "\r\x1b[2K")?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// The bar, how much is done, and how long the rest takes at this pace.
fn bar(progress: f64, at_s: f64) -> String {
    let full = (0..BAR_CELLS).filter(|cell| (*cell as f64) + 0.5 <= progress * BAR_CELLS as f64).count();
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS - full));
    let left = if progress > 0.0 { at_s / progress - at_s } else { f64::NAN };
    let left =
        if left.is_finite() { format!("  {} left", format::clock(left.round())) } else { String::new() };
    format!("{bar} {:>3.0} %{left}", progress * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::distribution::Points;
    use crate::report::health::Health;
    use crate::report::server::ServerUse;

    fn line() -> Line {
        let mut second = Second { at_s: 12.0, length_s: 2.0, errors: 3, ..Second::default() };
        second.traffic.records_sent = 1_000_000;
        second.traffic.bytes_sent = 500_000_000;
        let points = Points { count: 9, mean: 1.0, p50: 870, p99: 3_420, p999: 12_300, max: 1_020_000 };
        second.latencies.insert(Measure::Produce, points);
        Line { second, primary: Measure::Produce, progress: Some(0.4), server_gone: false }
    }

    #[test]
    fn a_line_says_rate_volume_latency_and_errors() {
        let text = line().to_string();
        for part in [
            "12.0 s",
            "500,000 rec/s",
            "250.0 MB/s",
            "p50  870 us",
            "p99 3.42 ms",
            "p99.9 12.3 ms",
            "max  1.02 s",
            "errors 3",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(
            !text.contains("warm-up") && !text.contains("BOTTLENECK") && !text.contains(" in "),
            "{text}"
        );
    }

    #[test]
    fn a_line_says_what_is_special() {
        let mut line = line();
        line.second.warm_up = true;
        line.second.health = Health::judge(Some(9_000), Some(10_000), 0.5);
        line.second.traffic.records_received = 10;
        line.second.gauges.insert("connections".to_owned(), 10_000);
        line.second.server =
            Some(ServerUse { cpu_user_s: 1.0, resident: 40_000_000, ..ServerUse::default() });
        let text = line.to_string();
        for part in [
            "(warm-up)",
            "BOTTLENECK: starts late",
            "rec/s in",
            "connections 10,000",
            "server 50 % CPU 40.0 MB",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        line.second.server = None;
        line.server_gone = true;
        assert!(line.to_string().contains("SERVER GONE"));
    }

    #[test]
    fn a_second_in_which_nothing_happened_is_told_too() {
        let line =
            Line { second: Second::default(), primary: Measure::Fetch, progress: None, server_gone: false };
        let text = line.to_string();
        assert!(text.contains(" 0 rec/s") && text.contains("no fetch latency"), "{text}");
    }

    fn printed(terminal: bool) -> String {
        let mut bytes = Vec::new();
        let mut live = Live::to(&mut bytes, terminal);
        live.show(&line());
        live.show(&line());
        live.finish();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_terminal_has_a_bar_that_leaves_nothing_behind() {
        let text = printed(true);
        assert_eq!(
            text.matches('\n').count(),
            2,
            "the bar stands on a line of its own without end: {text:?}"
        );
        assert_eq!(text.matches("40 %  18 s left").count(), 2, "{text:?}");
        assert_eq!(text.matches("\r\x1b[2K").count(), 2, "{text:?}");
        assert!(text.ends_with("\x1b[2K"), "{text:?}");
        assert_eq!(text.matches('█').count(), 2 * 12, "{text:?}");
    }

    #[test]
    fn a_file_has_lines_only() {
        let text = printed(false);
        assert!(!text.contains('\x1b') && !text.contains('█') && !text.contains('\r'), "{text:?}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn the_bar_is_never_longer_than_itself() {
        for progress in [0.0, 0.001, 0.5, 1.0] {
            let text = bar(progress, 10.0);
            assert_eq!(text.chars().filter(|c| "█░".contains(*c)).count(), BAR_CELLS, "{text}");
        }
        assert!(bar(0.0, 1.0).contains("0 %") && !bar(0.0, 1.0).contains("left"));
        assert!(bar(1.0, 1.0).contains("100 %"));
    }
}
