//! Where the log goes and how it looks: standard error, one event a line. Knows nothing of what is logged.

use std::io;

use anyhow::anyhow;
use tracing::level_filters::LevelFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Sends this process's events to standard error. To be called once.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let level = match log.level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).with_ansi(false);
    match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow!("can't start logging: {error}"))
}
