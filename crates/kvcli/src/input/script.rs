//! The script of a `txn`: a line is what would be typed behind `kvcli`, in the words of a shell (`shlex`) and with the arguments
//! of the command line (`clap`), so that there is one grammar. Every complaint names its line.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Args, Parser};
use kvd_client::{Condition, Revision, Txn};
use kvd_types::{Check, Command, Delete, ExpiryCondition, Key, Modify, Rule, Ttl};

use super::modify::append_from;
use super::{Files, expiry, increment, key, keys_from, name, one_key, pairs_of};
use crate::escape::{Form as Escapes, unescape};
use crate::exit::{Exit, Failure};
use crate::flags;
use crate::syntax;

/// A line of a script.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true, disable_version_flag = true)]
enum Line {
    Check(CheckWords),
    Else,
    Get(flags::Keys),
    #[command(alias = "put")]
    Set(flags::Pairs),
    #[command(aliases = ["del", "rm"])]
    Delete(flags::Keys),
    Incr(flags::Incr),
    Append(flags::Append),
    Expire(flags::Expire),
    Persist(flags::OneKey),
}

/// `check KEY absent`, `check -k KEY revision 41`
#[derive(Debug, Args)]
struct CheckWords {
    /// The key exactly as it is.
    #[arg(short = 'k', long = "key", allow_hyphen_values = true)]
    key: Option<OsString>,
    #[arg(num_args = 0..=3, allow_negative_numbers = true)]
    words: Vec<OsString>,
}

/// A script that was read: the transaction it stands for, and where in it each part is.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) txn: Txn,
    file: String,
    /// The line of each check, of each operation, and of each that is done otherwise: in the order in which they are sent.
    lines: [Vec<usize>; 3],
    has_else: bool,
}

/// The arrays of a transaction's body, in the order of [`Script::lines`].
const ARRAYS: [&str; 3] = ["checks", "ops", "else"];
const CHECKS: usize = 0;
const OPS: usize = 1;
const ELSE: usize = 2;

/// Reads the script in a file.
pub(crate) fn script(path: &Path) -> Result<Script, Failure> {
    let path = path.as_os_str().as_bytes();
    let mut files = Files::default();
    let text = files.read(path)?;
    parse(&name(path), &text, &mut files)
}

fn parse(file: &str, text: &[u8], files: &mut Files) -> Result<Script, Failure> {
    let mut script = Script { txn: Txn::new(), file: file.to_owned(), lines: Default::default(), has_else: false };
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        script = script.with(index + 1, line, files).map_err(|failure| failure.at(&format!("{file}:{}", index + 1)))?;
    }
    if script.has_operations() || script.has_else {
        return Ok(script);
    }
    let error = anyhow::anyhow!("{file}: the script has no operations");
    Err(Failure::new(Exit::BadFile, error).hint("write one on each line, such as `set a=1`; see kvcli txn --help"))
}

impl Script {
    /// Where the part of the body is that a JSON pointer names, to be put before what is said of it: `FILE:LINE: `.
    pub(crate) fn place(&self, pointer: &str) -> Option<String> {
        let mut parts = pointer.strip_prefix("#/")?.split('/');
        let array = parts.next()?;
        let lines = &self.lines[ARRAYS.iter().position(|known| *known == array)?];
        let line = lines.get(parts.next()?.parse::<usize>().ok()?)?;
        Some(format!("{}:{line}: ", self.file))
    }

    fn has_operations(&self) -> bool {
        !self.lines[OPS].is_empty()
    }

    /// The script with one more line.
    fn with(mut self, number: usize, line: &[u8], files: &mut Files) -> Result<Script, Failure> {
        let words =
            shlex::bytes::split(line).ok_or_else(|| bad("a quote is not closed, or the line ends in a backslash"))?;
        if words.is_empty() {
            return Ok(self);
        }
        let first = name(&words[0]);
        let words = words.into_iter().map(OsString::from_vec);
        match Line::try_parse_from(words).map_err(|error| refused(&first, &error))? {
            Line::Check(_) if self.has_operations() || self.has_else => {
                return Err(bad("checks come before all operations").hint("they are judged before anything is done"));
            }
            Line::Check(words) => {
                let Check { key, condition } = check(&words)?;
                self.txn = self.txn.check(key, condition);
                self.lines[CHECKS].push(number);
            }
            Line::Else if self.has_else => return Err(bad("`else` comes twice")),
            Line::Else => {
                self.txn = self.txn.otherwise();
                self.has_else = true;
            }
            operation => {
                let lines = &mut self.lines[if self.has_else { ELSE } else { OPS }];
                for command in commands(operation, files)? {
                    self.txn = self.txn.op(command);
                    lines.push(number);
                }
            }
        }
        Ok(self)
    }
}

fn commands(line: Line, files: &mut Files) -> Result<Vec<Command<'static>>, Failure> {
    let modify = |key, rule| vec![Command::Modify(Modify { key, rule, condition: Condition::Always })];
    Ok(match line {
        Line::Get(keys) => keys_from(&keys, files)?.into_iter().map(|key| Command::Get { key }).collect(),
        Line::Delete(keys) => {
            keys_from(&keys, files)?.into_iter().map(|key| Command::Delete(Delete::new(key))).collect()
        }
        Line::Set(pairs) => pairs_of(&pairs, files)?.into_iter().map(Command::Set).collect(),
        Line::Incr(words) => {
            let (key, by) = increment(&words.words.0)?;
            modify(key, Rule::Increment { by })
        }
        Line::Append(words) => {
            let (key, value) = append_from(&words.words.0, files)?;
            modify(key, Rule::Append { bytes: value.into() })
        }
        Line::Expire(words) => {
            let (key, ms) = expiry(&words.words.0)?;
            modify(key, Rule::Expire { ttl: Ttl::Ms(ms), only: ExpiryCondition::Always })
        }
        Line::Persist(words) => {
            modify(one_key(&words.words.0)?, Rule::Expire { ttl: Ttl::None, only: ExpiryCondition::Always })
        }
        Line::Check(_) | Line::Else => unreachable!("these are no operations"),
    })
}

fn check(words: &CheckWords) -> Result<Check<'static>, Failure> {
    let mut words_left = words.words.iter().map(|word| word.as_bytes());
    let key: Key<'static> = match &words.key {
        Some(exact) => key(exact.as_bytes().to_vec())?,
        None => {
            let word = words_left.next().ok_or_else(|| bad("`check` names no key"))?;
            key(syntax::key(word)?)?
        }
    };
    let text =
        |word: &[u8]| unescape(word, Escapes::Argument).map_err(|reason| bad(format!("`{}`: {reason}", name(word))));
    let words: Vec<&[u8]> = words_left.collect();
    let condition = match words[..] {
        [b"absent"] => Condition::Absent,
        [b"exists"] => Condition::Exists,
        [b"revision", revision] => {
            let number = std::str::from_utf8(revision).ok().and_then(|text| text.parse().ok());
            Condition::Revision(Revision(
                number.ok_or_else(|| bad(format!("`{}` is no revision: it is a number", name(revision))))?,
            ))
        }
        [b"etag", etag] => {
            let etag = std::str::from_utf8(etag).ok().and_then(|text| text.trim_matches('"').parse().ok());
            let etag = etag.ok_or_else(|| bad("an entity tag looks like e1b2c3d4-42"))?;
            Condition::AnyOf(vec![etag])
        }
        [b"value", value] => Condition::Value(text(value)?.into()),
        _ => {
            return Err(bad("behind the key of a check stands what must be true of it")
                .hint("write `check KEY absent`, `exists`, `revision N`, `etag TAG` or `value TEXT`"));
        }
    };
    Ok(Check { key, condition })
}

fn bad(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::BadFile, anyhow::anyhow!("{message}"))
}

/// What clap says of a line, without what it says of programs.
fn refused(first: &str, error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::InvalidSubcommand {
        return bad(format!("`{first}` is no operation"))
            .hint("there are check, set, get, delete, incr, append, expire, persist and else");
    }
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    bad(text.strip_prefix("error: ").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use kvd_client::Set;

    use super::*;

    fn read(text: &str) -> Result<Script, String> {
        parse("f", text.as_bytes(), &mut Files::default()).map_err(|failure| {
            assert!(matches!(failure.exit, Exit::BadFile | Exit::Usage), "{failure:?}");
            failure.error.unwrap().to_string()
        })
    }

    fn named(key: &'static str) -> Key<'static> {
        Key::new(key.as_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_what_would_be_typed_behind_kvcli() {
        let script = "\
            # An order.\n\
            check stock revision 41\n\
            check 'a key' absent   # in quotes as in a shell\n\
            check -k 'a,b' value on\n\
            check cfg etag e1b2c3d4-42\n\
            \n\
            set a=1,b='2 3' --ttl 30s\r\n\
            set -f 'greeting=hello, world' --if-absent\n\
            get a,b\n\
            delete c\n\
            incr n -5\n\
            append log \"two words\\\\n\"\n\
            expire a 1m\n\
            persist -k b\n\
            else\n\
            get stock\n";
        let set = |key, value: &'static str| Set { ttl: Ttl::Ms(30_000), ..Set::new(named(key), value) };
        let hello = Set { condition: Condition::Absent, ..Set::new(named("greeting"), "hello, world") };
        let expected = Txn::new()
            .check("stock", Condition::Revision(Revision(41)))
            .check("a key", Condition::Absent)
            .check("a,b", Condition::Value("on".into()))
            .check("cfg", Condition::AnyOf(vec!["e1b2c3d4-42".parse().unwrap()]))
            .op(Command::Set(set("a", "1")))
            .op(Command::Set(set("b", "2 3")))
            .op(Command::Set(hello))
            .get("a")
            .get("b")
            .delete("c")
            .increment("n", -5)
            .append("log", "two words\n")
            .expire("a", std::time::Duration::from_secs(60))
            .persist("b")
            .otherwise()
            .get("stock");
        let script = read(script).unwrap();
        assert_eq!(script.txn, expected);
        let place = |pointer| script.place(pointer).unwrap_or_default();
        assert_eq!((place("#/checks/1"), place("#/ops/1/ttl")), ("f:3: ".to_owned(), "f:7: ".to_owned()));
        assert_eq!(
            (place("#/else/0"), place("#/ops/99"), place("#")),
            ("f:16: ".to_owned(), String::new(), String::new())
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        for (script, message) in [
            ("set a=1\nsett b=2", "f:2: `sett` is no operation"),
            ("set a=1\n\nset b", "f:3: `b` is no KEY=VALUE"),
            ("set a=1,a=2", "f:1: the key `a` is given two values"),
            ("set 'a=1", "f:1: a quote is not closed, or the line ends in a backslash"),
            ("set a=1 --ttl 30", "f:1: invalid value '30' for '--ttl <DURATION>': a time to live is"),
            ("set a=1 --ttl -1s", "f:1: invalid value '-1s' for '--ttl <DURATION>': a time to live is"),
            ("get", "f:1: no key is named"),
            ("incr n x", "f:1: `x` is no number to add"),
            ("expire a", "f:1: expire takes one key and one duration"),
            ("set a=1\ncheck b absent", "f:2: checks come before all operations"),
            ("check b", "f:1: behind the key of a check stands what must be true of it"),
            ("check b revision x", "f:1: `x` is no revision: it is a number"),
            ("check", "f:1: `check` names no key"),
            ("get a\nelse\nelse", "f:3: `else` comes twice"),
            ("get a --output json", "f:1: unexpected argument '--output' found"),
            ("# nothing", "f: the script has no operations"),
            ("check a absent", "f: the script has no operations"),
        ] {
            let error = read(script).unwrap_err();
            assert!(error.starts_with(message), "{script}: {error}");
        }
    }
}
