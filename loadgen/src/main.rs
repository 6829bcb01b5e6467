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
mod link;
mod mode;
mod payload;
mod plan;
mod report;
mod run;
mod schedule;
mod setup;
mod stamp;
mod template;
mod units;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, From, Mode, OutputArgs, RunArgs};
use drive::{Failure, Outcome};
use plan::{Plan, Until};
use report::Measure;
use run::Cores;
use stamp::Stamping;

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
        _ => Err("not yet".to_owned()),
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
    }
    if args.run.duration.is_none() && args.run.records.is_none() && args.from == From::Earliest {
        plan.until = Until::LogEnds;
    }
    Ok(plan)
}

fn both(mode: &'static str, args: &cli::BothArgs) -> Result<Plan, String> {
    let e2e = mode == "e2e";
    let primary = if e2e { Measure::EndToEnd } else { Measure::Produce };
    let mut plan = Plan::new(mode, primary, &args.cluster, &args.topics, &args.run)?;
    let stamping = if e2e { Stamping::Time } else { Stamping::None };
    plan.send(&args.load, stamping)?;
    plan.receive(&args.fetch, args.from.unwrap_or(if e2e { From::Latest } else { From::Earliest }), stamping)?;
    Ok(plan)
}
