//! `kvd`, the server's binary: from the command that was typed to the part that carries it out, and from its outcome to
//! the exit status. Everything else is in the modules.

mod config;
mod daemon;
mod flags;
mod inspect;
mod logging;
mod progress;
mod serve;
mod server;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use config::{ConfigError, Loaded};
use flags::{Command, ConfigCommand, Flags};

#[global_allocator]
static ALLOCATOR: kvd_alloc::Mimalloc = kvd_alloc::Mimalloc;

/// Wrong usage, as clap has it, or a wrong configuration.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let outcome = run(Flags::parse().command);
    outcome.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        report(&error);
        if error.is::<ConfigError>() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { args, daemon } => serve::serve(&args, daemon),
        Command::Start(args) => daemon::start(&config::load(&args.command_line())?.config),
        Command::Stop { config, timeout } => daemon::stop(&config::load(&config.command_line())?.config, timeout),
        Command::Status(args) => daemon::status(&config::load(&args.command_line())?.config),
        Command::Config { command: ConfigCommand::Check(args) } => check(&config::load(&args.command_line())?),
        Command::Check { dir } => inspect::check(&dir),
        Command::Dump { dir } => inspect::dump(&dir),
        Command::Version => {
            say(concat!("kvd ", env!("CARGO_PKG_VERSION")))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    match &loaded.file {
        Some(file) => say(&format!("configuration file {}", file.display()))?,
        None => say("no configuration file")?,
    }
    for (name, setting) in loaded.layers.settings() {
        say(&format!("{name} = {}  ({})", setting.value, setting.origin))?;
    }
    say("ok")?;
    Ok(ExitCode::SUCCESS)
}

/// Whether who reads our output has seen enough of it, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// One line to standard output.
fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("can't write to standard output")
}

/// An error to standard error; where that is closed, the exit status has to do.
#[expect(clippy::print_stderr, reason = "the one place for messages that belong to no log")]
fn report(error: &anyhow::Error) {
    eprintln!("kvd: {error:#}");
}
