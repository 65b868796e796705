//! The comma syntax of arguments: `key1=val,key2=123`. Splits at commas and at the first `=`, then undoes escapes.
//! Knows bytes, not commands: whether a key may occur twice, or how many there may be, is decided elsewhere.

use crate::escape::{BadEscape, Form, unescape};

/// An argument that isn't written in the comma syntax.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SyntaxError {
    #[error("`{argument}` has an empty piece between its commas")]
    EmptyPiece { argument: String },
    #[error("an empty argument names no key")]
    EmptyArgument,
    #[error("`{piece}` has no key before its =")]
    EmptyKey { piece: String },
    #[error("`{piece}` is no KEY=VALUE")]
    NoEquals { piece: String },
    #[error("`{argument}` holds more than one key")]
    MoreThanOne { argument: String },
    #[error("`{piece}`: {reason}")]
    BadEscape { piece: String, reason: BadEscape },
}

impl SyntaxError {
    /// How to write what was probably meant.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            SyntaxError::EmptyPiece { .. } => {
                "a comma inside a key or a value is written \\, and the empty key is -k ''"
            }
            SyntaxError::EmptyArgument => "the empty key is -k ''",
            SyntaxError::EmptyKey { .. } => "the empty key is written -k '' --value VALUE",
            SyntaxError::NoEquals { .. } => {
                "write KEY=VALUE, a comma inside a value as \\, or use -f KEY=VALUE, which takes commas as they are"
            }
            SyntaxError::MoreThanOne { .. } => "a comma inside it is written \\,",
            SyntaxError::BadEscape { .. } => "-k KEY and -f KEY=VALUE take backslashes as they are",
        }
    }
}

/// The keys of an argument: `key1,key2`.
pub(crate) fn keys(argument: &[u8]) -> Result<Vec<Vec<u8>>, SyntaxError> {
    pieces(argument)?.into_iter().map(|piece| plain(piece, piece)).collect()
}

/// The only key of an argument; also a prefix.
pub(crate) fn key(argument: &[u8]) -> Result<Vec<u8>, SyntaxError> {
    match pieces(argument)?[..] {
        [piece] => plain(piece, piece),
        _ => Err(SyntaxError::MoreThanOne { argument: quoted(argument) }),
    }
}

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The keys and values of an argument: `key1=val,key2=123`.
pub(crate) fn pairs(argument: &[u8]) -> Result<Vec<Pair>, SyntaxError> {
    pieces(argument)?.into_iter().map(pair).collect()
}

/// Whether `argument` has the shape of a key alone: one piece, no `=`.
pub(crate) fn is_key_alone(argument: &[u8]) -> bool {
    unescaped(argument, b',').is_none() && unescaped(argument, b'=').is_none()
}

fn pair(piece: &[u8]) -> Result<Pair, SyntaxError> {
    match unescaped(piece, b'=') {
        None => Err(SyntaxError::NoEquals { piece: quoted(piece) }),
        Some(0) => Err(SyntaxError::EmptyKey { piece: quoted(piece) }),
        Some(at) => Ok((plain(&piece[..at], piece)?, plain(&piece[at + 1..], piece)?)),
    }
}

/// What `text` stands for; it is all or part of `piece`.
fn plain(text: &[u8], piece: &[u8]) -> Result<Vec<u8>, SyntaxError> {
    unescape(text, Form::Argument).map_err(|reason| SyntaxError::BadEscape { piece: quoted(piece), reason })
}

fn pieces(argument: &[u8]) -> Result<Vec<&[u8]>, SyntaxError> {
    if argument.is_empty() {
        return Err(SyntaxError::EmptyArgument);
    }
    let mut pieces = Vec::new();
    let mut rest = argument;
    while let Some(comma) = unescaped(rest, b',') {
        pieces.push(&rest[..comma]);
        rest = &rest[comma + 1..];
    }
    pieces.push(rest);
    if pieces.iter().any(|piece| piece.is_empty()) {
        return Err(SyntaxError::EmptyPiece { argument: quoted(argument) });
    }
    Ok(pieces)
}

/// The text as it was typed, short enough for a message.
fn quoted(text: &[u8]) -> String {
    const CHARS_MAX: usize = 60;
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

/// Where `wanted` first stands without a backslash before it.
fn unescaped(text: &[u8], wanted: u8) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let found = *byte == wanted && !escaped;
        escaped = *byte == b'\\' && !escaped;
        found
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn an_argument_is_split_at_commas_that_no_backslash_escapes() {
        for (argument, expected) in [
            ("key1,key2,key3", &["key1", "key2", "key3"][..]),
            ("a", &["a"]),
            ("a=b", &["a=b"]),
            (r"a\=b", &["a=b"]),
            (r"a\,b,c", &["a,b", "c"]),
            (r"a\\,b", &["a\\", "b"]),
            (r"a\\\,b", &["a\\,b"]),
            (r"\x2c,\x5c\x2c", &[",", "\\,"]),
            (r"line\none\ttab", &["line\none\ttab"]),
            (" a , b ", &[" a ", " b "]),
            ("a/b,//,..,%2F,#", &["a/b", "//", "..", "%2F", "#"]),
        ] {
            assert_eq!(keys(argument.as_bytes()).unwrap().iter().map(|key| text(key)).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_piece_of_set_is_split_at_its_first_equals_sign() {
        for (argument, expected) in [
            ("key1=val,key2=123,key3=xyz", &[("key1", "val"), ("key2", "123"), ("key3", "xyz")][..]),
            ("a=", &[("a", "")]),
            ("a=,b=", &[("a", ""), ("b", "")]),
            ("a=b=c", &[("a", "b=c")]),
            (r"a\=b=c", &[("a=b", "c")]),
            (r"a\\=b", &[("a\\", "b")]),
            (r"a=1\,2,b=-5", &[("a", "1,2"), ("b", "-5")]),
            ("a==", &[("a", "=")]),
            ("a=@file", &[("a", "@file")]),
        ] {
            let found = pairs(argument.as_bytes()).unwrap();
            let found: Vec<_> = found.iter().map(|(key, value)| (text(key), text(value))).collect();
            let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{argument}");
        }
    }

    #[test]
    fn what_is_not_written_in_the_syntax_is_refused_with_its_piece() {
        for (argument, message) in [
            ("", "an empty argument names no key"),
            ("a=1,,b=2", "`a=1,,b=2` has an empty piece between its commas"),
            ("a=1,", "`a=1,` has an empty piece between its commas"),
            (",", "`,` has an empty piece between its commas"),
            ("=v", "`=v` has no key before its ="),
            ("a=1,=v", "`=v` has no key before its ="),
            ("a=hello, world", "` world` is no KEY=VALUE"),
            ("a", "`a` is no KEY=VALUE"),
            (r"a\=b", r"`a\=b` is no KEY=VALUE"),
            (r"a=\x0", r"`a=\x0`: \x needs two hexadecimal digits"),
            ("a=\\", r"`a=\`: it ends in a single backslash; a backslash is written \\"),
        ] {
            assert_eq!(pairs(argument.as_bytes()).unwrap_err().to_string(), message);
        }
        assert_eq!(pairs(&[b'x'; 100]).unwrap_err().to_string(), format!("`{}...` is no KEY=VALUE", "x".repeat(60)));
        assert_eq!(key(b"a,b").unwrap_err().to_string(), "`a,b` holds more than one key");
    }

    /// Any bytes as the syntax has to write them: the separators and backslashes escaped, nothing else.
    fn written(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| if b",=\\".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] }).collect()
    }

    proptest! {
        #[test]
        fn any_keys_can_be_written(expected in vec(vec(any::<u8>(), 1..20), 1..5)) {
            let argument = expected.iter().map(|key| written(key)).collect::<Vec<_>>().join(&b',');
            prop_assert_eq!(keys(&argument).unwrap(), expected);
        }

        #[test]
        fn any_pairs_can_be_written(expected in vec((vec(any::<u8>(), 1..20), any::<Vec<u8>>()), 1..5)) {
            let pieces = expected.iter().map(|(key, value)| [written(key), written(value)].join(&b'='));
            prop_assert_eq!(pairs(&pieces.collect::<Vec<_>>().join(&b',')).unwrap(), expected);
        }

        #[test]
        fn any_argument_is_read_or_refused_without_a_panic(argument: Vec<u8>) {
            let _ = (keys(&argument), pairs(&argument), key(&argument), is_key_alone(&argument));
        }
    }
}
