//! The command line of `kvd`: what can be typed, and its help. Says which settings the flags stand for; knows nothing
//! of what the commands do.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use crate::config::{self, CommandLine, Fsync, LISTEN_DEFAULT, LogFormat, LogLevel, RESP_DEFAULT};

/// kvd: an in-memory key-value store behind a REST API and the Redis protocol.
///
/// All data is in memory, and a journal and snapshots in the data directory bring it back after a stop or a crash.
/// `--fsync` says how much a crash may cost; with `--in-memory` nothing is kept.
#[derive(Parser)]
#[command(name = "kvd", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kvd start                          serve http://127.0.0.1:7480 in the background
  kvd status                         is it ready, and where
  kvd stop                           end it, requests under way included
  kvd serve --listen 127.0.0.1:8000  stay in the foreground, log to standard error
  kvd config check                   try the configuration without starting
  kvd check DIR                      is the data of a stopped server whole

`kvd COMMAND --help` tells more; `kvd config --help` is about the configuration.
Exit status: 0 done; 1 failed; 2 wrong usage or configuration; of `status` also 3 not running, 4 not ready.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve in the foreground, until SIGTERM or Ctrl-C
    ///
    /// One line on standard output tells the addresses once the server is ready; the log goes to standard error. Data
    /// of the data directory is loaded first; its end, and how long it took, are in the log.
    #[command(after_help = "\
Examples:
  kvd serve
  kvd serve --listen 127.0.0.1:0 --log-format json   any free port; the startup line as JSON
  kvd serve --max-memory 4GiB --set memory.policy=evict   a cache: keys of little use make room
  kvd serve --set limits.value_bytes_max=1MiB

Every setting is a key of kvd.toml: see `kvd config --help`.")]
    Serve {
        #[command(flatten)]
        args: ServeArgs,
        /// Begin a session of its own: this is the process that `kvd start` leaves behind.
        #[arg(long, hide = true)]
        daemon: bool,
    },
    /// Serve in the background; return once the server is ready
    ///
    /// Prints the server's startup line; while data is loaded, a terminal shows how far that is. The log goes to kvd.log
    /// in the data directory. If the server can't start, shows what it logged and exits with 1, as it does when a server
    /// with this data directory is running already.
    #[command(after_help = "\
Examples:
  kvd start
  kvd start --data-dir ./data --listen 127.0.0.1:8000
  kvd stop --data-dir ./data

`kvd stop` and `kvd status` find the server by the same --config or --data-dir.")]
    Start(ServeArgs),
    /// End the server of this data directory and wait until it has ended
    ///
    /// Sends SIGTERM: the server takes no new connections and finishes the requests under way. Exits with 0 when
    /// nothing is running, and with 1 when the server hasn't ended in time.
    #[command(after_help = "\
Examples:
  kvd stop
  kvd stop --data-dir ./data --timeout 2m")]
    Stop {
        #[command(flatten)]
        config: ConfigArgs,
        /// Wait so long for the server to end, such as 30s or 2m [default: server.stop_timeout + 5s]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Tell whether the server of this data directory is running and ready
    ///
    /// Asks the server itself. Exits with 0 when it is ready, 3 when it isn't running, 4 when it is running but not
    /// ready.
    #[command(after_help = "\
Examples:
  kvd status
  kvd status --data-dir ./data")]
    Status(ConfigArgs),
    /// Check the data of a server that is not running: is it whole, and what is in it
    ///
    /// Only reads, also where nothing can be written. Exits with 0 when a server could start with it, else with 1 and
    /// what is wrong; a directory without data of kvd is wrong, too.
    #[command(after_help = "\
Examples:
  kvd check ./data")]
    Check {
        /// The data directory
        dir: PathBuf,
    },
    /// Print everything in a data directory's journal and snapshots, record by record
    ///
    /// For people who want to see what happened, and when; the bytes are explained in docs/FORMAT.md. Only reads; the
    /// server must not be running.
    #[command(after_help = "\
Examples:
  kvd dump ./data
  kvd dump ./data | grep bad")]
    Dump {
        /// The data directory
        dir: PathBuf,
    },
    /// Check the configuration
    #[command(after_help = config_help())]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the version
    Version,
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print what is set, and by whom; then `ok`, or the mistake with exit status 2
    #[command(after_help = "\
Examples:
  kvd config check
  kvd config check --config ./kvd.toml --listen 127.0.0.1:8000")]
    Check(ServeArgs),
}

/// What finds the configuration, and with it the server of a data directory.
#[derive(Args)]
pub(crate) struct ConfigArgs {
    /// Read this configuration file
    /// [default: $KVD_CONFIG, ./kvd.toml, $XDG_CONFIG_HOME/kvd/kvd.toml, /etc/kvd/kvd.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any key of the configuration, such as log.level=debug; lists with commas. Repeatable
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Directory of journal, snapshots, pid file and log
    /// [default: /var/lib/kvd for root, else $XDG_STATE_HOME/kvd, which is ~/.local/state/kvd]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Keep nothing on disk: all data is gone when the server stops. The pid file and the log are then in
    /// $XDG_RUNTIME_DIR/kvd or /run [default directory of other users: $XDG_STATE_HOME/kvd/in-memory]
    #[arg(long)]
    in_memory: bool,
}

/// What a server is started with.
#[derive(Args)]
pub(crate) struct ServeArgs {
    #[arg(long, value_name = "HOST:PORT", help = listen_help())]
    listen: Vec<String>,
    #[arg(long, value_name = "HOST:PORT|off", help = resp_help())]
    resp: Option<String>,
    /// Serving threads [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<u16>,
    /// When commits are on disk: before they are answered, every storage.interval, or when the system likes
    /// [default: interval]
    #[arg(long, value_name = "WHEN")]
    fsync: Option<Fsync>,
    /// Keep N older versions of each key, for `?rev=`, history and rollback [default: 0, none]
    #[arg(long, value_name = "N")]
    history: Option<u16>,
    /// Use at most so many bytes of memory, such as 4GiB; memory.policy says what happens to a write that needs more
    /// [default: no limit]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Log events from this severity on [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// Write the log and the startup line like this [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(flatten)]
    common: ConfigArgs,
}

impl ConfigArgs {
    /// What these say about the configuration.
    pub(crate) fn command_line(&self) -> CommandLine<'_> {
        let mut flags = Vec::new();
        if let Some(dir) = &self.data_dir {
            flags.push(("storage.dir", "--data-dir", dir.as_str().into()));
        }
        if self.in_memory {
            flags.push(("storage.in_memory", "--in-memory", true.into()));
        }
        CommandLine { file: self.config.as_deref(), assignments: &self.set, flags }
    }
}

impl ServeArgs {
    /// What these say about the configuration.
    pub(crate) fn command_line(&self) -> CommandLine<'_> {
        let mut line = self.common.command_line();
        if !self.listen.is_empty() {
            line.flags.push(("server.listen", "--listen", self.listen.clone().into()));
        }
        if let Some(resp) = &self.resp {
            line.flags.push(("resp.listen", "--resp", resp.as_str().into()));
        }
        if let Some(workers) = self.workers {
            line.flags.push(("server.workers", "--workers", i64::from(workers).into()));
        }
        if let Some(fsync) = self.fsync {
            line.flags.push(("storage.fsync", "--fsync", text(fsync)));
        }
        if let Some(versions) = self.history {
            line.flags.push(("history.versions", "--history", i64::from(versions).into()));
        }
        if let Some(size) = &self.max_memory {
            line.flags.push(("memory.max", "--max-memory", size.as_str().into()));
        }
        if let Some(level) = self.log_level {
            line.flags.push(("log.level", "--log-level", text(level)));
        }
        if let Some(format) = self.log_format {
            line.flags.push(("log.format", "--log-format", text(format)));
        }
        line
    }
}

/// In our own words: the library's speak of digits and offsets.
fn workers(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "the number of threads is a whole number, such as 4")
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "a duration is a number with a unit, such as 30s or 2m")
}

/// A flag's choice as the file spells it.
fn text(choice: impl serde::Serialize) -> Value {
    Value::try_from(choice).expect("a choice is a string")
}

fn listen_help() -> String {
    format!("Serve REST here; port 0 takes a free one. Repeatable [default: {LISTEN_DEFAULT}]")
}

fn resp_help() -> String {
    format!("Serve the Redis protocol here, or nowhere [default: {RESP_DEFAULT}]")
}

fn config_help() -> String {
    let keys: Vec<String> = config::known_keys().map(|key| format!("  {key}")).collect();
    format!(
        "\
Sources, each over the one before:
  1. a file: --config, else $KVD_CONFIG, ./kvd.toml, $XDG_CONFIG_HOME/kvd/kvd.toml or /etc/kvd/kvd.toml
  2. environment variables KVD_SECTION__KEY, such as KVD_SERVER__LISTEN=127.0.0.1:8000
  3. --set section.key=value
  4. flags such as --listen

Keys (kvd.example.toml explains each; sizes are bytes or like 64MiB, durations like 10s):
{}",
        keys.join("\n")
    )
}
