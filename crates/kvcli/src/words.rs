//! The words of a command line that name keys and values, in the order in which they were typed: `-k a --value 1 -k b --value 2`
//! has a meaning only in order, which clap's derive drops. Knows their spelling and help; what they mean is `input`'s business.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// How a word was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A positional argument: keys in the comma syntax.
    Keys,
    /// The positional argument of a command that takes one key.
    OneKey,
    /// A positional argument: `KEY=VALUE` in the comma syntax.
    Pairs,
    /// `-k KEY`
    Key,
    /// `--key-b64 KEY`
    KeyB64,
    /// `--value VALUE`
    Value,
    /// `--value-file PATH`
    ValueFile,
    /// `--value-b64 VALUE`
    ValueB64,
    /// The positional arguments of `incr`: `KEY [BY]`
    KeyBy,
    /// The positional arguments of `append`: `KEY VALUE`
    KeyValue,
    /// The positional arguments of `expire`: `KEY DURATION`
    KeyDuration,
    /// `-f KEY=VALUE`
    Pair,
    /// `-F KEY=PATH`
    PairFile,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Which argument it belongs to.
    pub(crate) form: Form,
    /// Its bytes, as the shell passed them.
    pub(crate) text: Vec<u8>,
}

impl Form {
    fn id(self) -> &'static str {
        match self {
            Form::Keys => "KEYS",
            Form::OneKey => "KEY",
            Form::Pairs => "PAIRS",
            Form::KeyBy => "KEY BY",
            Form::KeyValue => "KEY VALUE",
            Form::KeyDuration => "KEY DURATION",
            Form::Key => "key",
            Form::KeyB64 => "key-b64",
            Form::Value => "value",
            Form::ValueFile => "value-file",
            Form::ValueB64 => "value-b64",
            Form::Pair => "pair",
            Form::PairFile => "pair-file",
        }
    }

    fn arg(self) -> Arg {
        let arg = Arg::new(self.id()).value_parser(value_parser!(OsString)).action(ArgAction::Append);
        // An exact form takes whatever follows it, a value that begins with a dash too.
        let option = |value| arg.clone().long(self.id()).value_name(value).allow_hyphen_values(true);
        match self {
            Form::Keys => arg
                .value_name("KEY[,KEY...]")
                .num_args(0..)
                .help(r"Keys; in them a comma is written \, and other bytes \\ \n \t \xHH"),
            Form::OneKey => arg
                .value_name("KEY")
                .action(ArgAction::Set)
                .help(r"The key; in it a comma is written \, and other bytes \\ \n \t \xHH"),
            Form::Pairs => arg.value_name("KEY=VALUE[,KEY=VALUE...]").num_args(0..).help(concat!(
                r"Pairs; in them a comma is written \, a = in a key \= and other bytes \\ \n \t \xHH. ",
                "KEY - reads the value from standard input",
            )),
            Form::KeyBy => arg.value_names(["KEY", "BY"]).num_args(0..=2).allow_negative_numbers(true).help(
                "The key, escapes as in other commands, and what is added to its value: 1 if it is not said, less than 0 to \
                 subtract",
            ),
            Form::KeyValue => arg.value_names(["KEY", "VALUE"]).num_args(0..=2).allow_negative_numbers(true).help(
                r"The key and what is added to its value; in both \\ \n \t \, \= \xHH are escapes. - reads standard input",
            ),
            Form::KeyDuration => arg
                .value_names(["KEY", "DURATION"])
                .num_args(0..=2)
                .help("The key, escapes as in other commands, and how long its value stays: 500ms, 30s, 5m, 12h, 7d"),
            Form::Key => option("KEY").short('k').help("A key exactly as it is, without escapes; '' is the empty key"),
            Form::KeyB64 => option("BASE64").help("A key in base64"),
            Form::Value => option("VALUE").help("The value, exactly as it is, of the -k or --key-b64 before it"),
            Form::ValueFile => {
                option("PATH").help("The file that is the value of the -k or --key-b64 before it; - is standard input")
            }
            Form::ValueB64 => option("BASE64").help("The value, in base64, of the -k or --key-b64 before it"),
            Form::Pair => {
                option("KEY=VALUE").short('f').help("A pair exactly as it is, split at the first =, without escapes")
            }
            Form::PairFile => {
                option("KEY=PATH").short('F').help("A key and the file that is its value; - is standard input")
            }
        }
    }
}

/// The words of `get`, `delete` and `exists`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyWords(pub(crate) Vec<Word>);

/// The words of commands that take one key and nothing else, such as `head`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneKeyWords(pub(crate) Vec<Word>);

/// The words of `incr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IncrWords(pub(crate) Vec<Word>);

/// The words of `append`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendWords(pub(crate) Vec<Word>);

/// The words of `expire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpireWords(pub(crate) Vec<Word>);

/// The words of `set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairWords(pub(crate) Vec<Word>);

const KEY_FORMS: &[Form] = &[Form::Keys, Form::Key, Form::KeyB64];

const ONE_KEY_FORMS: &[Form] = &[Form::OneKey, Form::Key, Form::KeyB64];

const INCR_FORMS: &[Form] = &[Form::KeyBy, Form::Key, Form::KeyB64];

const APPEND_FORMS: &[Form] = &[Form::KeyValue, Form::Key, Form::KeyB64, Form::Value, Form::ValueFile, Form::ValueB64];

const EXPIRE_FORMS: &[Form] = &[Form::KeyDuration, Form::Key, Form::KeyB64];

const PAIR_FORMS: &[Form] =
    &[Form::Pairs, Form::Pair, Form::PairFile, Form::Key, Form::KeyB64, Form::Value, Form::ValueFile, Form::ValueB64];

fn collect(matches: &ArgMatches, forms: &[Form]) -> Vec<Word> {
    let mut words: Vec<(usize, Word)> = Vec::new();
    for form in forms {
        let texts = matches.get_many::<OsString>(form.id()).into_iter().flatten().cloned().map(OsStringExt::into_vec);
        let places = matches.indices_of(form.id()).into_iter().flatten();
        words.extend(places.zip(texts).map(|(place, text)| (place, Word { form: *form, text })));
    }
    words.sort_by_key(|(place, _)| *place);
    words.into_iter().map(|(_, word)| word).collect()
}

macro_rules! arguments {
    ($words:ident, $forms:ident) => {
        impl clap::FromArgMatches for $words {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok($words(collect(matches, $forms)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0.extend(collect(matches, $forms));
                Ok(())
            }
        }

        impl clap::Args for $words {
            fn augment_args(command: clap::Command) -> clap::Command {
                command.args($forms.iter().map(|form| form.arg()))
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }
    };
}

arguments!(KeyWords, KEY_FORMS);
arguments!(OneKeyWords, ONE_KEY_FORMS);
arguments!(IncrWords, INCR_FORMS);
arguments!(AppendWords, APPEND_FORMS);
arguments!(ExpireWords, EXPIRE_FORMS);
arguments!(PairWords, PAIR_FORMS);
