//! Commands that take one key and something more: what is added to its value, or how long that stays.

use kvd_client::Key;
use kvd_types::Ttl;
use kvd_wire::rest::ttl;

use super::{Files, base64, key, name};
use crate::escape::{Form as Escapes, unescape};
use crate::exit::Failure;
use crate::syntax;
use crate::words::{Form, Word};

/// The key of an `incr`, and what is added to its value.
pub(crate) fn increment(words: &[Word]) -> Result<(Key<'static>, i64), Failure> {
    let (key, rest) = key_and_more(words)?;
    match rest[..] {
        [] => Ok((key, 1)),
        [by] => Ok((key, integer(&by.text)?)),
        _ => {
            Err(Failure::usage("incr takes one key and one number").hint("write kvcli incr KEY, or kvcli incr KEY -5"))
        }
    }
}

/// Refuses what the server would store but never add to: `+5`, `05`.
fn integer(text: &[u8]) -> Result<i64, Failure> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    number.filter(|number| number.to_string().as_bytes() == text).ok_or_else(|| {
        Failure::usage(format!("`{}` is no number to add", name(text))).hint(format!(
            "write a whole number from {} to {}, such as 5 or -5",
            i64::MIN,
            i64::MAX
        ))
    })
}

/// The key of an `append`, and what is added at the end of its value.
pub(super) fn append_from(words: &[Word], files: &mut Files) -> Result<(Key<'static>, Vec<u8>), Failure> {
    let (key, rest) = key_and_more(words)?;
    let [word] = rest[..] else {
        let values = if rest.is_empty() { "none" } else { "several" };
        return Err(Failure::usage(format!("append takes one value, not {values}"))
            .hint("write kvcli append KEY VALUE, or - for standard input; a value with spaces stands in quotes"));
    };
    let value = match word.form {
        Form::Value => word.text.clone(),
        Form::ValueB64 => base64(&word.text)?,
        Form::ValueFile => files.read(&word.text)?,
        _ if word.text == b"-" => files.read(b"-")?,
        _ => unescape(&word.text, Escapes::Argument).map_err(|reason| {
            Failure::usage(format!("`{}`: {reason}", name(&word.text)))
                .hint("--value VALUE takes backslashes as they are")
        })?,
    };
    Ok((key, value))
}

/// The key of an `append` on the command line.
pub(crate) fn append(words: &[Word]) -> Result<(Key<'static>, Vec<u8>), Failure> {
    append_from(words, &mut Files::default())
}

/// The key of an `expire`, and after how many milliseconds its value is to go.
pub(crate) fn expiry(words: &[Word]) -> Result<(Key<'static>, u64), Failure> {
    let (key, rest) = key_and_more(words)?;
    let [word] = rest[..] else {
        return Err(Failure::usage("expire takes one key and one duration").hint("write kvcli expire KEY 30s"));
    };
    match std::str::from_utf8(&word.text).ok().map(ttl::parse) {
        Some(Ok(Ttl::Ms(ms))) => Ok((key, ms)),
        Some(Ok(_)) => Err(Failure::usage(format!("`{}` is no duration", name(&word.text)))
            .hint("kvcli persist KEY has a value stay for ever")),
        _ => Err(Failure::usage(format!("`{}` is no duration", name(&word.text)))
            .hint("write a whole number above 0 and ms, s, m, h or d, such as 30s")),
    }
}

/// The one key, by an exact form or as the first positional argument, and all other words.
fn key_and_more(words: &[Word]) -> Result<(Key<'static>, Vec<&Word>), Failure> {
    let is_key = |word: &&Word| matches!(word.form, Form::Key | Form::KeyB64);
    let (exact, mut rest): (Vec<&Word>, Vec<&Word>) = words.iter().partition(is_key);
    let named = match exact[..] {
        [Word { form: Form::KeyB64, text }] => base64(text)?,
        [word] => word.text.clone(),
        [] => {
            let positional = |word: &&Word| !matches!(word.form, Form::Value | Form::ValueFile | Form::ValueB64);
            let at = rest.iter().position(positional).ok_or_else(|| {
                Failure::usage("no key is named").hint("name it as the first argument; the empty key is -k ''")
            })?;
            syntax::key(&rest.remove(at).text)?
        }
        _ => return Err(Failure::usage(format!("this command takes one key, not {}", exact.len()))),
    };
    Ok((key(named)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(Form, &str)]) -> Vec<Word> {
        words.iter().map(|(form, text)| Word { form: *form, text: text.as_bytes().to_vec() }).collect()
    }

    fn shown<T>(outcome: Result<(Key<'static>, T), Failure>) -> Result<(String, T), String> {
        outcome
            .map(|(key, more)| (key.as_text().unwrap().to_owned(), more))
            .map_err(|failure| failure.error.unwrap().to_string())
    }

    #[test]
    fn an_increment_has_a_key_and_a_number() {
        let by = |text| (Form::KeyBy, text);
        for (given, expected) in [
            (vec![by("n")], Ok(("n", 1))),
            (vec![by("n"), by("-5")], Ok(("n", -5))),
            (vec![by("9223372036854775807"), (Form::Key, "a,b")], Ok(("a,b", i64::MAX))),
            (vec![(Form::KeyB64, "YQ")], Ok(("a", 1))),
            (vec![by(r"a\,b"), by("2")], Ok(("a,b", 2))),
            (vec![by("n"), by("1.5")], Err("`1.5` is no number to add")),
            (vec![by("n"), by("+5")], Err("`+5` is no number to add")),
            (vec![by("n"), by("9223372036854775808")], Err("`9223372036854775808` is no number to add")),
            (vec![by("a,b")], Err("`a,b` holds more than one key")),
            (vec![(Form::Key, "a"), (Form::Key, "b")], Err("this command takes one key, not 2")),
            (vec![(Form::Key, "a"), by("1"), by("2")], Err("incr takes one key and one number")),
            (vec![], Err("no key is named")),
        ] {
            let expected = expected.map(|(key, by)| (key.to_owned(), by)).map_err(str::to_owned);
            assert_eq!(shown(increment(&words(&given))), expected, "{given:?}");
        }
    }

    #[test]
    fn an_append_has_a_key_and_a_value_in_any_form() {
        let value = |text| (Form::KeyValue, text);
        for (given, expected) in [
            (vec![value("log"), value(r"a, b\n")], Ok("a, b\n")),
            (vec![value("log"), (Form::Value, r"-x\n")], Ok(r"-x\n")),
            (vec![(Form::ValueB64, "YQ"), value("log")], Ok("a")),
            (vec![(Form::Key, "log"), value("")], Ok("")),
            (vec![value("log"), (Form::ValueFile, "/no/such/file")], Err("can't read /no/such/file")),
            (
                vec![value("log"), value(r"\q")],
                Err(r"`\q`: \q is no escape; known are \, \= \\ \n \t \xHH, and a backslash is written \\"),
            ),
            (vec![value("log")], Err("append takes one value, not none")),
            (vec![(Form::Key, "log"), value("a"), value("b")], Err("append takes one value, not several")),
        ] {
            let expected = expected.map(|text| ("log".to_owned(), text.as_bytes().to_vec())).map_err(str::to_owned);
            assert_eq!(shown(append(&words(&given))), expected, "{given:?}");
        }
    }

    #[test]
    fn an_expiry_has_a_key_and_a_duration() {
        let word = |text| (Form::KeyDuration, text);
        for (given, expected) in [
            (vec![word("k"), word("30s")], Ok(30_000)),
            (vec![(Form::Key, "k"), word("500ms")], Ok(500)),
            (vec![word("k"), word("30")], Err("`30` is no duration")),
            (vec![word("k"), word("0s")], Err("`0s` is no duration")),
            (vec![word("k"), word("none")], Err("`none` is no duration")),
            (vec![word("k")], Err("expire takes one key and one duration")),
        ] {
            let expected = expected.map(|ms| ("k".to_owned(), ms)).map_err(str::to_owned);
            assert_eq!(shown(expiry(&words(&given))), expected, "{given:?}");
        }
    }
}
