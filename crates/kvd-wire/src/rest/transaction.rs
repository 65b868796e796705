//! Open transactions on the wire: what they are called, and in which modes there are. Knows nothing of what is done in them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The header that says in which open transaction a request runs.
pub const KVD_TX: &str = "kvd-tx";

/// Where transactions are opened; what stands before the name of one is this and a slash.
pub const PATH: &str = "/v1/tx";

/// The name of an open transaction: random, so that nobody can guess another's.
///
/// # Shape
/// 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub u128);

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for TransactionId {
    type Err = ();

    /// Reads exactly what [`Display`](fmt::Display) writes. Anything else names no transaction.
    fn from_str(text: &str) -> Result<Self, ()> {
        let id = TransactionId(u128::from_str_radix(text, 16).map_err(drop)?);
        if id.to_string() == text { Ok(id) } else { Err(()) }
    }
}

/// Whether a transaction may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Mode {
    /// It reads the state of one revision, which no commit of others ends.
    ReadOnly,
    /// It reads one state with its own writes on top, and commits if nothing that it has read was changed since.
    #[default]
    ReadWrite,
}

impl From<Mode> for &'static str {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::ReadOnly => "read-only",
            Mode::ReadWrite => "read-write",
        }
    }
}

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let named = [Mode::ReadOnly, Mode::ReadWrite].into_iter().find(|mode| text == <&str>::from(*mode));
        named.ok_or("a mode is `read-only` or `read-write`")
    }
}
