//! Why a call brought no answer: causes with properties, so that callers decide by what happened, not by texts.
//! Knows nothing of how a cause was found out; `transport` and `answer` make these.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;
use kvd_types::KeyTooLong;
use kvd_wire::rest::batch::NoBatchForm;
use kvd_wire::rest::problem::Problem;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none this client can use.
    #[error("`{url}` is no address of a kvd server: {reason}")]
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it, and how to write it.
        reason: &'static str,
    },
    /// The system gives no file descriptors to wait for answers with. Nothing was sent.
    #[error("can't set up the waiting for answers")]
    NoRuntime(#[source] io::Error),
    /// No server allows a key as long as this. Nothing was sent.
    #[error(transparent)]
    KeyTooLong(#[from] KeyTooLong),
    /// A condition that only headers can carry, where there is only a body; or what no request can say. Nothing was sent.
    #[error("{0}: a condition on several versions, or an absolute expiry, stands in no body")]
    NotExpressible(#[from] NoBatchForm),
    /// A list's prefix fits no URL. Nothing was sent.
    #[error("a prefix of {prefix_bytes} bytes is too long to be sent")]
    PrefixTooLong {
        /// Its length.
        prefix_bytes: usize,
    },
    /// A request that can only name its key in a URL, and a key that fits none. Nothing was sent.
    #[error("a key of {key_bytes} bytes is too long for this: it has to stand in a URL")]
    KeyFitsNoUrl {
        /// Its length.
        key_bytes: usize,
    },
    /// What is given as a transaction's id is none. Nothing was sent.
    #[error("`{id}` is no id of a transaction, which has 32 hexadecimal digits")]
    BadTransactionId {
        /// As it was given.
        id: String,
    },
    /// A delete of all keys with a prefix that is empty: that would be all there are. Nothing was sent.
    #[error("an empty prefix names every key; to delete them all is a call of its own")]
    EmptyPrefix,
    /// There was no connection to send the request on. Nothing was sent.
    #[error("no kvd server can be reached at {address}")]
    NotReachable {
        /// Where it was looked for.
        address: String,
        /// What the system says.
        source: Cause,
    },
    /// The connection broke after the request had begun to leave.
    #[error("the connection to {address} broke before the answer came{}", unknown_outcome(.is_write))]
    ConnectionLost {
        /// The server.
        address: String,
        /// Whether the request was to change something: then it may have, or not.
        is_write: bool,
        /// What the system or the HTTP parser says.
        source: Cause,
    },
    /// The answer took longer than the request timeout.
    #[error("{address} did not answer within {timeout:?}{}", unknown_outcome(.is_write))]
    Timeout {
        /// The server.
        address: String,
        /// The configured bound.
        timeout: Duration,
        /// Whether the request was to change something: then it may have, or not.
        is_write: bool,
    },
    /// The server answered that it won't.
    #[error("{}", refusal(.status, .problem))]
    Refused {
        /// Its status code.
        status: StatusCode,
        /// Whether the request was to change something.
        is_write: bool,
        /// Its reasons; none where the HTTP parser, or something in between, refused without a kvd problem.
        problem: Option<Problem>,
    },
    /// A stream that is to go on where it broke off finds another store at its address: what came in between is not known.
    #[error("at {address} there is another store now ({found}) than the one that was watched ({watched})")]
    OtherStore {
        /// The server.
        address: String,
        /// The epoch of the store that was watched.
        watched: String,
        /// The epoch of the one that is there.
        found: String,
    },
    /// The answer is none of kvd's: something else listens there, or a newer protocol.
    #[error("{address} answered something that is not understood: {reason}{}", unknown_outcome(.is_write))]
    BadAnswer {
        /// The server.
        address: String,
        /// Whether the request was to change something: then it may have, or not.
        is_write: bool,
        /// What is wrong with it.
        reason: String,
    },
}

/// What lies beneath an error of the connection.
pub type Cause = Box<dyn StdError + Send + Sync>;

impl Error {
    /// Whether the same call can succeed later, and can be repeated without doing anything twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::NotReachable { .. } => true,
            Error::ConnectionLost { is_write, .. } | Error::Timeout { is_write, .. } => !is_write,
            Error::Refused { problem: Some(problem), .. } => problem.is_retryable() && !self.outcome_is_unknown(),
            _ => false,
        }
    }

    /// Whether a write may have happened although this error came instead of an answer.
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Error::ConnectionLost { is_write, .. }
            | Error::Timeout { is_write, .. }
            | Error::BadAnswer { is_write, .. } => *is_write,
            // Whoever stands between may have passed the request on; kvd itself says what has not happened.
            Error::Refused { status, is_write, problem: None } => *is_write && status.is_server_error(),
            Error::Refused { status, is_write, problem: Some(problem) } => {
                *is_write && (*status == StatusCode::INTERNAL_SERVER_ERROR || problem.code() == "outcome-unknown")
            }
            _ => false,
        }
    }

    /// Whether another commit was in the way of a transaction: nothing of it has happened, and a new one may succeed.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some("conflict")
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The server's reasons, where it gave any.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Error::Refused { problem, .. } => problem.as_ref(),
            _ => None,
        }
    }

    /// The stable name of a refusal: `precondition-failed`, `limit-exceeded`.
    pub fn code(&self) -> Option<&str> {
        self.problem().map(Problem::code)
    }
}

fn unknown_outcome(is_write: &bool) -> &'static str {
    if *is_write { "; whether the change was made is not known" } else { "" }
}

fn refusal(status: &StatusCode, problem: &Option<Problem>) -> String {
    match problem {
        Some(problem) => problem.detail().to_owned(),
        None => format!("the server answered {status}"),
    }
}
