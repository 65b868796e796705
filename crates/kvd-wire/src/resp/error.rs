//! Refusals in Redis' words. Client libraries look at the first word, and some at the whole text, so both are what Redis 7 says;
//! where Redis knows no such refusal, the text is the store's own.

use std::borrow::Cow;

use kvd_types::{Error, Limit, LimitExceeded};

/// A refusal as it is sent: its code, a space, its text.
pub type Refusal = Cow<'static, str>;

pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const NOT_A_FLOAT: &str = "ERR value is not a valid float";
pub(super) const NOT_FINITE: &str = "ERR increment would produce NaN or Infinity";
pub(super) const NO_SUCH_KEY: &str = "ERR no such key";
pub(super) const OFFSET_OUT_OF_RANGE: &str = "ERR offset is out of range";
pub(super) const DB_OUT_OF_RANGE: &str = "ERR DB index is out of range";
pub(super) const SAME_OBJECTS: &str = "ERR source and destination objects are the same";
pub(super) const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub(super) const DECREMENT_OVERFLOW: &str = "ERR decrement would overflow";
pub(super) const INVALID_CURSOR: &str = "ERR invalid cursor";
pub(super) const PROTOCOL_NOT_AN_INTEGER: &str = "ERR Protocol version is not an integer or out of range";
pub(super) const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
    that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// The store is not loaded yet.
pub const LOADING: &str = "LOADING kvd is loading the dataset in memory";
/// EXEC, DISCARD, MULTI and WATCH in the wrong place.
pub const EXEC_WITHOUT_MULTI: &str = "ERR EXEC without MULTI";
/// See [`EXEC_WITHOUT_MULTI`].
pub const DISCARD_WITHOUT_MULTI: &str = "ERR DISCARD without MULTI";
/// See [`EXEC_WITHOUT_MULTI`].
pub const NESTED_MULTI: &str = "ERR MULTI calls can not be nested";
/// See [`EXEC_WITHOUT_MULTI`].
pub const WATCH_IN_MULTI: &str = "ERR WATCH inside MULTI is not allowed";
/// One of the commands was refused when it was queued.
pub const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
/// What can't be part of a transaction.
pub const NOT_IN_MULTI: &str = "ERR Command not allowed inside a transaction";
/// A protocol that is neither 2 nor 3.
pub const NO_PROTOCOL: &str = "NOPROTO unsupported protocol version";
/// AUTH with a password alone, and there are no passwords.
pub const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure \
    your configuration is correct?";
/// AUTH as someone who is not known.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// A name that would break the lines of CLIENT LIST.
pub const BAD_CLIENT_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// EXEC itself was refused, and the transaction is gone.
pub fn exec_abort(reason: &str) -> Refusal {
    format!("EXECABORT Transaction discarded because of: {}", reason.trim_start_matches("ERR ")).into()
}

/// Too many or too few arguments.
pub(super) fn arity(name: &str) -> Refusal {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// A time to live that is none.
pub(super) fn expire_time(name: &str) -> Refusal {
    format!("ERR invalid expire time in '{name}' command").into()
}

/// A command that does not exist, with the begin of what came with it, as Redis has it.
pub(super) fn unknown_command<'a>(name: &[u8], arguments: impl Iterator<Item = &'a [u8]>) -> Refusal {
    const SHOWN_BYTES: usize = 128;
    let shown = |bytes: &[u8], most: usize| String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    let mut beginning = String::new();
    for argument in arguments {
        let Some(left) = SHOWN_BYTES.checked_sub(beginning.len()).filter(|left| *left > 0) else { break };
        beginning.push_str(&format!("'{}' ", shown(argument, left)));
    }
    let name = shown(name, SHOWN_BYTES);
    format!("ERR unknown command '{name}', with args beginning with: {beginning}").into()
}

/// A subcommand that does not exist.
pub(super) fn unknown_subcommand(container: &str, name: &[u8]) -> Refusal {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    format!("ERR unknown subcommand '{name}'. Try {} HELP.", container.to_ascii_uppercase()).into()
}

/// Why a command was not carried out.
pub fn refusal(error: &Error) -> Refusal {
    match error {
        Error::NotAnInteger => NOT_AN_INTEGER.into(),
        Error::NotANumber => NOT_A_FLOAT.into(),
        Error::Overflow => OVERFLOW.into(),
        Error::LimitExceeded(LimitExceeded { limit: Limit::ValueBytes, .. }) => TOO_LONG.into(),
        Error::MemoryFull { .. } => OUT_OF_MEMORY.into(),
        Error::DiskFull { .. } | Error::JournalFailed | Error::OutcomeUnknown => format!("MISCONF {error}").into(),
        Error::OperationFailed { error, .. } => refusal(error),
        _ => format!("ERR {error}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_shows_the_begin_of_its_arguments() {
        let text = unknown_command(b"foo", [&b"a"[..], b"b c"].into_iter());
        assert_eq!(text, "ERR unknown command 'foo', with args beginning with: 'a' 'b c' ");
        let long = unknown_command(&[b'x'; 1000], [&[b'y'; 1000][..], b"z"].into_iter());
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn the_stores_refusals_have_the_codes_that_clients_look_for() {
        let full = Error::MemoryFull { needed: 1, used: 2, max: 3 };
        for (error, begin) in [
            (full.clone(), "OOM command not allowed"),
            (Error::OperationFailed { index: 1, error: Box::new(full) }, "OOM "),
            (Error::DiskFull { needed: 1 }, "MISCONF the disk is full"),
            (Error::NotAnInteger, "ERR value is not an integer or out of range"),
            (Error::Closed, "ERR the store is closed"),
        ] {
            assert!(refusal(&error).starts_with(begin), "{}", refusal(&error));
        }
    }
}
