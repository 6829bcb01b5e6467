//! The search against servers whose knee is known.

use super::*;

fn settings(start: f64) -> KneeSettings {
    KneeSettings { start, p99_limit: Duration::from_millis(5), ..KneeSettings::default() }
}

fn good(asked: f64) -> StepResult {
    StepResult { asked, got: asked, p99: Some(Duration::from_millis(2)), errors: 0, bottleneck: None }
}

/// Runs a search against something that answers for each rate.
fn search(settings: KneeSettings, run: impl Fn(f64) -> StepResult) -> Knee {
    let mut knee = Knee::new(settings);
    let mut next = knee.next(None);
    let mut steps = 0;
    while let Some(rate) = next {
        steps += 1;
        assert!(steps <= 100, "the search does not end");
        next = knee.next(Some(&run(rate)));
    }
    knee
}

/// Latency breaks above `limit`.
fn server(limit: f64) -> impl Fn(f64) -> StepResult {
    move |rate| match rate <= limit {
        true => good(rate),
        false => StepResult { p99: Some(Duration::from_millis(50)), ..good(rate) },
    }
}

#[test]
fn the_knee_is_known_within_five_percent_from_any_start() {
    for limit in [37.0, 9_999.0, 10_000.0, 123_456.0, 4_000_000.0] {
        for start in [10.0, 10_000.0, 50_000_000.0] {
            let knee = search(settings(start), server(limit));
            let found = knee.sweep().knee.expect("a knee");
            assert!(found <= limit && found * 1.05 >= limit, "{found} for {limit} from {start}");
            assert!(knee.sweep().verdict.starts_with("knee: "), "{}", knee.sweep().verdict);
        }
    }
}

#[test]
fn the_rise_is_geometric_and_then_the_middle_is_tried() {
    let knee = search(KneeSettings { growth: 2.0, ..settings(1_000.0) }, server(5_000.0));
    let asked: Vec<f64> = knee.sweep().steps.iter().map(|step| step.asked.round()).collect();
    assert_eq!(asked[..5], [1_000.0, 2_000.0, 4_000.0, 8_000.0, 5_657.0]);
    assert!(asked.len() <= 9, "{asked:?}");
}

#[test]
fn each_way_to_fail_is_told_and_the_limits_themselves_pass() {
    let judge = |step: StepResult| Knee::new(settings(1.0)).judge(&step);
    assert_eq!(judge(good(100.0)), Outcome::Passed);
    assert_eq!(judge(StepResult { got: 97.0, ..good(100.0) }), Outcome::Passed);
    assert_eq!(judge(StepResult { p99: Some(Duration::from_millis(5)), ..good(100.0) }), Outcome::Passed);
    for (step, word) in [
        (StepResult { got: 96.9, ..good(100.0) }, "97 %"),
        (StepResult { got: f64::NAN, ..good(100.0) }, "reached"),
        (StepResult { p99: Some(Duration::from_micros(5_001)), ..good(100.0) }, "p99"),
        (StepResult { p99: None, ..good(100.0) }, "no latency"),
        (StepResult { errors: 2, ..good(100.0) }, "2 errors"),
    ] {
        let outcome = judge(step);
        assert!(matches!(&outcome, Outcome::Failed(reason) if reason.contains(word)), "{outcome:?}");
    }
    let slow = StepResult { bottleneck: Some("at 99 % CPU".to_owned()), errors: 1, ..good(100.0) };
    assert_eq!(judge(slow), Outcome::Inconclusive("at 99 % CPU".to_owned()));
}

#[test]
fn a_generator_at_its_limit_is_not_taken_for_a_knee() {
    let weak = |rate: f64| match rate <= 20_000.0 {
        true => good(rate),
        false => StepResult { bottleneck: Some("executor at 99 % CPU".to_owned()), ..good(rate) },
    };
    let sweep = search(settings(10_000.0), weak).sweep();
    assert!(sweep.verdict.contains("at least") && sweep.verdict.contains("generator"), "{}", sweep.verdict);
    assert!(
        sweep.table().contains("inconclusive: the generator was the bottleneck (executor at 99 % CPU)"),
        "{}",
        sweep.table()
    );

    // The server gives way below the generator's own limit: that is a knee, though higher steps were inconclusive.
    let both = |rate: f64| match rate {
        r if r <= 12_000.0 => good(r),
        r if r <= 20_000.0 => StepResult { errors: 1, ..good(r) },
        r => weak(r),
    };
    let sweep = search(settings(30_000.0), both).sweep();
    assert!(sweep.verdict.starts_with("knee: "), "{}", sweep.verdict);
}

#[test]
fn searches_without_a_knee_end_and_say_so() {
    let all = search(KneeSettings { steps_max: 5, ..settings(100.0) }, good).sweep();
    assert!(all.steps.len() == 5 && all.verdict.contains("not reached"), "{}", all.verdict);

    let none = search(settings(100.0), |rate| StepResult { errors: 1, ..good(rate) }).sweep();
    assert!(none.knee.is_none() && none.verdict.contains("no rate passes"), "{}", none.verdict);

    let short = search(KneeSettings { steps_max: 3, growth: 4.0, ..settings(100.0) }, server(200.0)).sweep();
    assert!(
        short.verdict.contains("between 200") || short.verdict.contains("steps ran out"),
        "{}",
        short.verdict
    );

    assert_eq!(Knee::new(settings(1.0)).sweep().verdict, "nothing was tried");
    let odd = KneeSettings { growth: 0.5, precision: 0.0, ..settings(f64::NAN) };
    assert!(search(odd, server(50.0)).sweep().steps.len() <= 40);
}

#[test]
fn the_table_has_every_step() {
    let knee = search(settings(10_000.0), server(12_000.0));
    let text = knee.sweep().table();
    assert_eq!(
        text.matches("passed").count() + text.matches("failed: p99").count(),
        knee.sweep().steps.len()
    );
    assert!(text.contains("limit 5.00 ms") && text.contains("15,000"), "{text}");
    assert!(text.trim_end().ends_with("fail)"), "{text}");
}
