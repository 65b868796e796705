//! `kvd-bench`: what the engine costs, beside other concurrent maps and the limits of the machine, measured in one process
//! and in turns. Brings the subcommands to the scenarios that carry them out; knows nothing of how a side is measured.

mod allocator;
mod args;
mod keys;
mod machine;
mod measure;
mod report;
mod results;
mod scenarios;
mod sides;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Engine(options) => scenarios::engine(&options.settled()),
        Command::Memory(options) => scenarios::memory(&options),
        Command::Allocators(options) => scenarios::allocators(&options),
        Command::Durable(options) => scenarios::durable(&options),
        Command::Eviction(options) => scenarios::eviction(&options),
        Command::Report(paths) => report::write(&paths),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
