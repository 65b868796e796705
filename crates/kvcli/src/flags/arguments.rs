//! What each command takes: its arguments and flags with their help. Which commands there are is said in [`super`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kvd_types::Ttl;
use kvd_wire::rest::ttl;

use crate::words::{AppendWords, ExpireWords, IncrWords, KeyWords, OneKeyWords, PairWords};

/// A revision as people type it.
fn revision(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a revision is a whole number, such as 41: `kvcli head KEY` tells a key's")
}

/// Keys of a command.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(flatten)]
    pub(crate) words: KeyWords,

    /// Read keys from a file, exactly one a line, without escapes; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) keys_from: Option<PathBuf>,

    /// The keys in that file end with a NUL byte instead of a newline
    #[arg(short = '0', long = "null", requires = "keys_from")]
    pub(crate) null: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) keys: Keys,

    /// What the keys held at this revision, where the server keeps versions
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    pub(crate) rev: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) keys: Keys,

    /// Delete nothing and exit with 1 if any of the keys is missing
    #[arg(long)]
    pub(crate) require: bool,

    /// Delete all keys that begin with this; escapes as in other arguments
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["keys_from", "require", "KEYS", "key", "key-b64"])]
    pub(crate) prefix: Option<OsString>,

    /// Delete all keys
    #[arg(long, conflicts_with_all = ["prefix", "keys_from", "require", "KEYS", "key", "key-b64"])]
    pub(crate) all: bool,

    /// Don't ask whether --prefix or --all is meant
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A command that takes one key.
#[derive(Debug, Args)]
pub(crate) struct OneKey {
    #[command(flatten)]
    pub(crate) words: OneKeyWords,
}

#[derive(Debug, Args)]
pub(crate) struct Incr {
    #[command(flatten)]
    pub(crate) words: IncrWords,
}

#[derive(Debug, Args)]
pub(crate) struct Append {
    #[command(flatten)]
    pub(crate) words: AppendWords,
}

#[derive(Debug, Args)]
pub(crate) struct Expire {
    #[command(flatten)]
    pub(crate) words: ExpireWords,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) words: OneKeyWords,

    /// The revision whose value is wanted back; `kvcli history` lists them
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    pub(crate) to: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only keys that begin with this; escapes as in other arguments: \, \= \\ \n \t \xHH
    pub(crate) prefix: Option<OsString>,

    /// Begin with this revision instead of with what comes next
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    pub(crate) from: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Txn {
    /// The script; - is standard input, as is no name at all
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
}

/// What can be done with an interactive transaction.
#[derive(Debug, Subcommand)]
pub(crate) enum Tx {
    /// Begin one, and print its id
    Begin {
        /// Only reads, lists included, all of one revision
        #[arg(long)]
        read_only: bool,
    },
    /// Make its changes visible, all of them together
    Commit,
    /// End it without a trace
    Rollback,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only keys that begin with this; escapes as in other arguments: \, \= \\ \n \t \xHH
    pub(crate) prefix: Option<OsString>,

    /// Put keys together that have this behind the prefix, as folders: each is listed once, up to there
    #[arg(long, value_name = "TEXT")]
    pub(crate) delimiter: Option<OsString>,

    /// In the order of their bytes; the server then looks at all keys for each page
    #[arg(long)]
    pub(crate) sort: bool,

    /// End each key with a NUL byte instead of a newline, without escapes
    #[arg(short = '0', long = "null", conflicts_with_all = ["output", "json"])]
    pub(crate) null: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) pairs: Pairs,

    /// Read pairs from a file; - is standard input
    #[arg(long, value_name = "FILE", requires = "format")]
    pub(crate) from: Option<PathBuf>,

    /// What that file holds
    #[arg(long, value_name = "FORMAT", value_enum, requires = "from")]
    pub(crate) format: Option<FileFormat>,

    /// Print what the keys held before, as `get` does
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) get: bool,

    /// Print what would be set, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Pairs, and what is to be true of all of them.
#[derive(Debug, Args)]
pub(crate) struct Pairs {
    #[command(flatten)]
    pub(crate) words: PairWords,

    /// The values go by themselves after this: 500ms, 30s, 5m, 12h, 7d; `keep` leaves each its expiry, `none` gives none
    #[arg(long, value_name = "DURATION", value_parser = ttl::parse, allow_hyphen_values = true)]
    pub(crate) ttl: Option<Ttl>,

    #[command(flatten)]
    pub(crate) condition: Condition,

    /// Stored with each value that names none of its own, and given back with it
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

/// Judged for each pair that has no condition of its own, in the same instant as the change.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Condition {
    /// Only if no key has a value yet
    #[arg(long)]
    pub(crate) if_absent: bool,

    /// Only if every key has a value already
    #[arg(long)]
    pub(crate) if_exists: bool,

    /// Only if every key's revision is this one
    #[arg(long, value_name = "N", value_parser = revision)]
    pub(crate) if_revision: Option<u64>,
}

/// What a file of pairs holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// A line each: key, tab, value, escapes \t \n \r \\ \xHH, as `get` prints them
    Tsv,
    /// The body of /v1/mset: {"items":[{"key":"a","value":"1"}]}
    Json,
    /// An item of that body a line: {"key":"a","value":"1"}; also what `get -o ndjson` prints
    Ndjson,
    /// The same body in CBOR
    Cbor,
}
