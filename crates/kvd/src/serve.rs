//! The life of a serving process around the server itself: session, log, pid file, the startup line, and how it ends.
//! Knows nothing of requests.

use std::process::ExitCode;

use anyhow::Context;
use tracing::error;

use crate::config::{self, Config, LogFormat};
use crate::daemon::{Home, PidFile, Ready};
use crate::flags::ServeArgs;
use crate::{logging, progress, say, server};

/// Serves until the process is told to stop. As a `daemon` it leaves the session of whoever started it.
pub(crate) fn serve(args: &ServeArgs, daemon: bool) -> anyhow::Result<ExitCode> {
    if daemon {
        rustix::process::setsid().context("can't begin a session")?;
    }
    let config = config::load(&args.command_line())?.config;
    logging::start(&config.log)?;
    if daemon {
        // The directory it was started in must not be kept from being unmounted.
        std::env::set_current_dir("/").context("can't change to /")?;
    }
    Ok(match run(&config, daemon) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn run(config: &Config, daemon: bool) -> anyhow::Result<()> {
    let home = Home::create(&config.data_dir)?;
    let _pid_file = PidFile::acquire(&home)?;
    let format = config.log.format;
    server::run(config, show(daemon), |started| {
        let ready = Ready::new(started, config.policy(), &home, daemon);
        if let Err(error) = announce(&ready, &home, format) {
            // Clients can be served all the same.
            error!("{error:#}");
        }
    })
}

/// Where the progress of the loading is told.
fn show(daemon: bool) -> server::Show {
    if daemon {
        return Box::new(progress::send);
    }
    let line = progress::Line::new();
    Box::new(move |text| line.show(text))
}

/// Tells where the server is: `kvd status` by a file, and whoever started it by one line.
fn announce(ready: &Ready, home: &Home, format: LogFormat) -> anyhow::Result<()> {
    ready.write(home)?;
    say(&match format {
        LogFormat::Text => ready.to_string(),
        LogFormat::Json => serde_json::to_string(ready)?,
    })
}
