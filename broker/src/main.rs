//! The Millrace broker: one binary to run it and to look at what it left on disk.

mod admin;
mod api;
mod boot;
mod cli;
mod cluster;
mod config;
mod data_dir;
mod environment;
mod fatal;
mod heap;
mod ids;
mod logging;
mod ready;
mod service;
mod settings;
mod shutdown;
mod telemetry;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use storage::disk::probe;

use cli::{Cli, Command, ServerArgs};
use config::Config;
use data_dir::DataDir;
use fatal::{Exit, Fatal};
use settings::Settings;
use settings::host::Host;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Server(args) => server(&args),
        Command::Check(args) => said(cli::check::run(&args.data_dir, &mut io::stdout())),
        Command::Dump(args) => said(cli::dump::run(&args.files, &mut io::stdout().lock())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => ExitCode::from(exit.code().to_le_bytes()[0]),
    }
}

/// Tells people at a terminal why a command failed.
fn said(result: Result<(), Fatal>) -> Result<(), Exit> {
    result.map_err(|fatal| {
        eprintln!("millrace: {fatal}");
        fatal.exit
    })
}

/// Runs a broker until it is asked to stop; everything from here on is said in the log.
fn server(args: &ServerArgs) -> Result<(), Exit> {
    said(logging::start(args.log_format))?;
    run(args).map_err(|fatal| {
        tracing::error!(exit_code = fatal.exit.code(), "{fatal}");
        fatal.exit
    })
}

fn run(args: &ServerArgs) -> Result<(), Fatal> {
    // Before any thread is started: all of them inherit what is blocked.
    let blocked = shutdown::block()
        .map_err(|error| Fatal::new(Exit::Environment, format!("cannot block signals: {error}")))?;
    let config = Config::gather(args.config.as_deref(), &args.sets, args.flags())?;
    let settings = Settings::new(&config, &Host::detect())?;
    config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    settings.notes.iter().for_each(|note| tracing::info!("{note}"));
    environment::handles::raise_open_files();
    environment::accept(&environment::judge_machine(&probe::machine(), settings.pinned_bytes()))?;
    let data_dir = DataDir::open(&settings.data_dir, settings.node_id, settings.disk_record.as_deref())?;
    environment::accept(&environment::judge_directory(&data_dir.path, &probe::directory(&data_dir.path)))?;
    tracing::info!(
        data_dir = %data_dir.path.display(),
        cluster_id = data_dir.cluster_id,
        node_id = data_dir.node_id.0,
        directory_id = data_dir.directory_id,
        cores = settings.cpus.len(),
        memory_bytes = settings.memory_bytes(),
        "starting"
    );
    let shutdown = shutdown::watch(blocked).map_err(|error| {
        Fatal::new(Exit::Environment, format!("cannot start a thread: {error}; raise the limit of processes"))
    })?;
    boot::run(settings, data_dir, shutdown)
}
