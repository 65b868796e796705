//! The keys that a command line names, in the order in which it names them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use kvd_client::{Key, ListOptions};
use kvd_types::LIST_ITEMS_MAX;

use super::{Files, base64, check_count, key, name};
use crate::exit::{Exit, Failure};
use crate::flags::{Keys, List};
use crate::syntax;
use crate::words::{Form, Word};

/// All keys of a command: its words, then the file's.
pub(crate) fn keys(arguments: &Keys) -> Result<Vec<Key<'static>>, Failure> {
    keys_from(arguments, &mut Files::default())
}

pub(super) fn keys_from(arguments: &Keys, files: &mut Files) -> Result<Vec<Key<'static>>, Failure> {
    let mut keys = of_words(&arguments.words.0)?;
    if let Some(path) = &arguments.keys_from {
        let path = path.as_os_str().as_bytes();
        let bytes = files.read(path)?;
        keys.extend(of_file(path, &bytes, arguments.null)?);
    } else if keys.is_empty() {
        return Err(Failure::usage("no key is named").hint("name it as an argument; the empty key is -k ''"));
    }
    check_count(keys.len())?;
    Ok(keys)
}

/// The key of a command that takes one.
pub(crate) fn one_key(words: &[Word]) -> Result<Key<'static>, Failure> {
    let mut keys = of_words(words)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (_, others) => {
            Err(Failure::usage(format!("this command takes one key, not {}", if others == 0 { 0 } else { others + 1 }))
                .hint("a comma inside a key is written \\,; the empty key is -k ''"))
        }
    }
}

/// The prefix of a list, or another argument that is one piece; every key begins with the empty prefix.
pub(crate) fn prefix(argument: Option<&OsStr>) -> Result<Vec<u8>, Failure> {
    match argument {
        None => Ok(Vec::new()),
        Some(argument) if argument.is_empty() => Ok(Vec::new()),
        Some(argument) => Ok(syntax::key(argument.as_bytes())?),
    }
}

/// Which keys a `list` is of, and in which order.
pub(crate) fn list(arguments: &List) -> Result<ListOptions, Failure> {
    let delimiter = arguments.delimiter.as_deref().map(|text| match text.is_empty() {
        true => Err(Failure::usage("an empty delimiter divides nothing").hint("write --delimiter / or another text")),
        false => Ok(syntax::key(text.as_bytes())?),
    });
    Ok(ListOptions {
        prefix: prefix(arguments.prefix.as_deref())?,
        limit: Some(LIST_ITEMS_MAX),
        sorted: arguments.sort,
        delimiter: delimiter.transpose()?,
        ..ListOptions::default()
    })
}

fn of_words(words: &[Word]) -> Result<Vec<Key<'static>>, Failure> {
    let mut keys = Vec::new();
    for word in words {
        match word.form {
            Form::Keys | Form::OneKey => {
                for bytes in syntax::keys(&word.text)? {
                    keys.push(key(bytes)?);
                }
            }
            Form::KeyB64 => keys.push(key(base64(&word.text)?)?),
            _ => keys.push(key(word.text.clone())?),
        }
    }
    Ok(keys)
}

/// Each key exactly as it stands there. The last one may lack its end.
fn of_file(path: &[u8], bytes: &[u8], null: bool) -> Result<Vec<Key<'static>>, Failure> {
    let end = if null { b'\0' } else { b'\n' };
    let mut keys = Vec::new();
    for (index, bytes) in bytes.split_inclusive(|byte| *byte == end).enumerate() {
        let bytes = bytes.strip_suffix(&[end]).unwrap_or(bytes);
        // An empty line is more often an accident than the empty key.
        if bytes.is_empty() && !null {
            let error = anyhow::anyhow!("{}:{}: an empty line names no key", name(path), index + 1);
            return Err(Failure::new(Exit::BadFile, error).hint("the empty key is -k '', or an empty entry with -0"));
        }
        keys.push(key(bytes.to_vec())?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(form: Form, text: &str) -> Word {
        Word { form, text: text.as_bytes().to_vec() }
    }

    fn texts(keys: Vec<Key<'static>>) -> Vec<String> {
        keys.iter().map(|key| key.as_text().unwrap().to_owned()).collect()
    }

    #[test]
    fn words_are_keys_in_the_order_typed_and_exact_forms_are_taken_as_they_are() {
        let words = [
            word(Form::Keys, r"a,b\,c"),
            word(Form::Key, r"x,y\,z"),
            word(Form::KeyB64, "YWI="),
            word(Form::Key, ""),
            word(Form::Keys, "a"),
        ];
        assert_eq!(texts(of_words(&words).unwrap()), ["a", "b,c", r"x,y\,z", "ab", "", "a"]);
    }

    #[test]
    fn a_file_of_keys_has_no_escapes() {
        for (bytes, null, expected) in [
            ("a\nb", false, &["a", "b"][..]),
            ("a\nb\n", false, &["a", "b"]),
            ("a\\nb,c\n \n", false, &["a\\nb,c", " "]),
            ("", false, &[]),
            ("a\nb\0c\0", true, &["a\nb", "c"]),
            ("\0a\0\0", true, &["", "a", ""]),
            ("", true, &[]),
        ] {
            assert_eq!(texts(of_file(b"f", bytes.as_bytes(), null).unwrap()), expected, "{bytes:?}");
        }
        let failure = of_file(b"f", b"a\n\nb\n", false).unwrap_err();
        assert_eq!(failure.exit, Exit::BadFile);
        assert_eq!(failure.error.unwrap().to_string(), "f:2: an empty line names no key");
    }

    #[test]
    fn a_command_of_one_key_refuses_none_and_several() {
        assert_eq!(one_key(&[word(Form::Keys, "a")]).unwrap().as_bytes(), b"a");
        let message = |words: &[Word]| one_key(words).unwrap_err().error.unwrap().to_string();
        assert_eq!(message(&[]), "this command takes one key, not 0");
        assert_eq!(message(&[word(Form::Keys, "a,b")]), "this command takes one key, not 2");
    }

    #[test]
    fn a_key_that_no_server_allows_is_a_limit() {
        let failure = of_words(&[word(Form::Key, &"k".repeat(65_537))]).unwrap_err();
        assert_eq!(failure.exit, Exit::Limit);
        assert!(of_words(&[word(Form::Key, &"k".repeat(65_536))]).is_ok());
    }

    #[test]
    fn a_prefix_is_one_piece_of_the_comma_syntax() {
        let prefix = |text: &str| prefix(Some(OsStr::new(text)));
        assert_eq!(prefix(r"user\,").unwrap(), b"user,");
        assert_eq!(prefix("").unwrap(), b"");
        assert_eq!(prefix("a,b").unwrap_err().exit, Exit::Usage);
    }
}
