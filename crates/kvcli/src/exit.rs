//! How kvcli ends: the exit codes scripts rely on, and what is said when something failed. Maps the client library's causes
//! and HTTP's status codes onto them; knows nothing of commands.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use kvd_client::{Error, ItemProblem, Problem, StatusCode};
use kvd_types::Limit;

use crate::escape::escape;

/// The exit codes. 130, interrupted, is the shell's word for the signal that ends kvcli as it ends any program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// A key is missing.
    Missing = 1,
    /// The command line, or something else that was asked for, makes no sense.
    Usage = 2,
    /// No server there, or it didn't answer, or is not ready.
    NotReachable = 3,
    /// The server failed, or it is no kvd.
    Server = 4,
    /// A condition did not hold, or another change was in the way.
    Conflict = 5,
    /// The server doesn't let us.
    NotAuthorised = 6,
    /// Too much, too long, or no room.
    Limit = 7,
    /// A file could not be read or makes no sense, or the output could not be written.
    BadFile = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// What an error of the client library means.
    pub(crate) fn of(error: &Error) -> Exit {
        match error {
            Error::BadUrl { .. } | Error::NotExpressible(_) | Error::BadTransactionId { .. } | Error::EmptyPrefix => {
                Exit::Usage
            }
            Error::KeyTooLong(_) | Error::PrefixTooLong { .. } | Error::KeyFitsNoUrl { .. } => Exit::Limit,
            Error::NotReachable { .. } | Error::ConnectionLost { .. } | Error::Timeout { .. } | Error::NoRuntime(_) => {
                Exit::NotReachable
            }
            Error::OtherStore { .. } => Exit::Conflict,
            Error::BadAnswer { .. } => Exit::Server,
            Error::Refused { status, .. } => Exit::of_status(*status),
        }
    }

    fn of_status(status: StatusCode) -> Exit {
        match status.as_u16() {
            404 => Exit::Missing,
            400 | 405 | 406 | 415 | 416 | 422 => Exit::Usage,
            408 | 503 => Exit::NotReachable,
            409 | 410 | 412 => Exit::Conflict,
            401 | 403 | 421 => Exit::NotAuthorised,
            413 | 414 | 429 | 431 | 507 => Exit::Limit,
            _ => Exit::Server,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is said on standard error; nothing when nobody reads our output any more.
    pub(crate) error: Option<anyhow::Error>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Failure { exit, error: Some(error.into()), hint: None }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Failure::new(Exit::Usage, anyhow::anyhow!("{message}"))
    }

    /// What a refusal says, here or on the server: `detail`, and the parts of the request that are at fault.
    pub(crate) fn refused(problem: &Problem, detail: &str) -> Self {
        let error = anyhow::anyhow!("{detail}{}", items(problem.errors()));
        Failure::new(Exit::of_status(problem.status()), error)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = hint(&error).map(str::to_owned);
        let failure = match error.problem() {
            Some(problem) => Failure::refused(problem, problem.detail()),
            None => Failure::new(Exit::of(&error), error),
        };
        Failure { hint, ..failure }
    }
}

/// From writing to standard output; reading is reported by those who know what was read.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { exit: Exit::Ok, error: None, hint: None };
        }
        Failure::new(Exit::BadFile, anyhow::Error::new(error).context("can't write the output"))
    }
}

fn hint(error: &Error) -> Option<&'static str> {
    let limit = error.problem().and_then(|problem| problem.limit()).map(|limit| &*limit.name);
    match error {
        _ if limit == Some(Limit::BatchBytes.name()) => Some("name fewer keys in one command"),
        Error::NotReachable { .. } => Some("start a server with `kvd start`, or say where it is with --url or KVD_URL"),
        _ if error.outcome_is_unknown() => Some("look with `kvcli get` or `kvcli head` before you repeat it"),
        _ if error.code() == Some("history-off") => {
            Some("start the server with --history N, which keeps N older versions")
        }
        _ if error.code() == Some("transaction-ended") => {
            Some("begin another one: export KVD_TX=$(kvcli tx begin), or unset KVD_TX to do without")
        }
        _ if error.is_conflict() => Some("begin the transaction again, and do the same in it"),
        Error::OtherStore { .. } => Some("read what is there, and watch from the revision after it"),
        Error::BadAnswer { .. } => Some("is it kvd that listens there?"),
        // What is to be done about it stands in the message; to try again alone helps nobody.
        _ if error.code() == Some("memory-full") => None,
        _ if error.is_retryable() => Some("try again"),
        _ => None,
    }
}

/// The parts of a request that are at fault, a line each.
fn items(errors: &[ItemProblem]) -> String {
    const LINES_MAX: usize = 10;
    let mut lines: String = errors.iter().take(LINES_MAX).map(|item| format!("\n  {}", line(item))).collect();
    if errors.len() > LINES_MAX {
        lines.push_str(&format!("\n  and {} more", errors.len() - LINES_MAX));
    }
    lines
}

fn line(item: &ItemProblem) -> String {
    let name = match (&item.key, &item.pointer) {
        (Some(key), _) => format!("`{}`", escape(key.as_bytes())),
        (None, Some(pointer)) => pointer.clone(),
        (None, None) => "the key".to_owned(),
    };
    match (&item.detail, &item.have) {
        (Some(detail), _) => format!("{name}: {detail}"),
        (None, Some(Some(etag))) if etag.revision.0 == 0 => format!("{name} was written in this transaction"),
        (None, Some(Some(etag))) => format!("{name} is at revision {}", etag.revision),
        (None, Some(None)) => format!("{name} is missing"),
        (None, None) => name,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_status_has_the_exit_code_of_the_contract() {
        for (statuses, exit) in [
            (&[404][..], 1),
            (&[400, 405, 406, 415, 416, 422], 2),
            (&[408, 503], 3),
            (&[500, 501, 502, 504, 599], 4),
            (&[409, 410, 412], 5),
            (&[401, 403, 421], 6),
            (&[413, 414, 429, 431, 507], 7),
            (&[301, 418], 4),
        ] {
            for status in statuses {
                let status = StatusCode::from_u16(*status).unwrap();
                assert_eq!(
                    Exit::of(&Error::Refused { status, is_write: false, problem: None }) as u8,
                    exit,
                    "{status}"
                );
            }
        }
    }

    #[test]
    fn what_never_reached_a_server_has_its_own_exit_code() {
        let address = || "http://127.0.0.1:1".to_owned();
        let too_long = kvd_client::Key::new(vec![0; 70_000]).unwrap_err();
        for (error, exit) in [
            (Error::BadUrl { url: address(), reason: "" }, 2),
            (Error::NotReachable { address: address(), source: "refused".into() }, 3),
            (Error::ConnectionLost { address: address(), is_write: true, source: "reset".into() }, 3),
            (Error::Timeout { address: address(), timeout: Duration::ZERO, is_write: false }, 3),
            (Error::BadAnswer { address: address(), is_write: false, reason: String::new() }, 4),
            (Error::OtherStore { address: address(), watched: "1".into(), found: "2".into() }, 5),
            (Error::KeyTooLong(too_long), 7),
            (Error::PrefixTooLong { prefix_bytes: 70_000 }, 7),
            (Error::KeyFitsNoUrl { key_bytes: 60_000 }, 7),
            (Error::BadTransactionId { id: "x".into() }, 2),
            (Error::EmptyPrefix, 2),
        ] {
            assert_eq!(Exit::of(&error) as u8, exit, "{error}");
        }
    }

    #[test]
    fn a_write_whose_outcome_is_unknown_says_so() {
        let error = Error::ConnectionLost { address: "http://h:1".into(), is_write: true, source: "reset".into() };
        let failure = Failure::from(error);
        let message = failure.error.unwrap().to_string();
        assert!(message.ends_with("whether the change was made is not known"), "{message}");
        assert!(failure.hint.unwrap().contains("before you repeat it"));
    }

    #[test]
    fn a_broken_pipe_ends_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.error.is_none() && failure.exit == Exit::Ok);
        let failure = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert!(failure.error.is_some() && failure.exit == Exit::BadFile);
    }
}
