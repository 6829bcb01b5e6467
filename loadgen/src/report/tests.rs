//! Files and pages, whole: what was measured must be in them, and nothing else must get in.

use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::compare::{compare, side_by_side};
use super::interval::{Measure, Verification, histogram};
use super::knee::{Knee, KneeSettings, StepResult};
use super::model::{Report, VERSION};
use super::sample::{HOSTILE, report};
use super::{page, summary};

/// The page's elements in order, with a failure where they do not nest. Scripts and styles are raw text, as in HTML.
fn elements(html: &str) -> Vec<String> {
    const VOID: [&str; 3] = ["meta", "img", "br"];
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    let mut rest = html.strip_prefix("<!doctype html>").expect("a page");
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("every tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag} ends what is not open");
            continue;
        }
        let name = tag.split_whitespace().next().expect("a name").to_owned();
        if name == "script" || name == "style" {
            let end = rest.find(&format!("</{name}>")).expect("it ends");
            rest = &rest[end + name.len() + 3..];
        } else if !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        seen.push(name);
    }
    assert!(open.is_empty(), "{open:?} never ends");
    seen
}

/// The data that the page's script draws.
fn charts(html: &str) -> Vec<serde_json::Value> {
    let (_, rest) = html.split_once("id=\"charts\">").expect("data");
    let (json, _) = rest.split_once("</script>").expect("an end");
    serde_json::from_str(json).expect("JSON")
}

fn chart<'a>(charts: &'a [serde_json::Value], id: &str) -> &'a serde_json::Value {
    charts.iter().find(|chart| chart["id"] == id).unwrap_or_else(|| panic!("no chart {id}"))
}

fn last_y(series: &serde_json::Value) -> f64 {
    series["points"].as_array().and_then(|points| points.last()?[1].as_f64()).expect("a point")
}

#[test]
fn json_comes_back_as_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.json");
    let mut written = report(HOSTILE, 3);
    written.write_json(&file).expect("writable");
    let read = Report::read_json(&file).expect("readable");
    written.log.clear();
    assert_eq!(read, written);
}

#[test]
fn what_is_no_report_is_refused_with_its_name_and_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("b.json");
    let good = serde_json::to_value(report("run", 1)).expect("JSON");
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = good.clone();
        change(&mut value);
        value.to_string()
    };
    let newer = format!("format version {}", VERSION + 1);
    for (text, why) in [
        (String::new(), "not JSON"),
        ("{\"format\": ".to_owned(), "not JSON"),
        ("[1]".to_owned(), "not a report"),
        ("{\"version\": 1}".to_owned(), "not a report"),
        (with(&|v| v["format"] = "other".into()), "not a report"),
        (with(&|v| v["version"] = (VERSION + 1).into()), newer.as_str()),
        // A newer version may look like anything else.
        ("{\"format\": \"millrace-loadgen report\", \"version\": 99}".to_owned(), "newer"),
        (with(&|v| v["version"] = "x".into()), "version"),
        (with(&|v| v["version"] = 0.into()), "version"),
        (with(&|v| v["whole"]["length_s"] = "x".into()), "damaged"),
        (with(&|v| drop(v.as_object_mut().and_then(|v| v.remove("seconds")))), "seconds"),
        (with(&|v| v["whole"]["latencies"]["produce"]["hdr"] = "AAAA".into()), "produce latencies"),
    ] {
        std::fs::write(&file, &text).expect("writable");
        let error = Report::read_json(&file).expect_err(&text).to_string();
        assert!(error.contains("b.json: ") && error.contains(why), "{error} does not say {why}");
    }
    let missing = Report::read_json(&dir.path().join("none.json")).expect_err("nothing there").to_string();
    assert!(missing.contains("none.json"), "{missing}");
}

#[test]
fn the_interval_log_is_read_back_value_by_value() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.hdr");
    report("run", 2).write_hdr(&file).expect("writable");
    let bytes = std::fs::read(&file).expect("readable");
    let (mut started, mut intervals) = (None, Vec::new());
    for entry in IntervalLogIterator::new(&bytes) {
        match entry.expect("a line of the log") {
            LogEntry::StartTime(time) => started = Some(time.as_secs()),
            LogEntry::Interval(interval) => intervals.push(interval),
            LogEntry::BaseTime(_) => {}
        }
    }
    assert_eq!(started, Some(1_700_000_000));
    assert_eq!(intervals.len(), 20, "warm-up is in the log");
    let mut whole = histogram();
    for (index, interval) in intervals.iter().enumerate() {
        assert_eq!(interval.tag().map(|tag| tag.as_str().to_owned()).as_deref(), Some("produce"));
        assert_eq!(interval.start_timestamp(), Duration::from_secs(index as u64));
        assert_eq!(interval.duration(), Duration::from_secs(1));
        let packed =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, interval.encoded_histogram());
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut packed.expect("base64").as_slice()).expect("a histogram");
        assert_eq!(read.len(), 2_000);
        if index >= 2 {
            whole.add(&read).expect("the same bounds");
        }
    }
    let expected = report("run", 2).primary().expect("latencies").histogram().expect("readable");
    assert_eq!(whole, expected);
}

#[test]
fn a_page_nests_and_has_every_number_and_nothing_hostile() {
    let html = page::single(&report(HOSTILE, 1)).expect("a page");
    let elements = elements(&html);
    assert!(!elements.iter().any(|name| name == "img"), "a label became an element");
    assert_eq!(elements.iter().filter(|name| *name == "script").count(), 2);
    for text in [
        "36,000",
        "2,000",
        "1.00 ms",
        "127.0.0.1:9092",
        "record-size",
        "18.0 s measured after 2.00 s",
        "&lt;img src=x",
    ] {
        assert!(html.contains(text), "{text} is not in the page");
    }
    let charts = charts(&html);
    let latency = chart(&charts, "latency-produce");
    let names: Vec<&str> =
        latency["series"].as_array().expect("series").iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["max", "p99.9", "p99", "p50"]);
    assert_eq!(latency["series"][3]["points"].as_array().map(Vec::len), Some(20), "warm-up is shown");
    assert_eq!(last_y(&latency["series"][3]), 500.0);
    assert_eq!(latency["warm_up_s"], 2.0);
    assert_eq!(last_y(&chart(&charts, "volume")["series"][0]), 2.0);
    let tail = &chart(&charts, "percentiles")["series"][0]["points"];
    assert_eq!(tail.as_array().and_then(|points| points.last()?[0].as_f64()), Some(36_000.0));
    for id in charts.iter().filter_map(|chart| chart["id"].as_str()) {
        assert_eq!(html.matches(&format!("data-chart=\"{id}\"")).count(), 1, "{id} has one place");
    }
    assert!(!charts.iter().any(|chart| chart["id"] == "server-cpu"), "no server was watched");
}

#[test]
fn what_must_be_known_first_stands_on_top() {
    let mut run = report("run", 1);
    run.whole.verification.lost = 3;
    run.whole.health.bottleneck = Some("executor at 99 % CPU".to_owned());
    let html = page::single(&run).expect("a page");
    let tiles = html.find("class=\"tiles\"").expect("tiles");
    for text in ["Verification failed: 3 lost", "The generator itself was the bottleneck"] {
        assert!(html.find(text).expect("said") < tiles, "{text}");
    }
    assert!(summary::remarks(&run).iter().any(|line| line.contains("VERIFICATION FAILED")));
    assert!(!page::single(&report("run", 1)).expect("a page").contains("class=\"banner"));
}

#[test]
fn foreign_records_are_told_and_no_failure() {
    let mut run = report("run", 1);
    run.whole.verification = Verification { checked: 0, foreign: 70, ..Verification::default() };
    assert!(run.whole.verification.is_clean());
    let said = |run: &Report, words: &str| summary::remarks(run).iter().any(|line| line.contains(words));
    assert!(said(&run, "70 foreign") && said(&run, "nothing is known") && !said(&run, "FAILED"));
    assert!(page::single(&run).expect("a page").contains("70 records were not checked"));
    run.whole.verification.checked = 5;
    assert!(said(&run, "70 foreign") && said(&run, "nothing wrong"));
    run.whole.verification.lost = 1;
    assert!(said(&run, "70 foreign") && said(&run, "VERIFICATION FAILED"));
}

#[test]
fn a_comparison_has_ratios_to_the_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut files: Vec<PathBuf> = Vec::new();
    for (name, slow) in [("first", 10), ("second", 5), ("third", 25)] {
        let file = dir.path().join(format!("{name}.json"));
        report(name, slow).write_json(&file).expect("writable");
        files.push(file);
    }
    let out = dir.path().join("out.html");
    compare(&files, &out).expect("comparable");
    let html = std::fs::read_to_string(&out).expect("a page");
    elements(&html);
    let row = html.split("<tr>").find(|row| row.contains(">produce p99<")).expect("a row");
    assert!(row.contains("9.90 ms") && row.contains("4.95 ms") && row.contains("24.8 ms"), "{row}");
    assert!(row.contains("ratio good\">0.50 ×") && row.contains("ratio bad\">2.50 ×"), "{row}");
    let same = html.split("<tr>").find(|row| row.contains(">records sent/s<")).expect("a row");
    assert_eq!(same.matches("class=\"ratio\">1.00 ×").count(), 2, "{same}");
    let charts = charts(&html);
    for id in ["percentiles-produce", "produce-1", "volume"] {
        let names: Vec<&serde_json::Value> =
            chart(&charts, id)["series"].as_array().expect("series").iter().map(|s| &s["name"]).collect();
        assert_eq!(names, ["first", "second", "third"]);
    }
    assert!(!html.contains("Settings that differ"), "they are the same");
}

#[test]
fn a_comparison_copes_with_names_settings_and_holes() {
    let mut second = report(HOSTILE, 1);
    second.settings[1].1 = "100".to_owned();
    second.whole.latencies.clear();
    let html = side_by_side(&[report(HOSTILE, 1), second]).expect("a page");
    assert!(!elements(&html).iter().any(|name| name == "img"));
    assert!(html.contains("#1") && html.contains("#2"), "the same label twice is told apart");
    let (_, differing) = html.split_once("Settings that differ").expect("one differs");
    let (differing, _) = differing.split_once("</table>").expect("a table");
    assert!(differing.contains("record-size") && !differing.contains("bootstrap"), "{differing}");
    let row = html.split("<tr>").find(|row| row.contains(">produce p50<")).expect("a row");
    assert!(row.contains("–"), "{row}");
    assert!(side_by_side(&vec![report("run", 1); 10]).is_ok(), "more runs than colours");
}

#[test]
fn a_comparison_of_what_is_no_report_names_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, bad, out) = (dir.path().join("a.json"), dir.path().join("b.json"), dir.path().join("o.html"));
    report("run", 1).write_json(&good).expect("writable");
    std::fs::write(&bad, "{}").expect("writable");
    let error = compare(&[good, bad], &out).expect_err("no report").to_string();
    assert!(error.contains("b.json: not a report") && !out.exists(), "{error}");
    assert!(compare(&[], &out).is_err());
}

#[test]
fn a_sweep_is_in_the_report_of_its_knee() {
    let mut run = report("run", 1);
    let mut knee = Knee::new(KneeSettings { steps_max: 2, ..KneeSettings::default() });
    let asked = knee.next(None).expect("a first rate");
    let step = StepResult::of(asked, &run);
    assert!(
        (step.got - 2_000.0).abs() < 1.0 && step.p99 == Some(Duration::from_micros(990)) && step.errors == 0,
        "{step:?}"
    );
    knee.next(Some(&step));
    run.sweep = Some(knee.sweep());
    let text = run.summary();
    assert!(text.contains("failed: reached 20 % of it") && text.contains("no rate passes"), "{text}");
    let back = Report::from_json(&serde_json::to_string(&run).expect("JSON")).expect("a report");
    assert_eq!(back.sweep, run.sweep);
    let html = page::single(&run).expect("a page");
    elements(&html);
    assert_eq!(chart(&charts(&html), "sweep")["x"], "rate");
}

#[test]
fn a_measure_has_the_place_of_its_number() {
    for (index, measure) in Measure::ALL.into_iter().enumerate() {
        assert_eq!(measure as usize, index);
        assert!(!measure.tag().contains([' ', ',']), "a tag of the log has neither");
    }
}
