//! Load generator for any Kafka broker: open loop by default, one executor per core, honest about itself.
//!
//! Exit status: 0 when done; 1 when verification found something or nothing came of it but errors; 2 for a wrong command
//! line; 3 when the cluster or this machine does not allow it.
#![forbid(unsafe_code)]

mod cli;
mod clock;
mod cluster;
mod codec;
mod core;
mod drive;
mod group;
mod link;
mod mode;
mod payload;
mod plan;
mod report;
mod run;
mod schedule;
mod setup;
mod shift;
mod spans;
mod stamp;
mod template;
mod units;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, From, Mode, OutputArgs, RunArgs};
use drive::{Failure, Outcome};
use plan::{Group, Idle, Membership, Plan, Storm, Until};
use report::{Knee, KneeSettings, Measure, StepResult};
use run::Cores;
use stamp::Stamping;

/// The knee is known when the lowest rate that fails is no further above the highest that passes.
const KNEE_PRECISION: f64 = 0.05;

fn main() -> ExitCode {
    let done = match Cli::parse().mode {
        Mode::Compare(args) => report::compare(&args.files, &args.output)
            .map(|()| {
                println!("{}", args.output.display());
                ExitCode::SUCCESS
            })
            .map_err(|error| Failure::Environment(error.to_string())),
        mode => generate(mode),
    };
    match done {
        Ok(code) => code,
        Err(Failure::Usage(why)) => {
            eprintln!("millrace-loadgen: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Environment(why)) => {
            eprintln!("millrace-loadgen: {why}");
            ExitCode::from(3)
        }
    }
}

fn generate(mode: Mode) -> Result<ExitCode, Failure> {
    let planned = match mode {
        Mode::Produce(args) => produce(&args).map(|plan| (plan, args.run, args.output)),
        Mode::Consume(args) => consume(&args).map(|plan| (plan, args.run, args.output)),
        Mode::E2e(args) => both("e2e", &args).map(|plan| (plan, args.run, args.output)),
        Mode::Mixed(args) => both("mixed", &args).map(|plan| (plan, args.run, args.output)),
        Mode::Connections(args) => connections(&args).map(|plan| (plan, args.run, args.output)),
        Mode::Groups(args) => groups(&args).map(|plan| (plan, args.run, args.output)),
        Mode::Share(args) => share(&args).map(|plan| (plan, args.run, args.output)),
        Mode::Sweep(args) => return sweep(&args),
        Mode::Compare(_) => Err("compare generates nothing".to_owned()),
    };
    let (plan, run, output) = planned.map_err(Failure::Usage)?;
    let mut cores = start(&plan, &run)?;
    let outcome = drive::run(&mut cores, &plan, &output)?;
    present(&outcome, &output)
}

fn start(plan: &Plan, run: &RunArgs) -> Result<Cores, Failure> {
    let cpus = run.cpus.as_deref().map(units::cpus).transpose().map_err(Failure::Usage)?;
    Cores::start(plan.cores, cpus.as_deref(), run.spin).map_err(Failure::Environment)
}

fn present(outcome: &Outcome, output: &OutputArgs) -> Result<ExitCode, Failure> {
    let report = &outcome.report;
    println!("{}", report.summary());
    let failed = |error: report::ReportError| Failure::Environment(error.to_string());
    output.json.as_deref().map_or(Ok(()), |path| report.write_json(path)).map_err(failed)?;
    output.hdr.as_deref().map_or(Ok(()), |path| report.write_hdr(path)).map_err(failed)?;
    output.html.as_deref().map_or(Ok(()), |path| report.write_html(path)).map_err(failed)?;
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn produce(args: &cli::ProduceArgs) -> Result<Plan, String> {
    let mut plan = Plan::new("produce", Measure::Produce, &args.cluster, &args.topics, &args.run)?;
    plan.send(&args.load, Stamping::None)?;
    Ok(plan)
}

fn consume(args: &cli::ConsumeArgs) -> Result<Plan, String> {
    let primary = if args.stamped { Measure::EndToEnd } else { Measure::Fetch };
    let mut plan = Plan::new("consume", primary, &args.cluster, &args.topics, &args.run)?;
    plan.receive(&args.fetch, args.from, if args.stamped { Stamping::Time } else { Stamping::None })?;
    if let Some(fetch) = &mut plan.fetch {
        fetch.any_run = args.stamped;
        fetch.group = args.group.clone().map(|name| Group {
            name,
            sets: fetch.sets,
            commit_every: units::nanos(args.commit_every),
        });
    }
    plan.membership = Membership { session: args.session_timeout, heartbeat: args.heartbeat };
    if args.run.duration.is_none() && args.run.records.is_none() && args.from == From::Earliest {
        plan.until = Until::LogEnds;
    }
    Ok(plan)
}

fn connections(args: &cli::ConnectionsArgs) -> Result<Plan, String> {
    let mut plan = Plan::new("connections", Measure::Connect, &args.cluster, &args.topics, &args.run)?;
    if args.run.records.is_some() || args.connect_rate <= 0.0 {
        return Err("connections end by --duration, and open at a rate above zero".to_owned());
    }
    plan.idle = Some(Idle {
        connections: args.connections,
        rate: args.connect_rate,
        every: units::nanos(args.every),
        slow: args.slow,
    });
    if args.load.is_asked_for() {
        plan.send(&args.load, Stamping::None)?;
    }
    Ok(plan)
}

fn share(args: &cli::ShareArgs) -> Result<Plan, String> {
    let mut plan = Plan::new("share", Measure::EndToEnd, &args.cluster, &args.topics, &args.run)?;
    if args.load.is_asked_for() {
        plan.send(&args.load, Stamping::Time)?;
    } else {
        plan.primary = Measure::Fetch;
    }
    plan.share(&args.shares)?;
    Ok(plan)
}

fn groups(args: &cli::GroupsArgs) -> Result<Plan, String> {
    let mut plan = Plan::new("groups", Measure::Rebalance, &args.cluster, &args.topics, &args.run)?;
    if args.run.records.is_some() || args.storm < 0.0 {
        return Err("groups end by --duration, and a storm has a rate".to_owned());
    }
    plan.storm = Some(Storm {
        groups: args.groups,
        members: args.members,
        rate: args.storm,
        name: args.group.clone(),
    });
    plan.membership = Membership { session: args.session_timeout, heartbeat: args.heartbeat };
    Ok(plan)
}

/// Runs one step after the other until the knee is known.
fn sweep(args: &cli::SweepArgs) -> Result<ExitCode, Failure> {
    let planned = if args.e2e {
        both("e2e", &args.both)
    } else {
        let both = args.both.clone();
        produce(&cli::ProduceArgs {
            cluster: both.cluster,
            topics: both.topics,
            load: both.load,
            run: both.run,
            output: both.output,
        })
    };
    let mut plan = planned.map_err(Failure::Usage)?;
    plan.mode = "sweep";
    let start_rate = plan.load.as_ref().and_then(|load| load.rate);
    let start_rate = start_rate.ok_or_else(|| Failure::Usage("sweep begins at a --rate".to_owned()))?;
    if args.growth <= 1.0 {
        return Err(Failure::Usage("--growth must be above 1".to_owned()));
    }
    let mut knee = Knee::new(KneeSettings {
        start: start_rate,
        growth: args.growth,
        p99_limit: args.p99_limit,
        precision: KNEE_PRECISION,
        steps_max: args.steps,
    });
    let output = &args.both.output;
    let mut cores = start(&plan, &args.both.run)?;
    let (mut last, mut outcomes) = (None, Vec::new());
    while let Some(rate) = knee.next(last.as_ref()) {
        if last.is_some() {
            std::thread::sleep(args.pause);
        }
        if let Some(load) = &mut plan.load {
            load.rate = Some(rate);
        }
        eprintln!("sweep: {rate:.0} records/s");
        let outcome = drive::run(&mut cores, &plan, output)?;
        last = Some(StepResult::of(rate, &outcome.report));
        outcomes.push((rate, outcome));
    }
    let found = knee.sweep();
    // A rate may fail; records that are lost or damaged are another matter.
    let good = outcomes.iter().all(|(_, outcome)| outcome.verification.is_clean());
    let best = outcomes.iter().position(|(rate, _)| Some(*rate) == found.knee).unwrap_or(outcomes.len() - 1);
    let (_, mut outcome) = outcomes.swap_remove(best);
    outcome.report.sweep = Some(found);
    let code = present(&outcome, output)?;
    Ok(if good { ExitCode::SUCCESS } else { code })
}

fn both(mode: &'static str, args: &cli::BothArgs) -> Result<Plan, String> {
    let e2e = mode == "e2e";
    let primary = if e2e { Measure::EndToEnd } else { Measure::Produce };
    let mut plan = Plan::new(mode, primary, &args.cluster, &args.topics, &args.run)?;
    let stamping = if e2e { Stamping::Time } else { Stamping::None };
    plan.send(&args.load, stamping)?;
    plan.receive(
        &args.fetch,
        args.from.unwrap_or(if e2e { From::Latest } else { From::Earliest }),
        stamping,
    )?;
    Ok(plan)
}
