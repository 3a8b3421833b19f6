//! The command line: `quipu serve | check config FILE | version`, with Prometheus' names where the meaning is
//! the same. Flags without a subcommand mean `serve`. A flag that is not here is refused.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::error::Error;
use crate::model::setting::Millis;

/// What to do.
#[derive(Debug, Parser)]
#[command(name = "quipu", version, about, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the server (also without a subcommand).
    Serve(Box<ServeArgs>),
    /// Look at a file without starting anything.
    Check {
        #[command(subcommand)]
        what: Check,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Read a configuration file and say what is wrong with it.
    Config {
        /// The file.
        file: PathBuf,
    },
}

/// One run of the program.
#[derive(Debug)]
pub enum Run {
    /// The server.
    Serve(Box<ServeArgs>),
    /// `check config FILE`.
    CheckConfig(PathBuf),
    /// `version`.
    Version,
}

/// The flags of `serve`.
#[derive(Debug, Clone, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that the user writes by itself")]
pub struct ServeArgs {
    /// Prometheus configuration file; without it quipu scrapes itself
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Where the data lies: a folder, `s3://bucket/prefix` or `memory://`
    #[arg(long = "storage.path", alias = "storage.tsdb.path", default_value = "./quipu-data")]
    pub storage_path: String,
    /// How long to keep samples, e.g. 90d, 0 for ever; whole files are dropped; wins over
    /// quipu.store.retention [default: for ever]
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", value_parser = duration)]
    pub retention: Option<Millis>,
    /// Folder of the write-ahead log; a local disk also when the data is on S3
    /// [default: <storage.path>/_wal, or ./quipu-data/_wal when that is no folder]
    #[arg(long = "wal.path", value_name = "FOLDER")]
    pub wal_path: Option<PathBuf>,
    /// Address of the HTTP server; may be given more than once
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub web_listen_address: Vec<String>,
    /// Connections that the HTTP server has open at once; further ones wait
    #[arg(long = "web.max-connections", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub web_max_connections: u32,
    /// Regular expression for the Origin of cross-origin requests, fully anchored
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*")]
    pub web_cors_origin: String,
    /// Enable /-/reload, /-/quit and /-/flush
    #[arg(long = "web.enable-lifecycle")]
    pub web_enable_lifecycle: bool,
    /// Enable /api/v1/admin/
    #[arg(long = "web.enable-admin-api")]
    pub web_enable_admin_api: bool,
    /// Accepted for Prometheus' sake: the receiver at /api/v1/write is always on
    #[arg(long = "web.enable-remote-write-receiver")]
    pub web_enable_remote_write_receiver: bool,
    /// Address of the Postgres server
    #[arg(long = "pg.listen-address", value_name = "HOST:PORT", default_value = "127.0.0.1:5433")]
    pub pg_listen_address: String,
    /// How far an instant selector looks back for a sample; wins over `quipu.query.lookback_delta` [default: 5m]
    #[arg(long = "query.lookback-delta", value_name = "DURATION", value_parser = positive)]
    pub query_lookback_delta: Option<Millis>,
    /// How long a query may take; wins over `quipu.query.timeout` [default: 2m]
    #[arg(long = "query.timeout", value_name = "DURATION", value_parser = positive)]
    pub query_timeout: Option<Millis>,
    /// Queries that run at once, further ones wait; wins over `quipu.query.max_concurrency` [default: 20]
    #[arg(long = "query.max-concurrency", value_parser = clap::value_parser!(u32).range(1..))]
    pub query_max_concurrency: Option<u32>,
    /// Samples that one query may hold; wins over `quipu.query.max_samples` [default: 50000000]
    #[arg(long = "query.max-samples", value_parser = clap::value_parser!(u64).range(1..))]
    pub query_max_samples: Option<u64>,
    /// Listen on an address that others can reach, without authentication
    #[arg(long)]
    pub insecure: bool,
    /// Only log messages with this severity or above
    #[arg(long = "log.level", value_enum, default_value_t)]
    pub log_level: LogLevel,
    /// Output format of log messages
    #[arg(long = "log.format", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Die at this point: the tests' way of pulling the plug
    #[cfg_attr(debug_assertions, arg(long = "fault-point", value_name = "NAME:VISIT", hide = true))]
    #[cfg_attr(not(debug_assertions), arg(skip))]
    pub fault_point: Option<String>,
    /// Every flag and its value, for /api/v1/status/flags.
    #[arg(skip)]
    pub flags: Vec<(String, String)>,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What may need a hand.
    Warn,
    /// What went wrong.
    Error,
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// What clap says; `--help` and `--version` are such "errors" too, with exit code 0.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Run, clap::Error> {
    let matches = Args::command().try_get_matches_from(words)?;
    let args = Args::from_arg_matches(&matches)?;
    Ok(match args.command {
        None => serve(Box::new(args.serve), &matches),
        Some(Subcommands::Serve(flags)) => {
            serve(flags, matches.subcommand_matches("serve").unwrap_or(&matches))
        }
        Some(Subcommands::Check { what: Check::Config { file } }) => Run::CheckConfig(file),
        Some(Subcommands::Version) => Run::Version,
    })
}

fn serve(mut serve: Box<ServeArgs>, matches: &ArgMatches) -> Run {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long().filter(|_| !argument.is_hide_set()) else { continue };
        let values = matches.get_raw(argument.get_id().as_str()).unwrap_or_default();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        serve.flags.push((name.to_owned(), values.join(",")));
    }
    serve.flags.sort();
    Run::Serve(serve)
}

fn duration(text: &str) -> Result<Millis, Error> {
    Millis::parse(text)
}

fn positive(text: &str) -> Result<Millis, Error> {
    let length = Millis::parse(text)?;
    if length.is_zero() {
        return Err(Error::invalid("the duration must be longer than 0s"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
