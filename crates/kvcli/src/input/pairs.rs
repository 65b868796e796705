//! The pairs that a `set` names: its words, then its file's, all checked before one is sent.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;

use kvd_client::{Condition, ContentType, Key, Revision, Set};
use kvd_types::Ttl;

use super::file::{self, Item};
use super::{Files, base64, check_count, key, name};
use crate::escape::escape;
use crate::exit::{Exit, Failure};
use crate::flags;
use crate::syntax;
use crate::words::{Form, Word};

/// All pairs of a `set`, with what its flags add to each.
pub(crate) fn pairs(arguments: &flags::Set) -> Result<Vec<Set<'static>>, Failure> {
    let mut files = Files::default();
    match (&arguments.from, arguments.format) {
        (Some(path), Some(format)) => {
            let path = path.as_os_str().as_bytes();
            let mut items = of_words(&arguments.pairs.words.0, &mut files)?;
            items.extend(file::read(path, files.read(path)?, format)?);
            complete(&arguments.pairs, items)
        }
        _ => pairs_of(&arguments.pairs, &mut files),
    }
}

/// Pairs that are named by words alone.
pub(super) fn pairs_of(arguments: &flags::Pairs, files: &mut Files) -> Result<Vec<Set<'static>>, Failure> {
    let items = of_words(&arguments.words.0, files)?;
    if items.is_empty() {
        return Err(Failure::usage("no pair is named").hint("write KEY=VALUE, or -k KEY --value VALUE"));
    }
    complete(arguments, items)
}

/// Checks items together, and has the flags speak for those that say nothing themselves.
fn complete(arguments: &flags::Pairs, items: Vec<Item>) -> Result<Vec<Set<'static>>, Failure> {
    check_count(items.len())?;
    check_unique(&items)?;

    let content_type = arguments.content_type.as_ref().map(|text| ContentType::new(text.as_bytes()));
    let content_type = content_type.transpose().map_err(|error| Failure::usage(format!("--content-type: {error}")))?;
    let ttl = arguments.ttl.unwrap_or_default();
    let condition = condition(&arguments.condition);
    let complete = |set: Set<'static>| Set {
        content_type: set.content_type.or_else(|| content_type.clone()),
        ttl: if set.ttl == Ttl::Default { ttl } else { set.ttl },
        condition: if set.condition == Condition::Always { condition.clone() } else { set.condition },
        ..set
    };
    Ok(items.into_iter().map(|item| complete(item.set)).collect())
}

fn condition(flags: &flags::Condition) -> Condition {
    match flags {
        flags::Condition { if_absent: true, .. } => Condition::Absent,
        flags::Condition { if_exists: true, .. } => Condition::Exists,
        flags::Condition { if_revision: Some(revision), .. } => Condition::Revision(Revision(*revision)),
        _ => Condition::Always,
    }
}

fn of_words(words: &[Word], files: &mut Files) -> Result<Vec<Item>, Failure> {
    if let [Word { form: Form::Pairs, text: named }, Word { form: Form::Pairs, text: dash }] = words
        && dash == b"-"
    {
        if !syntax::is_key_alone(named) {
            return Err(
                Failure::usage("before a lone - stands one key").hint("write KEY -, or -F KEY=- for each of several")
            );
        }
        return Ok(vec![item(syntax::key(named)?, files.read(b"-")?)?]);
    }
    let mut items = Vec::new();
    let mut waiting: Option<Vec<u8>> = None;
    for word in words {
        if let (Some(key), Form::Key | Form::KeyB64) = (&waiting, word.form) {
            return Err(no_value(key));
        }
        match word.form {
            Form::Key => waiting = Some(word.text.clone()),
            Form::KeyB64 => waiting = Some(base64(&word.text)?),
            Form::Value => items.push(item(key_before(&mut waiting)?, word.text.clone())?),
            Form::ValueB64 => items.push(item(key_before(&mut waiting)?, base64(&word.text)?)?),
            Form::ValueFile => items.push(item(key_before(&mut waiting)?, files.read(&word.text)?)?),
            Form::Pair => {
                let (key, value) = split(&word.text, "-f KEY=VALUE")?;
                items.push(item(key.to_vec(), value.to_vec())?);
            }
            Form::PairFile => {
                let (key, path) = split(&word.text, "-F KEY=PATH")?;
                items.push(item(key.to_vec(), files.read(path)?)?);
            }
            _ => {
                for (key, value) in syntax::pairs(&word.text)? {
                    items.push(item(key, value)?);
                }
            }
        }
    }
    waiting.map_or(Ok(items), |key| Err(no_value(&key)))
}

fn item(bytes: Vec<u8>, value: Vec<u8>) -> Result<Item, Failure> {
    Ok(Item { set: Set::new(key(bytes)?, value), place: None })
}

fn split<'w>(text: &'w [u8], usage: &str) -> Result<(&'w [u8], &'w [u8]), Failure> {
    let equals = text.iter().position(|byte| *byte == b'=');
    let equals = equals.ok_or_else(|| Failure::usage(format!("`{}` has no =: write {usage}", name(text))))?;
    Ok((&text[..equals], &text[equals + 1..]))
}

fn key_before(waiting: &mut Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    waiting.take().ok_or_else(|| Failure::usage("a value has no key before it").hint("write -k KEY --value VALUE"))
}

fn no_value(key: &[u8]) -> Failure {
    Failure::usage(format!("the key `{}` has no value", escape(key)))
        .hint("write -k KEY --value VALUE, or -k KEY --value-file PATH")
}

fn check_unique(items: &[Item]) -> Result<(), Failure> {
    let mut seen: HashMap<&Key<'static>, ()> = HashMap::with_capacity(items.len());
    for item in items {
        if seen.insert(&item.set.key, ()).is_some() {
            let message = format!("the key `{}` is given two values", escape(item.set.key.as_bytes()));
            return Err(match &item.place {
                Some(place) => Failure::new(Exit::BadFile, anyhow::anyhow!("{place}: {message}")),
                None => Failure::usage(message).hint("name each key once; nothing was set"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(Form, &str)]) -> Vec<Word> {
        words.iter().map(|(form, text)| Word { form: *form, text: text.as_bytes().to_vec() }).collect()
    }

    fn read(given: &[(Form, &str)]) -> Result<Vec<(String, String)>, String> {
        let items = of_words(&words(given), &mut Files::default());
        let items = items.and_then(|items| check_unique(&items).map(|()| items));
        let items = items.map_err(|failure| failure.error.unwrap().to_string())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(items.iter().map(|item| (text(item.set.key.as_bytes()), text(&item.set.value))).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn every_form_gives_its_pairs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from a file\n").unwrap();
        let path = file.path().to_str().unwrap();
        for (given, expected) in [
            (vec![(Form::Pairs, "a=1,b=2"), (Form::Pairs, "c=")], pairs(&[("a", "1"), ("b", "2"), ("c", "")])),
            (vec![(Form::Key, "a,b=c"), (Form::Value, "-5,\\n")], pairs(&[("a,b=c", "-5,\\n")])),
            (vec![(Form::Key, ""), (Form::Value, "")], pairs(&[("", "")])),
            (vec![(Form::KeyB64, "YQ"), (Form::ValueB64, "Yg==")], pairs(&[("a", "b")])),
            (vec![(Form::Key, "a"), (Form::ValueFile, path)], pairs(&[("a", "from a file\n")])),
            (vec![(Form::Pair, "a=b=c, d\\")], pairs(&[("a", "b=c, d\\")])),
            (vec![(Form::Pair, "=v")], pairs(&[("", "v")])),
            (vec![(Form::PairFile, &format!("a={path}"))], pairs(&[("a", "from a file\n")])),
            (
                vec![(Form::Key, "a"), (Form::Value, "1"), (Form::Pairs, "b=2"), (Form::Key, "c"), (Form::Value, "3")],
                pairs(&[("a", "1"), ("b", "2"), ("c", "3")]),
            ),
        ] {
            assert_eq!(read(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn mistakes_are_named_before_anything_is_sent() {
        for (given, message) in [
            (&[(Form::Pairs, "a=1,a=2")][..], "the key `a` is given two values"),
            (&[(Form::Pairs, "a=1"), (Form::Pair, "a=2")], "the key `a` is given two values"),
            (&[(Form::Key, "a")], "the key `a` has no value"),
            (&[(Form::Key, "a"), (Form::Key, "b"), (Form::Value, "1")], "the key `a` has no value"),
            (&[(Form::Value, "1")], "a value has no key before it"),
            (&[(Form::Key, "a"), (Form::Value, "1"), (Form::Value, "2")], "a value has no key before it"),
            (&[(Form::Pair, "a")], "`a` has no =: write -f KEY=VALUE"),
            (&[(Form::PairFile, "a")], "`a` has no =: write -F KEY=PATH"),
            (&[(Form::Pairs, "a=1"), (Form::Pairs, "-")], "before a lone - stands one key"),
            (&[(Form::Pairs, "a,b"), (Form::Pairs, "-")], "before a lone - stands one key"),
            (&[(Form::Pairs, "a"), (Form::Pairs, "b"), (Form::Pairs, "-")], "`a` is no KEY=VALUE"),
            (&[(Form::PairFile, "a=/no/such/file")], "can't read /no/such/file"),
        ] {
            assert_eq!(read(given), Err(message.to_owned()), "{given:?}");
        }
    }

    #[test]
    fn flags_speak_for_pairs_that_say_nothing_themselves() {
        let flags = flags::Pairs {
            words: crate::words::PairWords(Vec::new()),
            ttl: Some(Ttl::Ms(5)),
            condition: flags::Condition { if_absent: true, if_exists: false, if_revision: None },
            content_type: Some("text/plain".into()),
        };
        let item = |key, condition, ttl, content_type| Item {
            set: Set { condition, ttl, content_type, ..Set::new(Key::new(key).unwrap(), "v") },
            place: None,
        };
        let text = ContentType::new(b"text/plain").unwrap();
        let own_type = ContentType::new(b"text/html").unwrap();
        let plain = item(&b"a"[..], Condition::Always, Ttl::Default, None);
        let own = item(&b"b"[..], Condition::Exists, Ttl::Keep, Some(own_type.clone()));
        let sets = complete(&flags, vec![plain, own]).unwrap();
        let said: Vec<_> = sets.into_iter().map(|set| (set.condition, set.ttl, set.content_type)).collect();
        assert_eq!(said, [(Condition::Absent, Ttl::Ms(5), Some(text)), (Condition::Exists, Ttl::Keep, Some(own_type))]);
    }
}
