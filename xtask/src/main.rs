//! The repository's own programs: `cargo xtask COMMAND`. What a library or cargo itself already does is not here;
//! the Makefile names the commands that people type.

mod bench_http;
mod packages;
mod test_clients;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// The repository's own programs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Check the style rules that a program can check.
    #[command(after_help = tidy::help())]
    Tidy,
    /// Measure kvd's HTTP beside fasthttp, the engine under Fiber.
    BenchHttp(bench_http::Options),
    /// Run clients of Redis against kvd: redis-cli, redis-py, redis-benchmark.
    TestClients(test_clients::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Tidy => tidy::run(),
        Command::BenchHttp(options) => bench_http::run(&options),
        Command::TestClients(options) => test_clients::run(&options),
    };
    result.unwrap_or_else(|error| {
        anstream::eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
