//! The command line. What is not there yet is not offered.

pub mod check;
pub mod dump;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{FlagValue, keys};
use crate::logging::LogFormat;

/// A Kafka-compatible streaming broker.
#[derive(Parser, Debug)]
#[command(name = "millrace", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a broker in the foreground.
    Server(Box<ServerArgs>),
    /// Look at this machine: kernel, io_uring, memlock, file handles, disk alignment; what to do about each.
    Check(CheckArgs),
    /// Print files at rest, with every checksum verified: journal, segment, index, snapshot.
    Dump(DumpArgs),
}

/// `millrace server`.
#[derive(Args, Debug, Default)]
pub struct ServerArgs {
    /// Kafka's server.properties (by extension .properties), or TOML with the same keys.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where data is kept [default: ./millrace-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where clients connect; port 0 picks a free one [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The address clients are told [default: where it listens].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where the admin endpoint listens; port 0 picks a free one [default: 127.0.0.1:9644].
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// How many cores to use [default: auto, every allowed one].
    #[arg(long, value_name = "N|auto")]
    pub cores: Option<String>,
    /// Memory budget, such as 512MiB [default: a quarter of the machine, at most 1 GiB].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Any configuration key; wins over the file. May be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// How log lines on standard error look; RUST_LOG filters them.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

impl ServerArgs {
    /// The flags that stand for configuration keys.
    #[must_use]
    pub fn flags(&self) -> Vec<FlagValue> {
        let flags = [
            ("log.dirs", "--data-dir", &self.data_dir),
            ("listeners", "--listen", &self.listen),
            ("advertised.listeners", "--advertise", &self.advertise),
            (keys::ADMIN_LISTENER, "--admin", &self.admin),
            (keys::CORES, "--cores", &self.cores),
            (keys::MEMORY, "--memory", &self.memory),
        ];
        flags.into_iter().filter_map(|(key, flag, value)| Some((key, flag, value.clone()?))).collect()
    }
}

/// `millrace check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The data directory to look at, or where it will be made.
    #[arg(long, value_name = "DIR", default_value = crate::settings::DATA_DIR)]
    pub data_dir: PathBuf,
}

/// `millrace dump`.
#[derive(Args, Debug)]
pub struct DumpArgs {
    /// The files, of any kind.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_for_keys() {
        let cli =
            Cli::try_parse_from(["millrace", "server", "--listen", "a:1", "--cores", "2", "--set", "x=y=z"])
                .unwrap();
        let Command::Server(args) = cli.command else { panic!("server was meant") };
        let flags = args.flags();
        assert_eq!(
            flags,
            [("listeners", "--listen", "a:1".to_owned()), (keys::CORES, "--cores", "2".to_owned())]
        );
        assert!(flags.iter().all(|(key, ..)| matches!(keys::classify(key), keys::Class::Known(_))));
        assert_eq!(args.sets, ["x=y=z"]);
    }
}
