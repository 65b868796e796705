//! `kvd status`: whether the server of a data directory runs and is ready, by its own word (`GET /readyz`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{Home, Ready, pidfile};
use crate::config::Config;
use crate::say;

const EXIT_NOT_RUNNING: u8 = 3;
const EXIT_NOT_READY: u8 = 4;

/// A server that takes longer for this is not ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells people by a few lines and scripts by the exit status.
pub(crate) fn status(config: &Config) -> anyhow::Result<ExitCode> {
    let home = Home::new(&config.data_dir);
    let Some(pid) = pidfile::holder(&home)? else {
        say(&home.not_running())?;
        return Ok(ExitCode::from(EXIT_NOT_RUNNING));
    };
    let Some(ready) = Ready::read(&home)? else {
        say(&format!("kvd is starting (pid {}, data directory {})", pid.as_raw_nonzero(), home.dir().display()))?;
        return Ok(ExitCode::from(EXIT_NOT_READY));
    };
    let answer = ask(&ready.listen);
    match &answer {
        Ok(StatusCode::OK) => say("kvd is ready")?,
        Ok(answer) => say(&format!("kvd is not ready: /readyz answers {answer}"))?,
        Err(error) => say(&format!("kvd is not ready: {error:#}"))?,
    }
    describe(&ready)?;
    Ok(if matches!(answer, Ok(StatusCode::OK)) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_READY) })
}

fn describe(ready: &Ready) -> anyhow::Result<()> {
    let uptime = ready
        .age()
        .map_or("unknown, the clock was put back".to_owned(), |age| humantime::format_duration(age).to_string());
    say(&format!("  url             {}", ready.urls()))?;
    say(&format!("  pid             {}", ready.pid))?;
    say(&format!("  uptime          {uptime}"))?;
    say(&format!("  data directory  {}", ready.data_dir))?;
    say(&format!("  policy          {}", ready.policy))?;
    say(&format!("  log             {}", ready.log.as_deref().unwrap_or("standard error of the process")))
}

/// What the first address answers to `GET /readyz`.
fn ask(listen: &[SocketAddr]) -> anyhow::Result<StatusCode> {
    let address = reachable(*listen.first().context("it listens nowhere")?);
    let uri: Uri = format!("http://{address}/readyz").parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.get(uri));
        let response = answer.await.with_context(|| format!("{address} does not answer"))??;
        Ok(response.status())
    })
}

/// The address to connect to for one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
