//! Every command and flag with its help: what can be typed. Knows nothing of what it means or how it is carried out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::words::{KeyWords, OneKeyWords, PairWords};

/// Set, get and delete keys of a kvd server.
#[derive(Debug, Parser)]
#[command(name = "kvcli", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kvcli set key1=val,key2=123,key3=xyz   all three or none
  kvcli get key1,key2,key3
  kvcli delete key1,key2
  kvcli stats
  kvcli set -k notes/today --value-file today.txt
  kvcli get -k notes/today > copy.txt

Exit codes: 0 ok, 1 a key is missing, 2 usage, 3 server not reachable, 4 server error,
5 condition or conflict, 6 not authorised, 7 limit, 8 bad input file, 130 interrupted.";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the server is [default: $KVD_URL, else the `listen` of kvd.toml, else http://127.0.0.1:7480]
    #[arg(long, global = true, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) url: Option<String>,

    /// How results are written to standard output
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value = "auto",
        help_heading = "Everywhere"
    )]
    pub(crate) output: Format,

    /// Short for -o json: what the REST interface answers
    #[arg(long, global = true, conflicts_with = "output", help_heading = "Everywhere")]
    pub(crate) json: bool,

    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Made for people on a terminal, for programs in a pipe
    Auto,
    /// The bytes and nothing else
    Raw,
    /// Columns
    Table,
    /// One line each, fields between tabs, escapes \t \n \r \\ \xHH
    Tsv,
    /// One JSON document
    Json,
    /// One JSON document a line, one line an item
    Ndjson,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the values of keys
    ///
    /// One key piped gives the exact bytes of its value and nothing else. Several give one line each, key and value with a tab
    /// between them, as `set --from - --format tsv` reads them. All values are of one revision. Missing keys are named on
    /// standard error and make the exit code 1; the others are still printed.
    #[command(after_help = "\
Examples:
  kvcli get user:1
  kvcli get key1,key2,key3
  kvcli get -k 'a,b=c' > value.bin
  kvcli list -0 | xargs -0 -n 1000 kvcli get -o ndjson --")]
    Get(Keys),

    /// Give keys a value, all of them or none
    ///
    /// All pairs of one call are one atomic change.
    #[command(
        visible_alias = "put",
        after_help = r"Examples:
  kvcli set key1=val,key2=123,key3=xyz
  kvcli set 'greeting=hello\, world'         a comma inside a value
  kvcli set -f 'greeting=hello, world'       the same, without escapes
  tar c dir | kvcli set backup -             the value from standard input
  kvcli set -F logo=logo.png -F icon=icon.png
  kvcli set -k a --value 1 -k b --value-file b.bin
  kvcli get a,b | kvcli set --from - --format tsv
  kvcli set lock=me --if-absent              only if nobody has it"
    )]
    Set(Set),

    /// Remove keys, all of them in one atomic change
    #[command(visible_aliases = ["del", "rm"], after_help = "\
Examples:
  kvcli delete key1,key2
  kvcli delete -k 'a,b'
  kvcli delete --require key1,key2       both or none")]
    Delete(Delete),

    /// Tell whether keys are there
    ///
    /// One key: nothing is printed, the exit code is 0 or 1. Several: a line each, and 1 if any is missing.
    #[command(after_help = "\
Examples:
  kvcli exists user:1 && echo there
  kvcli exists a,b,c")]
    Exists(Keys),

    /// List the keys, or those that begin with PREFIX
    ///
    /// In no order. A key that is there all the time is listed once, whatever else changes meanwhile.
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  kvcli list
  kvcli list user: | sort
  kvcli list -0 | xargs -0 -n 1 kvcli head -k"
    )]
    List(List),

    /// Tell a key's size, revision and content type without its value
    #[command(after_help = "\
Examples:
  kvcli head user:1
  kvcli head -k a/b --json")]
    Head(Head),

    /// Print the server's counters and sizes
    #[command(
        visible_alias = "metrics",
        after_help = "\
Examples:
  kvcli stats
  kvcli stats | grep '^ops'
  kvcli stats --json | jq .keys"
    )]
    Stats,

    /// Ask the server whether it is ready, and tell how long the answer took
    #[command(after_help = "\
Examples:
  kvcli ping
  until kvcli ping -q; do sleep 1; done")]
    Ping,

    /// Have the server put all its data into a snapshot, which shortens its next start
    ///
    /// Returns when the server has begun. It makes snapshots by itself as well; `kvcli stats` tells the newest one's
    /// revision.
    #[command(after_help = "\
Examples:
  kvcli snapshot
  kvcli stats | grep snapshot")]
    Snapshot,

    /// Print the server's version, limits and features
    #[command(after_help = "\
Examples:
  kvcli info
  kvcli info | grep '^limits'")]
    Info,
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
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) keys: Keys,

    /// Delete nothing and exit with 1 if any of the keys is missing
    #[arg(long)]
    pub(crate) require: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Head {
    #[command(flatten)]
    pub(crate) words: OneKeyWords,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only keys that begin with this; escapes as in other arguments: \, \= \\ \n \t \xHH
    pub(crate) prefix: Option<OsString>,

    /// End each key with a NUL byte instead of a newline, without escapes
    #[arg(short = '0', long = "null", conflicts_with_all = ["output", "json"])]
    pub(crate) null: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    pub(crate) words: PairWords,

    /// Read pairs from a file; - is standard input
    #[arg(long, value_name = "FILE", requires = "format")]
    pub(crate) from: Option<PathBuf>,

    /// What that file holds
    #[arg(long, value_name = "FORMAT", value_enum, requires = "from")]
    pub(crate) format: Option<FileFormat>,

    #[command(flatten)]
    pub(crate) condition: Condition,

    /// Stored with each value that names none of its own, and given back with it
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,

    /// Print what would be set, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
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
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

/// What a file of pairs holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// A line each: key, tab, value, escapes \t \n \r \\ \xHH, as `get` prints them
    Tsv,
    /// The body of /v1/mset: {"items":[{"key":"a","value":"1"}]}
    Json,
    /// An item of that body a line: {"key":"a","value":"1"}
    Ndjson,
    /// The same body in CBOR
    Cbor,
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::words::{Form, Word};

    /// A command line without quotes.
    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("kvcli").chain(line.split(' ')))
    }

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn words_keep_the_order_in_which_they_were_typed() {
        let line = "set a=1 -k -k --value --value --json b=2 -f c=3 -F d=- -- -e=5";
        let Command::Set(set) = parse(line).unwrap().command else { panic!("not a set") };
        let words: Vec<_> =
            set.words.0.iter().map(|word| (word.form, std::str::from_utf8(&word.text).unwrap())).collect();
        let expected = [
            (Form::Pairs, "a=1"),
            (Form::Key, "-k"),
            (Form::Value, "--value"),
            (Form::Pairs, "b=2"),
            (Form::Pair, "c=3"),
            (Form::PairFile, "d=-"),
            (Form::Pairs, "-e=5"),
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_lone_dash_is_a_word_and_words_are_any_bytes() {
        let Command::Set(set) = parse("put key -").unwrap().command else { panic!("not a set") };
        assert_eq!(set.words.0[1], Word { form: Form::Pairs, text: b"-".to_vec() });
        let line = [&b"kvcli"[..], b"get", b"a\xff", b"-k", b"\xfe"].map(|word| OsString::from_vec(word.to_vec()));
        let Command::Get(keys) = Cli::try_parse_from(line).unwrap().command else { panic!("not a get") };
        let texts: Vec<_> = keys.words.0.iter().map(|word| &word.text[..]).collect();
        assert_eq!(texts, [b"a\xff".as_slice(), b"\xfe"]);
    }

    #[test]
    fn commands_have_the_names_that_people_type() {
        for alias in ["put a=1", "del a", "rm a", "ls", "metrics"] {
            assert!(parse(alias).is_ok(), "{alias}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_unknown() {
        for line in
            ["incr n", "append k v", "ttl k", "expire k 1s", "txn", "watch", "shell", "export", "import -", "history k"]
        {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSubcommand, "{line}");
        }
        for line in ["set a=1 --ttl 1s", "set a=1 --get", "stats --watch", "delete --prefix a", "ping --profile p"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{line}");
        }
    }

    #[test]
    fn flags_that_exclude_each_other_are_refused_together() {
        for line in ["set a=1 --if-absent --if-exists", "get a --json -o raw", "list -0 --json", "list -0 -o tsv"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{line}");
        }
        for line in ["set --from f", "set --format tsv", "get -0 a"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{line}");
        }
    }
}
