//! kvcli, the command line client of kvd.
//!
//! `flags` and `words` are what can be typed, `syntax` and `input` what it means, `address` where the server is, `run` what is
//! done, `render` how results look, `exit` how it ends.

mod address;
mod escape;
mod exit;
mod flags;
mod input;
mod render;
mod run;
mod syntax;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = flags::Cli::parse();
    let mut output = render::Output::new(&cli.global);
    match run::run(&cli, &mut output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.complain(&failure);
            failure.exit.into()
        }
    }
}
