//! Every command with its help: what can be typed; `arguments` has what each takes. Knows nothing of what it means or how it is
//! carried out.

mod arguments;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use arguments::{
    Append, Condition, Delete, Expire, FileFormat, Get, Incr, Keys, List, OneKey, Pairs, Rollback, Set, Tx, Txn, Watch,
};

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
  kvcli incr visits                      a counter that any number of clients may add to
  kvcli set session=abc --ttl 30m        goes by itself
  kvcli txn transfer.txt                 many operations and checks as one: see `kvcli txn --help`
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

    /// Run inside this interactive transaction [default: $KVD_TX]: see `kvcli tx --help`
    #[arg(long, global = true, value_name = "ID", help_heading = "Everywhere")]
    pub(crate) tx: Option<String>,

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
  kvcli get config --rev 41                  as it was then
  kvcli list -0 | xargs -0 -n 1000 kvcli get -o ndjson --")]
    Get(Get),

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
  kvcli get a,b -o ndjson | kvcli set --from - --format ndjson
  kvcli set lock=me --if-absent --ttl 30s    only if nobody has it, and not for ever
  kvcli set state=new --get                  and print what it was"
    )]
    Set(Set),

    /// Remove keys, all of them in one atomic change
    #[command(visible_aliases = ["del", "rm"], after_help = "\
Examples:
  kvcli delete key1,key2
  kvcli delete -k 'a,b'
  kvcli delete --require key1,key2       both or none
  kvcli delete --prefix tmp/ --yes       all that begin with it; asks without --yes")]
    Delete(Delete),

    /// Tell whether keys are there
    ///
    /// One key: nothing is printed, the exit code is 0 or 1. Several: a line each, and 1 if any is missing.
    #[command(after_help = "\
Examples:
  kvcli exists user:1 && echo there
  kvcli exists a,b,c")]
    Exists(Keys),

    /// Add to a decimal value, and print the sum
    ///
    /// A key that is missing counts as 0. However many clients do so at once, nothing is lost.
    #[command(
        override_usage = "kvcli incr [OPTIONS] KEY [BY]\n       kvcli incr [OPTIONS] -k KEY [BY]",
        after_help = "\
Examples:
  kvcli incr visits
  kvcli incr stock -5
  kvcli incr -k 'a,b' 10"
    )]
    Incr(Incr),

    /// Add to the end of a value, and print its new length
    ///
    /// A key that is missing counts as empty.
    #[command(
        override_usage = "kvcli append [OPTIONS] KEY VALUE|-\n       kvcli append [OPTIONS] -k KEY --value VALUE",
        after_help = r"Examples:
  kvcli append log 'started\n'
  date | kvcli append log -
  kvcli append -k log --value 'as it is, without escapes'"
    )]
    Append(Append),

    /// Tell when a value goes by itself
    ///
    /// On a terminal as people say it; piped the milliseconds that are left, or `none`.
    #[command(after_help = "\
Examples:
  kvcli ttl session
  kvcli ttl session --json")]
    Ttl(OneKey),

    /// Have a value go by itself after a time
    #[command(
        override_usage = "kvcli expire [OPTIONS] KEY DURATION\n       kvcli expire [OPTIONS] -k KEY DURATION",
        after_help = "\
Examples:
  kvcli expire session 30m
  kvcli expire -k 'a,b' 500ms"
    )]
    Expire(Expire),

    /// Have a value stay that was to go by itself
    #[command(after_help = "\
Examples:
  kvcli persist session")]
    Persist(OneKey),

    /// List the keys, or those that begin with PREFIX
    ///
    /// In no order, unless --sort or --delimiter is given. A key that is there all the time is listed once, whatever else
    /// changes meanwhile.
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  kvcli list
  kvcli list user: --sort
  kvcli list photos/ --delimiter /           what is in that folder, and its folders
  kvcli list -0 | xargs -0 -n 1 kvcli head -k"
    )]
    List(List),

    /// Tell a key's size, revision and content type without its value
    #[command(after_help = "\
Examples:
  kvcli head user:1
  kvcli head -k a/b --json")]
    Head(OneKey),

    /// List the versions that the server keeps of a key, newest first
    #[command(after_help = "\
Examples:
  kvcli history config
  kvcli get config --rev 41
  kvcli rollback config --to 41

The server keeps versions when it is started with --history N.")]
    History(OneKey),

    /// Make what a key held at a revision its newest version
    #[command(after_help = "\
Examples:
  kvcli rollback config --to 41")]
    Rollback(Rollback),

    /// Carry out a script of operations, all of them or none
    ///
    /// A line is what would be typed behind `kvcli`, in quotes as in a shell; # begins a comment. The operations are set, get,
    /// delete, incr, append, expire and persist. `check` lines come first and must all hold; if one does not, what follows `else`
    /// is done instead, or nothing, and the exit code is 5.
    #[command(after_help = r"A script:
  check stock revision 41        others: absent, exists, value TEXT, etag TAG
  incr stock -1
  set 'order/7=2 apples' --ttl 30d
  get stock
  else
  get stock

Examples:
  kvcli txn order.txt
  printf 'incr a -5
incr b 5
' | kvcli txn
  kvcli txn --json <<< 'get a,b'")]
    Txn(Txn),

    /// Begin, commit or roll back an interactive transaction
    ///
    /// Commands with its id, in --tx or KVD_TX, see one revision and what they themselves have written; others see it when it is
    /// committed. Nothing is locked: when another commit has changed what was read, `commit` fails with exit code 5, nothing has
    /// happened, and the transaction is to be begun again. When `begin` fails, KVD_TX is set and empty: until it is unset,
    /// commands are refused with exit code 2.
    #[command(after_help = "\
Examples:
  export KVD_TX=$(kvcli tx begin)
  balance=$(kvcli get balance)
  kvcli set balance=$((balance - 10))
  kvcli tx commit
  unset KVD_TX")]
    Tx {
        #[command(subcommand)]
        command: Tx,
    },

    /// Print changes of keys as they happen
    ///
    /// Until interrupted; goes on by itself when the connection breaks. Piped it is a line for each change: revision, operation,
    /// key and value, with tabs between them.
    #[command(after_help = "\
Examples:
  kvcli watch
  kvcli watch order/
  kvcli watch order/ --from 41 -o ndjson")]
    Watch(Watch),

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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
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
            set.pairs.words.0.iter().map(|word| (word.form, std::str::from_utf8(&word.text).unwrap())).collect();
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
        assert_eq!(set.pairs.words.0[1], Word { form: Form::Pairs, text: b"-".to_vec() });
        let line = [&b"kvcli"[..], b"get", b"a\xff", b"-k", b"\xfe"].map(|word| OsString::from_vec(word.to_vec()));
        let Command::Get(keys) = Cli::try_parse_from(line).unwrap().command else { panic!("not a get") };
        let texts: Vec<_> = keys.keys.words.0.iter().map(|word| &word.text[..]).collect();
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
        for line in ["shell", "export", "import -", "completions bash"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSubcommand, "{line}");
        }
        for line in ["stats --watch", "ping --profile p"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnknownArgument, "{line}");
        }
    }

    #[test]
    fn numbers_below_zero_are_no_flags() {
        let Command::Incr(incr) = parse("incr n -5 --json").unwrap().command else { panic!("not an incr") };
        let texts: Vec<_> = incr.words.0.iter().map(|word| (word.form, &word.text[..])).collect();
        assert_eq!(texts, [(Form::KeyBy, &b"n"[..]), (Form::KeyBy, b"-5")]);
        assert!(parse("incr n -x").is_err());
    }

    #[test]
    fn a_revision_is_refused_in_our_own_words() {
        for line in ["set a=1 --if-revision x", "get a --rev -1", "watch --from 1.5", "rollback a --to e1b2c3d4-41"] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains("a revision is a whole number") || error.contains("unexpected argument"), "{error}");
            assert!(!error.contains("invalid digit"), "{error}");
        }
    }

    #[test]
    fn a_time_to_live_is_checked_where_it_is_typed() {
        let error = parse("set a=1 --ttl 30").unwrap_err().to_string();
        assert!(error.contains("'30'") && error.contains("ms s m h d"), "{error}");
        let Command::Set(set) = parse("set a=1 --ttl 30s").unwrap().command else { panic!("not a set") };
        assert_eq!(set.pairs.ttl, Some(kvd_types::Ttl::Ms(30_000)));
    }

    #[test]
    fn flags_that_exclude_each_other_are_refused_together() {
        for line in [
            "set a=1 --if-absent --if-exists",
            "set a=1 --get --dry-run",
            "get a --json -o raw",
            "list -0 --json",
            "list -0 -o tsv",
            "delete a --prefix b",
            "delete --all --prefix b",
            "delete --prefix b --require",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{line}");
        }
        for line in ["set --from f", "set --format tsv", "get -0 a", "rollback k"] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument, "{line}");
        }
    }
}
